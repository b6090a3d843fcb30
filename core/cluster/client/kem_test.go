package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestEncapsulationsThatCannotBe: a key without its ciphertext, or too long a one, is not passed on.
func TestEncapsulationsThatCannotBe(t *testing.T) {
	key := &wire.Object{Id: "key", Token: true}
	var answer *wire.Encapsulated
	c := connect(t, Options{}, newFake(t, "n0", func(q *wire.Request) *wire.Reply {
		return &wire.Reply{Body: &wire.Reply_Encapsulated{Encapsulated: answer}}
	}))
	ask := func(room int) (size int, made bool, err error) {
		out, err := c.EncapsulateKey(ctx, nil, pkcs11.Mechanism{Type: pkcs11.CKM_ML_KEM}, tokenObject(c, "k"), nil, room)
		return out.Size, out.Key != nil, err
	}
	answer = &wire.Encapsulated{Size: 3}
	size, made, err := ask(0)
	require.NoError(t, err)
	require.Equal(t, 3, size)
	require.False(t, made)
	answer = &wire.Encapsulated{Size: 3, Key: key, Ciphertext: []byte("abc")}
	size, made, err = ask(3)
	require.NoError(t, err)
	require.Equal(t, 3, size)
	require.True(t, made)
	for name, bad := range map[string]struct {
		room   int
		answer *wire.Encapsulated
	}{
		"no key, though there was room":     {3, &wire.Encapsulated{Size: 3}},
		"a key, though there was none":      {2, &wire.Encapsulated{Size: 3, Key: key, Ciphertext: []byte("abc")}},
		"another length than was announced": {9, &wire.Encapsulated{Size: 3, Key: key, Ciphertext: []byte("ab")}},
		"no ciphertext":                     {9, &wire.Encapsulated{Size: 3, Key: key}},
		"absurd":                            {0, &wire.Encapsulated{Size: maxCiphertext + 1}},
		"a key without a name":              {9, &wire.Encapsulated{Size: 3, Key: &wire.Object{Token: true}, Ciphertext: []byte("abc")}},
		"nothing":                           {9, nil},
	} {
		answer = bad.answer
		_, made, err := ask(bad.room)
		require.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err), "%s: %v", name, err)
		require.False(t, made, name)
	}
}
