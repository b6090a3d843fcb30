package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestUnwrapTakesFilledPrivateKeys: SoftHSM2 fills a private key with zeros to a multiple of eight bytes before it wraps it
// with CKM_AES_KEY_WRAP_PAD, and the standard has it so for CKM_AES_KEY_WRAP. Nothing else may stand behind a PrivateKeyInfo,
// and under no other mechanism.
func TestUnwrapTakesFilledPrivateKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	info, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, yes(pkcs11.CKA_UNWRAP, pkcs11.CKA_ENCRYPT))
		pad := &mech{Type: pkcs11.CKM_AES_KEY_WRAP_PAD}
		unwrap := func(m *mech, behind ...byte) (handle, error) {
			blob := e.sealed(t, h, m, kek, append(append([]byte{}, info...), behind...))
			return e.UnwrapKey(h, m, kek, blob, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC))
		}
		for n := range 8 {
			o, err := unwrap(pad, make([]byte, n)...)
			require.NoError(t, err, "%d zeros", n)
			e.has(t, h, o, octets(pkcs11.CKA_EC_PARAMS, p256))
		}
		for name, behind := range map[string][]byte{"a block of zeros": make([]byte, 8), "a byte": {1}, "zeros and a byte": {0, 0, 1}} {
			_, err := unwrap(pad, behind...)
			rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err, name)
		}
		_, err := unwrap(kwp, 0)
		rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err, "KWP")

		plain := &mech{Type: pkcs11.CKM_AES_KEY_WRAP}
		missing := (8 - len(info)%8) % 8
		require.NotZero(t, missing)
		o, err := unwrap(plain, make([]byte, missing)...)
		require.NoError(t, err)
		e.has(t, h, o, octets(pkcs11.CKA_EC_PARAMS, p256))
		_, err = unwrap(plain, make([]byte, missing+8)...)
		rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err, "a block of zeros")
		kek = e.aes(t, h, yes(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP))
		_, priv := e.ec(t, h, p256, yes(pkcs11.CKA_EXTRACTABLE))
		o, err = e.UnwrapKey(h, plain, kek, e.wrapped(t, h, plain, kek, priv), kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC))
		require.NoError(t, err)
		require.Equal(t, e.value(t, h, priv, pkcs11.CKA_PUBLIC_KEY_INFO), e.value(t, h, o, pkcs11.CKA_PUBLIC_KEY_INFO))
	})
}
