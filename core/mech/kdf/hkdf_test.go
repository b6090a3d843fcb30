package kdf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestHKDFGivesTheAnswersOfRFC5869: whole, in its two halves, with the salt as data and as a key, as key and as data.
func TestHKDFGivesTheAnswersOfRFC5869(t *testing.T) {
	hash := map[string]pkcs11.MechanismType{"SHA1": pkcs11.CKM_SHA_1, "SHA256": pkcs11.CKM_SHA256}
	for _, v := range mechtest.Vectors(t, "testdata/hkdf.txt", 6) {
		ikm, salt, info, prk, okm := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4), v.Hex(t, 5)
		p := pkcs11.HKDFParams{Hash: hash[v[0]], SaltType: uint(pkcs11.CKF_HKDF_SALT_DATA), Salt: salt, Info: info}
		if len(salt) == 0 {
			p.SaltType = uint(pkcs11.CKF_HKDF_SALT_NULL)
		}
		check := func(m pkcs11.MechanismType, base []byte, extract, expand bool, size int, want []byte) {
			t.Helper()
			p.Extract, p.Expand = extract, expand
			got, err := derive(t, m, base, names(salt), &p, size)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		check(pkcs11.CKM_HKDF_DERIVE, ikm, true, false, 0, prk)
		check(pkcs11.CKM_HKDF_DERIVE, prk, false, true, len(okm), okm)
		check(pkcs11.CKM_HKDF_DERIVE, ikm, true, true, len(okm), okm)
		check(pkcs11.CKM_HKDF_DATA, ikm, true, true, len(okm), okm)
		if len(salt) > 0 {
			p.SaltType, p.Salt, p.SaltKey = uint(pkcs11.CKF_HKDF_SALT_KEY), nil, named
			check(pkcs11.CKM_HKDF_DERIVE, ikm, true, true, len(okm), okm)
		}
	}
}

func TestHKDFWithstands(t *testing.T) {
	params := func(saltType pkcs11.Flags, extract, expand bool) any {
		p := &pkcs11.HKDFParams{Extract: extract, Expand: expand, Hash: pkcs11.CKM_SHA256, SaltType: uint(saltType),
			Salt: []byte("salt"), Info: []byte("info")}
		if saltType == pkcs11.CKF_HKDF_SALT_KEY {
			p.SaltKey = named
		}
		return p
	}
	c := mechtest.Case{Key: secretOf(make([]byte, 32)), Named: names([]byte("a salt that is a key")), Params: []any{
		params(pkcs11.CKF_HKDF_SALT_NULL, true, true), params(pkcs11.CKF_HKDF_SALT_DATA, true, false),
		params(pkcs11.CKF_HKDF_SALT_KEY, true, true), params(pkcs11.CKF_HKDF_SALT_NULL, false, true),
	}}
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_HKDF_DERIVE, pkcs11.CKM_HKDF_DATA} {
		c.Row = row(t, m)
		mechtest.Run(t, c)
	}
	mechtest.Run(t, mechtest.Case{Row: row(t, pkcs11.CKM_HKDF_KEY_GEN), Templates: []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)}}})
}

func TestHKDFRefuses(t *testing.T) {
	good := pkcs11.HKDFParams{Extract: true, Expand: true, Hash: pkcs11.CKM_SHA256, SaltType: uint(pkcs11.CKF_HKDF_SALT_NULL)}
	for name, c := range map[string]struct {
		change func(*pkcs11.HKDFParams)
		size   int
		want   pkcs11.RV
	}{
		"neither half":        {func(p *pkcs11.HKDFParams) { p.Extract, p.Expand = false, false }, 16, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		"an HMAC for a hash":  {func(p *pkcs11.HKDFParams) { p.Hash = pkcs11.CKM_SHA256_HMAC }, 16, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		"two types of salt":   {func(p *pkcs11.HKDFParams) { p.SaltType = 6 }, 16, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		"no salt key":         {func(p *pkcs11.HKDFParams) { p.SaltType = uint(pkcs11.CKF_HKDF_SALT_KEY) }, 16, pkcs11.CKR_KEY_HANDLE_INVALID},
		"more than 255 parts": {func(*pkcs11.HKDFParams) {}, 255*32 + 1, pkcs11.CKR_KEY_SIZE_RANGE},
		"no length":           {func(*pkcs11.HKDFParams) {}, 0, pkcs11.CKR_TEMPLATE_INCOMPLETE},
		"more than a hash":    {func(p *pkcs11.HKDFParams) { p.Expand = false }, 33, pkcs11.CKR_KEY_SIZE_RANGE},
	} {
		p := good
		c.change(&p)
		_, err := derive(t, pkcs11.CKM_HKDF_DERIVE, []byte("key"), nil, &p, c.size)
		assert.Equal(t, c.want, pkcs11.RVOf(err), "%s: %v", name, err)
	}
}
