package conformance

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func (b *battery) encrypt(t *testing.T, plain []byte) []byte {
	t.Helper()
	require.NoError(t, b.EncryptInit(b.h, b.mech(), b.key.pub))
	return b.sized(t, func(o *out) error { return b.Encrypt(b.h, plain, o) })
}

// wanted is what a decryption gives back.
func (b *battery) wanted(plain []byte, size int) []byte {
	if !b.r.zeros {
		return plain
	}
	return append(make([]byte, size-len(plain)), plain...)
}

// cipher is encryption and decryption.
func (b *battery) cipher(t *testing.T) {
	if b.row.Encrypt == nil {
		return
	}
	for _, n := range b.r.lens {
		plain := message(n)
		sealed := b.encrypt(t, plain)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Encrypt(b.h, plain, &out{Capacity: 1 << 16}))
		if n >= 16 {
			require.False(t, bytes.Contains(sealed, plain))
		}
		if b.r.random {
			require.NotEqual(t, sealed, b.encrypt(t, plain))
		}
		if empty := len(sealed) == 0; !empty || n == 0 {
			require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
			got := b.sized(t, func(o *out) error { return b.Decrypt(b.h, sealed, o) })
			require.True(t, bytes.Equal(b.wanted(plain, len(sealed)), got), "%d bytes do not come back", n)
		}
		b.cipherParts(t, plain, sealed)
		b.tampered(t, sealed)
	}
	for _, n := range b.r.refused {
		require.NoError(t, b.EncryptInit(b.h, b.mech(), b.key.pub))
		rv(t, pkcs11.CKR_DATA_LEN_RANGE, b.Encrypt(b.h, message(n), &out{Capacity: 1 << 16}), n, "bytes")
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptFinal(b.h, &out{Capacity: 1 << 16}), "an error ends it")
	}
	b.cipherEnds(t)
}

// cipherParts cuts plaintext and ciphertext in parts.
func (b *battery) cipherParts(t *testing.T, plain, sealed []byte) {
	if b.row.OnePart {
		return
	}
	for _, parts := range b.few(splits(len(plain))) {
		require.NoError(t, b.EncryptInit(b.h, b.mech(), b.key.pub))
		got := inParts(t, plain, parts, func(p []byte, o *out) error { return b.EncryptUpdate(b.h, p, o) })
		got = append(got, b.sized(t, func(o *out) error { return b.EncryptFinal(b.h, o) })...)
		if b.r.random {
			require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
			back := b.sized(t, func(o *out) error { return b.Decrypt(b.h, got, o) })
			require.True(t, bytes.Equal(plain, back), "parts %v: a ciphertext of something else", parts)
			continue
		}
		require.True(t, bytes.Equal(sealed, got), "parts %v: another ciphertext", parts)
	}
	for _, parts := range b.few(splits(len(sealed))) {
		require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
		got := inParts(t, sealed, parts, func(p []byte, o *out) error {
			var err error
			o.Bytes = b.sizedUpdate(t, func(o *out) error { err = b.DecryptUpdate(b.h, p, o); return err })
			return err
		})
		got = append(got, b.sized(t, func(o *out) error { return b.DecryptFinal(b.h, o) })...)
		require.True(t, bytes.Equal(plain, got), "parts %v: another plaintext", parts)
	}
}

// sizedUpdate is sized for an update, which the caller may repeat as well.
func (b *battery) sizedUpdate(t *testing.T, f func(*out) error) []byte {
	t.Helper()
	return b.sized(t, f)
}

// tampered changes a ciphertext.
func (b *battery) tampered(t *testing.T, sealed []byte) {
	if !b.r.sealed || len(sealed) == 0 {
		return
	}
	for _, at := range []int{0, len(sealed) / 2, len(sealed) - 1} {
		bad := slices.Clone(sealed)
		bad[at] ^= 1
		require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
		oneOf(t, b.Decrypt(b.h, bad, &out{Capacity: 1 << 16}), pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DecryptFinal(b.h, &out{Capacity: 1 << 16}), "an error ends it")
	}
	for _, bad := range [][]byte{sealed[:len(sealed)-1], append(slices.Clone(sealed), 0), {}} {
		require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
		oneOf(t, b.Decrypt(b.h, bad, &out{Capacity: 1 << 16}), pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
	}
}

// cipherEnds: what is out of order ends the operation.
func (b *battery) cipherEnds(t *testing.T) {
	in := message(b.r.lens[len(b.r.lens)-1])
	big := func() *out { return &out{Capacity: 1 << 16} }
	require.NoError(t, b.EncryptInit(b.h, b.mech(), b.key.pub))
	err := b.EncryptUpdate(b.h, in, big())
	if b.row.OnePart {
		rv(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err, "in one part only")
	} else {
		require.NoError(t, err)
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.Encrypt(b.h, in, big()), "parts have begun")
	}
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptFinal(b.h, big()))

	sealed := b.encrypt(t, in)
	require.NoError(t, b.DecryptInit(b.h, b.mech(), b.key.priv))
	err = b.DecryptUpdate(b.h, sealed, big())
	if b.row.OnePart {
		rv(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err, "in one part only")
	} else {
		require.NoError(t, err)
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.Decrypt(b.h, sealed, big()), "parts have begun")
	}
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DecryptFinal(b.h, big()))
}
