package kdf

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var pbkdf2Functions = map[string]uint{
	"SHA1": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA1, "SHA224": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA224, "SHA256": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256,
	"SHA384": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA384, "SHA512": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512,
	"SHA512_224": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512_224, "SHA512_256": pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512_256,
}

func TestPBKDF2GivesTheAnswersOfItsRFCs(t *testing.T) {
	seen := map[uint]bool{}
	for _, v := range mechtest.Vectors(t, "testdata/pbkdf2.txt", 5) {
		n, err := strconv.ParseUint(v[3], 10, 32)
		require.NoError(t, err)
		want := v.Hex(t, 4)
		p := &pkcs11.PBKD2Params{SaltSource: pkcs11.CKZ_SALT_SPECIFIED, Salt: v.Hex(t, 2), Iterations: uint(n), PRF: pbkdf2Functions[v[0]], Password: v.Hex(t, 1)}
		got, err := row(t, pkcs11.CKM_PKCS5_PBKD2).Generate(p, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(len(want)))})
		require.NoError(t, err)
		assert.Equal(t, want, got.Bytes(pkcs11.CKA_VALUE), "%s, %d iterations", v[0], n)
		seen[p.PRF] = true
	}
	assert.Len(t, seen, len(pbkdf2Hashes), "a function without a known answer")
}

func TestPBKDF2Withstands(t *testing.T) {
	mechtest.Run(t, mechtest.Case{Row: row(t, pkcs11.CKM_PKCS5_PBKD2), Same: true,
		Templates: []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)}},
		Params: []any{&pkcs11.PBKD2Params{SaltSource: pkcs11.CKZ_SALT_SPECIFIED, Salt: []byte("salt"), Iterations: 3,
			PRF: pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256, Password: []byte("password")}}})
}
