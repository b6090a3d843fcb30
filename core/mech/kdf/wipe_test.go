package kdf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// remembered is HMAC-SHA-256, and all the outputs that it has given away.
func remembered(key string) (*prf, *[][]byte) {
	under, given := hmacUnder(hashes.ByMechanism(pkcs11.CKM_SHA256), []byte(key)), &[][]byte{}
	return &prf{under.size, func(parts ...[]byte) ([]byte, error) {
		out, err := under.sum(parts...)
		*given = append(*given, out)
		return out, err
	}}, given
}

func TestTLSLeavesNothingBehind(t *testing.T) {
	f, given := remembered("a master secret")
	out := tlsPRF(f, 100, "key expansion", []byte("seed"))
	require.NotContains(t, out, make([]byte, 8))
	require.Len(t, *given, 9) // A(1) to A(5), four blocks
	for i, b := range *given {
		assert.Equal(t, make([]byte, 32), b, "output %d", i)
	}
}

func TestDoublePipelineLeavesNothingBehind(t *testing.T) {
	f, given := remembered("a key")
	k := &kbkdf{prf: f, data: []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_BYTE_ARRAY, Value: []byte("label")}}}
	next := k.pipeline()
	for i := range 4 {
		a, err := next(nil)
		require.NoError(t, err)
		require.Equal(t, a, (*given)[i])
		for _, before := range (*given)[:i] {
			assert.Equal(t, make([]byte, 32), before)
		}
	}
	require.Equal(t, (*given)[3], k.last, "what derive108 wipes in the end")
}
