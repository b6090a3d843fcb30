package vault

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerifierKnowsThePIN(t *testing.T) {
	kdf := KDF{Time: 1, MemoryKiB: 64, Threads: 1}
	l := Label{Kind: "pin", ID: "user/so@1", Version: 1}
	v, err := NewVerifier([]byte("right"), kdf, l)
	require.NoError(t, err)
	require.NoError(t, VerifyPIN(v, []byte("right"), l))
	require.ErrorIs(t, VerifyPIN(v, []byte("wrong"), l), ErrWrongPIN)
	l.ID = "user/cu@1"
	require.ErrorIs(t, VerifyPIN(v, []byte("right"), l), ErrWrongPIN)
	require.ErrorIs(t, VerifyPIN(v[:10], []byte("right"), l), ErrSealBroken)
	again, err := NewVerifier([]byte("right"), kdf, l)
	require.NoError(t, err)
	require.False(t, bytes.Equal(v, again))
	_, err = NewVerifier(nil, KDF{}, l)
	require.ErrorIs(t, err, ErrKDF)
}

func TestNamesDependOnAll(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	other, err := NewRoot()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, token := range []string{"A", "B"} {
		for _, r := range []struct{ kind, id string }{{"user", "1:alice"}, {"user", "0:alice"}, {"user1", ":alice"}, {"operation", "1:alice"}} {
			b, err := NewBarrier(root, token)
			require.NoError(t, err)
			name, err := b.Name(r.kind, r.id)
			require.NoError(t, err)
			require.Len(t, name, 32)
			require.False(t, seen[name])
			seen[name] = true
			again, err := b.Name(r.kind, r.id)
			require.NoError(t, err)
			require.Equal(t, name, again)
			b.Destroy()
			_, err = b.Name(r.kind, r.id)
			require.ErrorIs(t, err, ErrSealed)
		}
	}
	b, err := NewBarrier(other, "A")
	require.NoError(t, err)
	name, err := b.Name("user", "1:alice")
	require.NoError(t, err)
	require.False(t, seen[name])
}
