package hashes_test

import (
	"encoding/hex"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestBLAKE2b(t *testing.T) {
	bySize := map[int]*hashes.Hash{}
	for _, h := range hashes.All {
		if h.Keyed != nil {
			bySize[h.Size()] = h
		}
	}
	for _, v := range mechtest.Vectors(t, "testdata/blake2b.txt", 4) {
		size, err := strconv.Atoi(v[0])
		require.NoError(t, err)
		state := bySize[size].New()
		if key := v.Hex(t, 1); len(key) > 0 {
			state, err = bySize[size].Keyed(key)
			require.NoError(t, err)
		}
		state.Write(v.Hex(t, 2))
		require.Equal(t, v[3], hex.EncodeToString(state.Sum(nil)))
	}
	for _, n := range []int{0, 65} {
		_, err := bySize[20].Keyed(make([]byte, n))
		require.Equal(t, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.RVOf(err))
	}
}
