package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestDigest: equal for policies that say the same, and different for all others.
func TestDigest(t *testing.T) {
	a, b := pkcs11.CKM_ECDSA, pkcs11.CKM_AES_GCM
	different := []Policy{
		{}, {Legacy: true}, {Dates: true}, {WrapAndDecrypt: true}, {PublicCertificates: true}, {FIPS: true},
		{Allow: []pkcs11.MechanismType{}}, {Allow: []pkcs11.MechanismType{a}}, {Deny: []pkcs11.MechanismType{a}},
		{Allow: []pkcs11.MechanismType{a, b}}, {Deny: []pkcs11.MechanismType{a, b}},
		{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 3072}}, {MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 2048}},
		{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_EC: 3072}},
	}
	seen := map[[32]byte]int{}
	for i := range different {
		sum := different[i].Digest()
		at, known := seen[sum]
		require.False(t, known, "%v and %v", i, at)
		seen[sum] = i
	}
	same := func(x, y Policy) { require.Equal(t, x.Digest(), y.Digest()) }
	same(Policy{Allow: []pkcs11.MechanismType{a, b}}, Policy{Allow: []pkcs11.MechanismType{b, a, b}})
	same(Policy{}, Policy{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 0}, Deny: []pkcs11.MechanismType{}})
}
