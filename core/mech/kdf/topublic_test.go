package kdf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ec"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/rsa"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestThePublicKeyIsThatOfThePair makes pairs and finds the public half again from the private one.
func TestThePublicKeyIsThatOfThePair(t *testing.T) {
	seen := map[pkcs11.KeyType]bool{}
	for _, c := range []struct {
		family   mech.Family
		generate pkcs11.MechanismType
		kt       pkcs11.KeyType
		template pkcs11.Template
	}{
		{rsa.Family, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKK_RSA, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, 2048)}},
		{ec.Family, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, params(6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7)},
		{ec.Family, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, params(6, 5, 0x2b, 0x81, 4, 0, 35)},
		{ec.Family, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, pkcs11.CKK_EC_EDWARDS, params(6, 3, 0x2b, 0x65, 0x70)},
		{ec.Family, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, pkcs11.CKK_EC_MONTGOMERY, params(6, 3, 0x2b, 0x65, 0x6e)},
	} {
		r, err := mech.NewRegistry(c.family)
		require.NoError(t, err)
		pub, priv, err := r.Mechanism(c.generate).GeneratePair(nil, c.template, nil)
		require.NoError(t, err)
		key := mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.kt, append(priv, c.template...))
		mechtest.Run(t, mechtest.Case{Row: &publicRows[0], Key: key, KeyType: r.KeyType(c.kt)})
		d, err := publicRows[0].Run(&mech.Derivation{Base: key, KeyType: r.KeyType(c.kt), Sizes: []int{0}})
		require.NoError(t, err)
		for _, a := range []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_POINT} {
			assert.Equal(t, pub.Bytes(a), d.Keys[0].Bytes(a), "%v of %v", a, c.kt)
		}
		seen[c.kt] = true
		_, err = publicRows[0].Run(&mech.Derivation{Base: mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.kt, pub), KeyType: r.KeyType(c.kt), Sizes: []int{0}})
		rv(t, pkcs11.CKR_KEY_TYPE_INCONSISTENT, err)
	}
	assert.Len(t, seen, len(publicRows[0].KeyTypes))
}

func params(b ...byte) pkcs11.Template { return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, b)} }
