package engine_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWrappedKeysAreNotCutToPieces: who may unwrap must not get the beginning of a key as a key of its own. One of one byte is
// guessed by what it signs, one of two bytes then too, and so on to the end. Zeros that the wrapping has filled the key with
// are no part of it, and are cut off.
func TestWrappedKeysAreNotCutToPieces(t *testing.T) {
	e, _, user := ready(t)
	kek := aesKey(t, e, user, pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_UNWRAP, true))
	iv := pkcs11.IV(make([]byte, 16))
	value := []byte("a key of thirty-two bytes, no 0!")
	for _, m := range []pkcs11.Mechanism{{Type: pkcs11.CKM_AES_KEY_WRAP}, {Type: pkcs11.CKM_AES_ECB}, {Type: pkcs11.CKM_AES_CBC, Params: iv}} {
		t.Run(m.Type.String(), func(t *testing.T) {
			unwrap := func(wrapped []byte, n uint) (hsm.Object, error) {
				return e.UnwrapKey(ctx, user, m, kek, wrapped, pkcs11.Template{
					pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
					pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, n), pkcs11.Attr(pkcs11.CKA_SIGN, true)})
			}
			wrapped := wrapValue(t, e, user, m, kek, value)
			for n := uint(1); n < uint(len(value)); n++ {
				_, err := unwrap(wrapped, n)
				rv(t, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, err)
			}
			whole, err := unwrap(wrapped, uint(len(value)))
			require.NoError(t, err)
			require.Equal(t, tagOf(value), sign(t, e, user, whole))

			short := value[:20]
			cut, err := unwrap(wrapValue(t, e, user, m, kek, short), uint(len(short)))
			require.NoError(t, err)
			require.Equal(t, tagOf(short), sign(t, e, user, cut))
		})
	}
}

// TestRawRSAUnwrapsWholeKeys is the same for the mechanism that has zeros before the key.
func TestRawRSAUnwrapsWholeKeys(t *testing.T) {
	e, _, user := ready(t)
	public, private, err := e.GenerateKeyPair(ctx, user, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, 2048), pkcs11.Attr(pkcs11.CKA_WRAP, true)},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_UNWRAP, true)})
	require.NoError(t, err)
	unwrap := func(wrapped []byte, n uint) (hsm.Object, error) {
		return e.UnwrapKey(ctx, user, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_X_509}, private, wrapped, pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
			pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, n), pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	}
	value := []byte("a key of thirty-two bytes, no 0!")
	wrapped := wrapValue(t, e, user, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_X_509}, public, value)
	whole, err := unwrap(wrapped, uint(len(value)))
	require.NoError(t, err)
	require.Equal(t, tagOf(value), sign(t, e, user, whole))
	_, err = unwrap(wrapped, uint(len(value))-1)
	rv(t, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, err)
	padded := wrapValue(t, e, user, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS}, public, value) // what another mechanism has wrapped
	for _, n := range []uint{1, uint(len(value)), 200} {
		_, err = unwrap(padded, n)
		rv(t, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, err)
	}
}

func wrapValue(t *testing.T, e hsm.HSM, user hsm.Credential, m pkcs11.Mechanism, under hsm.Object, value []byte) []byte {
	t.Helper()
	o, err := e.Create(ctx, user, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.Attr(pkcs11.CKA_VALUE, value), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)})
	require.NoError(t, err)
	wrapped, err := e.WrapKey(ctx, user, m, under, o)
	require.NoError(t, err)
	return wrapped
}

func sign(t *testing.T, e hsm.HSM, user hsm.Credential, key hsm.Object) []byte {
	t.Helper()
	op, err := e.Begin(ctx, user, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_HMAC}, key)
	require.NoError(t, err)
	defer op.Close()
	tag, err := op.Finish(ctx, nil, []byte("data"))
	require.NoError(t, err)
	return tag
}

func tagOf(value []byte) []byte {
	h := hmac.New(sha256.New, value)
	h.Write([]byte("data"))
	return h.Sum(nil)
}
