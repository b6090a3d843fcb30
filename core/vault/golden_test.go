package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"github.com/coffer-hsm/coffer/core/secret"
)

// The blobs below were made once. If a test here fails, tokens in the field no longer open: make a new format version
// instead of changing the constants.
const (
	goldenRoot      = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	goldenToken     = "golden-token"
	goldenPlaintext = "golden plaintext"
	goldenPIN       = "1234567"

	goldenSealed  = "01404142434445464748494a4b3e347803789a7c86dfa5df6e991d0dccea2fd23d7d95325cadc3b50ec135119f"
	goldenWrapped = "0101000000010000004002808182838485868788898a8b8c8d8e8f606162636465666768696a6bb54b813fdb3b07c3595e19f3fd34d9b44fe4b1073e7873b4b27949b08dbd9f71107281e17e996ead0ffbb224de23ea1b"
)

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func TestGoldenRecordOpens(t *testing.T) {
	b, err := NewBarrier(secret.Take(unhex(t, goldenRoot)), goldenToken)
	require.NoError(t, err)
	plaintext, err := b.Open(Label{"object", "00112233445566778899aabbccddeeff", 1}, unhex(t, goldenSealed))
	require.NoError(t, err)
	require.Equal(t, goldenPlaintext, string(plaintext))
}

func TestGoldenRootOpens(t *testing.T) {
	root, err := UnwrapRoot(unhex(t, goldenWrapped), []byte(goldenPIN), Label{"user", "so", 1})
	require.NoError(t, err)
	require.Equal(t, goldenRoot, hex.EncodeToString(root.Expose()))
}

// TestGoldenBlobsFollowTheDocument writes both blobs anew from the words of docs/storage-format.md, with nothing of this
// package.
func TestGoldenBlobsFollowTheDocument(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("a chosen nonce is not allowed in FIPS 140-only mode")
	}
	seal := func(key, nonce, plaintext, aad []byte) []byte {
		block, err := aes.NewCipher(key)
		require.NoError(t, err)
		aead, err := cipher.NewGCM(block)
		require.NoError(t, err)
		return aead.Seal(bytes.Clone(nonce), nonce, plaintext, aad)
	}
	root := unhex(t, goldenRoot)

	names := "\x00\x00\x00\x0fcoffer/record/1" + "\x00\x00\x00\x0cgolden-token" + "\x00\x00\x00\x06object" +
		"\x00\x00\x00\x2000112233445566778899aabbccddeeff"
	key, err := hkdf.Key(sha256.New, root, []byte("coffer/barrier/1"), names, 32)
	require.NoError(t, err)
	sealed := append([]byte{1}, seal(key, sequence(0x40, 12), []byte(goldenPlaintext), []byte("\x01"+names+"\x00\x00\x00\x01"))...)
	require.Equal(t, goldenSealed, hex.EncodeToString(sealed))

	salt := sequence(0x80, 16)
	header := append([]byte{1, 1, 0, 0, 0, 1, 0, 0, 0, 64, 2}, salt...)
	aad := append(bytes.Clone(header), "\x00\x00\x00\x0dcoffer-root/1\x00\x00\x00\x04user\x00\x00\x00\x02so\x00\x00\x00\x01"...)
	wrapped := append(header, seal(argon2.IDKey([]byte(goldenPIN), salt, 1, 64, 2, 32), sequence(0x60, 12), root, aad)...)
	require.Equal(t, goldenWrapped, hex.EncodeToString(wrapped))
}
