package conformance

import (
	"encoding/asn1"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// theCurves are all curves, beyond those that every battery runs on: their key type and OID.
var theCurves = []struct {
	kt  pkcs11.KeyType
	oid asn1.ObjectIdentifier
}{
	{pkcs11.CKK_EC_EDWARDS, asn1.ObjectIdentifier{1, 3, 101, 113}},    // Ed448
	{pkcs11.CKK_EC_MONTGOMERY, asn1.ObjectIdentifier{1, 3, 101, 111}}, // X448
	{pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 3, 132, 0, 10}},          // secp256k1
	{pkcs11.CKK_EC, brainpool(1)},                                     // brainpoolP160r1
	{pkcs11.CKK_EC, brainpool(4)},                                     // brainpoolP192t1
	{pkcs11.CKK_EC, brainpool(5)},                                     // brainpoolP224r1
	{pkcs11.CKK_EC, brainpool(7)},                                     // brainpoolP256r1
	{pkcs11.CKK_EC, brainpool(10)},                                    // brainpoolP320t1
	{pkcs11.CKK_EC, brainpool(11)},                                    // brainpoolP384r1
	{pkcs11.CKK_EC, brainpool(13)},                                    // brainpoolP512r1
}

func brainpool(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, last}
}

// TestEveryCurve makes two pairs on each curve, takes one of them out of the token and in again, and signs or agrees with
// them.
func TestEveryCurve(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, c := range theCurves {
			t.Run(fmt.Sprint(c.oid), func(t *testing.T) {
				params, err := asn1.Marshal(c.oid)
				require.NoError(t, err)
				from, _ := materialOf(c.kt)
				of := octets(pkcs11.CKA_EC_PARAMS, params)
				pub, priv := e.pair(t, h, from.generator, with(of, everyPublic), with(readable, everyPrivate))
				again := e.unwrapped(t, h, priv, c.kt)
				if c.kt != pkcs11.CKK_EC_MONTGOMERY {
					m := &mech{Type: pkcs11.CKM_EDDSA}
					if c.kt == pkcs11.CKK_EC {
						m.Type = pkcs11.CKM_ECDSA_SHA256
					}
					in := message(100)
					for _, key := range []handle{priv, again} {
						require.NoError(t, e.verified(t, h, m, pub, in, e.signed(t, h, m, key, in)))
					}
					rv(t, pkcs11.CKR_SIGNATURE_INVALID, e.verified(t, h, m, pub, message(99), e.signed(t, h, m, priv, in)))
				}
				if c.kt != pkcs11.CKK_EC_EDWARDS {
					pub2, priv2 := e.pair(t, h, from.generator, with(of, everyPublic), with(readable, everyPrivate))
					agree := func(key, peer handle) []byte {
						point, _ := e.value(t, h, peer, pkcs11.CKA_EC_POINT).([]byte)
						p := &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}
						z, err := e.DeriveKey(h, &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: p}, key, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable))
						require.NoError(t, err)
						value, _ := e.value(t, h, z, pkcs11.CKA_VALUE).([]byte)
						return value
					}
					require.Equal(t, agree(again, pub2), agree(priv2, pub))
				}
			})
		}
	})
}

// unwrapped wraps a private key and unwraps it as another object.
func (e *env) unwrapped(t *testing.T, h session, priv handle, kt pkcs11.KeyType) handle {
	t.Helper()
	m := &mech{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}
	kek := e.aes(t, h, yes(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP))
	o, err := e.UnwrapKey(h, m, kek, e.wrapped(t, h, m, kek, priv), with(kind(pkcs11.CKO_PRIVATE_KEY, kt), everyPrivate))
	require.NoError(t, err)
	return o
}
