package all

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestACheckValueIsAllThatIsLeft: an object keeps its check value when its key has been wiped, and with it what is in the
// same memory. That is no hash of the key.
func TestACheckValueIsAllThatIsLeft(t *testing.T) {
	const block = 8 // no check value comes of a shorter one
	full, err := Full()
	require.NoError(t, err)
	computed := 0
	for kt := range pkcs11.KeyType(0x100) {
		row := full.KeyType(kt)
		if row == nil || row.CheckValue == nil {
			continue
		}
		for _, n := range []int{8, 16, 24, 32, 64} {
			v := row.CheckValue(bytes.Repeat([]byte{1, 2, 4, 7}, n/4))
			if v == nil { // no length of such a key
				continue
			}
			computed++
			require.Len(t, v, 3, "%v", kt)
			require.Zero(t, [block - 3]byte(unsafe.Slice(unsafe.SliceData(v), block)[3:]), "%v of %d bytes", kt, n)
		}
	}
	require.Greater(t, computed, 50)
}
