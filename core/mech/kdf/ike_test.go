package kdf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const second pkcs11.Handle = 8

func TestIKEGivesTheAnswersOfCAVP(t *testing.T) {
	const prf = pkcs11.CKM_SHA256_HMAC
	for i, v := range mechtest.Vectors(t, "testdata/ike.txt", 9) {
		other, before, ni, nr, seed, want := v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4), v.Hex(t, 5), v.Hex(t, 6), v.Hex(t, 8)
		keys := map[pkcs11.Handle]mech.Key{named: secretOf(other), second: secretOf(before)}
		var m pkcs11.MechanismType
		var p any
		size := len(want)
		switch v[0] {
		case "ike1":
			m, size = pkcs11.CKM_IKE1_PRF_DERIVE, 0
			p = &pkcs11.IKE1PRFParams{PRF: prf, KeyGXY: named, HasPrevKey: len(before) > 0, PrevKey: second, CKYi: ni, CKYr: nr, KeyNumber: v.Hex(t, 7)[0]}
		case "psk", "gxy", "rekey":
			m, size = pkcs11.CKM_IKE_PRF_DERIVE, 0
			p = &pkcs11.IKEPRFParams{PRF: prf, DataAsKey: v[0] == "gxy", Rekey: v[0] == "rekey", Ni: ni, Nr: nr, NewKey: named}
		case "plus":
			m, p = pkcs11.CKM_IKE2_PRF_PLUS_DERIVE, &pkcs11.IKE2PRFPlusParams{PRF: prf, SeedData: seed}
		case "extended":
			m, p = pkcs11.CKM_IKE1_EXTENDED_DERIVE, &pkcs11.IKE1ExtendedParams{PRF: prf, ExtraData: seed}
		}
		got, err := derive(t, m, v.Hex(t, 1), keys, p, size)
		require.NoError(t, err)
		assert.Equal(t, want, got, "vector %d, %s", i, v[0])
	}
}

// TestASeedMayBeAKey: half of the seed, or of the extra data, as a key gives the same as all of it as data.
func TestASeedMayBeAKey(t *testing.T) {
	base := []byte("a base key")
	for m, of := range map[pkcs11.MechanismType]func(key bool, data string) any{
		pkcs11.CKM_IKE2_PRF_PLUS_DERIVE: func(key bool, data string) any {
			return &pkcs11.IKE2PRFPlusParams{PRF: pkcs11.CKM_SHA_1_HMAC, HasSeedKey: key, SeedKey: named, SeedData: []byte(data)}
		},
		pkcs11.CKM_IKE1_EXTENDED_DERIVE: func(key bool, data string) any {
			return &pkcs11.IKE1ExtendedParams{PRF: pkcs11.CKM_SHA_1_HMAC, HasKeyGXY: key, KeyGXY: named, ExtraData: []byte(data)}
		},
	} {
		one, err := derive(t, m, base, nil, of(false, "keydata"), 50)
		require.NoError(t, err)
		two, err := derive(t, m, base, names([]byte("key")), of(true, "data"), 50)
		require.NoError(t, err)
		assert.Equal(t, one, two)
	}
}

func TestIKEWithstands(t *testing.T) {
	const prf = pkcs11.CKM_SHA512_HMAC
	cases := map[pkcs11.MechanismType][]any{
		pkcs11.CKM_IKE2_PRF_PLUS_DERIVE: {&pkcs11.IKE2PRFPlusParams{PRF: prf, HasSeedKey: true, SeedKey: named}, &pkcs11.IKE2PRFPlusParams{PRF: prf, SeedData: []byte("seed")}},
		pkcs11.CKM_IKE_PRF_DERIVE:       {&pkcs11.IKEPRFParams{PRF: prf, Rekey: true, Ni: []byte("Ni"), NewKey: named}, &pkcs11.IKEPRFParams{PRF: prf, DataAsKey: true, Nr: []byte("Nr")}},
		pkcs11.CKM_IKE1_PRF_DERIVE:      {&pkcs11.IKE1PRFParams{PRF: prf, HasPrevKey: true, KeyGXY: named, PrevKey: named, CKYi: []byte("i"), KeyNumber: 1}},
		pkcs11.CKM_IKE1_EXTENDED_DERIVE: {&pkcs11.IKE1ExtendedParams{PRF: prf}, &pkcs11.IKE1ExtendedParams{PRF: prf, HasKeyGXY: true, KeyGXY: named, ExtraData: []byte("x")}},
	}
	for m, params := range cases {
		mechtest.Run(t, mechtest.Case{Row: row(t, m), Key: secretOf(make([]byte, 80)), Named: names([]byte("another key")), Params: params})
	}
}

func TestIKERefuses(t *testing.T) {
	_, err := derive(t, pkcs11.CKM_IKE_PRF_DERIVE, []byte("k"), names([]byte("n")),
		&pkcs11.IKEPRFParams{PRF: pkcs11.CKM_SHA256_HMAC, DataAsKey: true, Rekey: true, Ni: []byte("i"), NewKey: named}, 0)
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, err)
	_, err = derive(t, pkcs11.CKM_IKE_PRF_DERIVE, []byte("k"), nil, &pkcs11.IKEPRFParams{PRF: pkcs11.CKM_SHA256_HMAC}, 0)
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
	for _, size := range []int{16, 31, 33} {
		_, err = derive(t, pkcs11.CKM_IKE_PRF_DERIVE, []byte("k"), nil, &pkcs11.IKEPRFParams{PRF: pkcs11.CKM_SHA256_HMAC, Ni: []byte("i")}, size)
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
	}
	_, err = row(t, pkcs11.CKM_IKE1_PRF_DERIVE).PlanOf(&pkcs11.IKE1PRFParams{PRF: pkcs11.CKM_SHA256_HMAC}, nil)
	rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
	_, err = derive(t, pkcs11.CKM_IKE2_PRF_PLUS_DERIVE, []byte("k"), nil, &pkcs11.IKE2PRFPlusParams{PRF: pkcs11.CKM_SHA256_HMAC, SeedData: []byte("i")}, 255*32+1)
	rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
	_, err = derive(t, pkcs11.CKM_IKE2_PRF_PLUS_DERIVE, []byte("k"), nil, &pkcs11.IKE2PRFPlusParams{PRF: pkcs11.CKM_SHA256_HMAC, SeedData: []byte("i")}, 0)
	rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
}

func TestIKEMakesAKeyForTheFunction(t *testing.T) {
	for prf, want := range map[pkcs11.MechanismType]pkcs11.Template{
		pkcs11.CKM_AES_CMAC:    {pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES)},
		pkcs11.CKM_SHA256_HMAC: nil, // what the template does not say is a generic secret
	} {
		plan, err := row(t, pkcs11.CKM_IKE_PRF_DERIVE).PlanOf(&pkcs11.IKEPRFParams{PRF: prf, Ni: []byte("i")}, nil)
		require.NoError(t, err)
		assert.Equal(t, []mech.Planned{{Template: want}}, plan)
	}
	asked := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_HKDF)}
	plan, err := row(t, pkcs11.CKM_IKE_PRF_DERIVE).PlanOf(&pkcs11.IKEPRFParams{PRF: pkcs11.CKM_AES_CMAC}, asked)
	require.NoError(t, err)
	assert.Equal(t, []mech.Planned{{Template: asked}}, plan)
}
