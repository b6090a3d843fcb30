package conformance

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestRandom(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		a, b := make([]byte, 1<<16), make([]byte, 1<<16)
		require.NoError(t, e.GenerateRandom(h, a))
		require.NoError(t, e.GenerateRandom(h, b))
		require.NotEqual(t, a, b)
		for v := range 256 {
			require.True(t, bytes.IndexByte(a, byte(v)) >= 0, "%d never comes", v)
		}
		require.NoError(t, e.GenerateRandom(h, make([]byte, 1)))
		rv(t, pkcs11.CKR_RANDOM_SEED_NOT_SUPPORTED, e.SeedRandom(h, []byte("seed")))
	})
}

// TestDigestOfAKey is that of its value, also of one that nobody can read; private keys are not digested.
func TestDigestOfAKey(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		value := message(24)
		sha := &mech{Type: pkcs11.CKM_SHA256}
		for _, kt := range []pkcs11.KeyType{pkcs11.CKK_AES, pkcs11.CKK_GENERIC_SECRET} {
			key := e.create(t, h, secretKey(kt, value, yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_TOKEN)))
			require.NoError(t, e.DigestInit(h, sha))
			require.NoError(t, e.DigestUpdate(h, []byte("before")))
			require.NoError(t, e.DigestKey(h, key))
			require.NoError(t, e.DigestUpdate(h, []byte("after")))
			o := &out{Capacity: 32}
			require.NoError(t, e.DigestFinal(h, o))
			want := sha256.Sum256([]byte("before" + string(value) + "after"))
			require.Equal(t, want[:], o.Bytes)
		}
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.DigestKey(h, 1))
		_, priv := e.ec(t, h, p256)
		require.NoError(t, e.DigestInit(h, sha))
		rv(t, pkcs11.CKR_KEY_INDIGESTIBLE, e.DigestKey(h, priv))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.DigestUpdate(h, nil), "an error ends it")
		require.NoError(t, e.DigestInit(h, sha))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.DigestKey(h, 1<<40))
	})
}

// TestDualFunctions give what the two operations give alone.
func TestDualFunctions(t *testing.T) {
	plain := message(80)
	parts := []int{16, 7, 41, 16}
	sha, cbc := &mech{Type: pkcs11.CKM_SHA256}, &mech{Type: pkcs11.CKM_AES_CBC, Params: pkcs11.IV("sixteen bytes iv")}
	cmac := &mech{Type: pkcs11.CKM_AES_CMAC}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		require.NoError(t, e.EncryptInit(h, cbc, key))
		o := &out{Capacity: 96}
		require.NoError(t, e.Encrypt(h, plain, o))
		sealed := o.Bytes
		finish := func(f func(session, *out) error) []byte {
			o := &out{Capacity: 96}
			require.NoError(t, f(h, o))
			return o.Bytes
		}

		require.NoError(t, e.DigestInit(h, sha))
		require.NoError(t, e.EncryptInit(h, cbc, key))
		got := inParts(t, plain, parts, func(p []byte, o *out) error { return e.DigestEncryptUpdate(h, p, o) })
		require.Equal(t, sealed, append(got, finish(e.EncryptFinal)...))
		want := sha256.Sum256(plain)
		require.Equal(t, want[:], finish(e.DigestFinal))

		require.NoError(t, e.DigestInit(h, sha))
		require.NoError(t, e.DecryptInit(h, cbc, key))
		got = inParts(t, sealed, parts, func(p []byte, o *out) error { return e.DecryptDigestUpdate(h, p, o) })
		require.Equal(t, plain, append(got, finish(e.DecryptFinal)...))
		require.Equal(t, want[:], finish(e.DigestFinal))

		require.NoError(t, e.SignInit(h, cmac, key))
		require.NoError(t, e.EncryptInit(h, cbc, key))
		got = inParts(t, plain, parts, func(p []byte, o *out) error { return e.SignEncryptUpdate(h, p, o) })
		require.Equal(t, sealed, append(got, finish(e.EncryptFinal)...))
		tag := finish(e.SignFinal)

		require.NoError(t, e.VerifyInit(h, cmac, key))
		require.NoError(t, e.DecryptInit(h, cbc, key))
		got = inParts(t, sealed, parts, func(p []byte, o *out) error { return e.DecryptVerifyUpdate(h, p, o) })
		require.Equal(t, plain, append(got, finish(e.DecryptFinal)...))
		require.NoError(t, e.VerifyFinal(h, tag))

		require.NoError(t, e.EncryptInit(h, cbc, key))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.SignEncryptUpdate(h, plain, &out{Capacity: 96}), "one of the two is missing")
	})
}
