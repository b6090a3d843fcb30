package vault

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStampTellsDamage(t *testing.T) {
	for _, record := range [][]byte{{}, []byte("record")} {
		stamped := Stamp(record)
		got, err := Unstamp(stamped)
		require.NoError(t, err)
		require.Equal(t, record, got)
		for i := range stamped {
			bad := bytes.Clone(stamped)
			bad[i] ^= 1
			_, err := Unstamp(bad)
			require.ErrorIs(t, err, ErrSealBroken, "byte %d", i)
			_, err = Unstamp(stamped[:i])
			require.ErrorIs(t, err, ErrSealBroken, "%d bytes", i)
		}
		_, err = Unstamp(append(bytes.Clone(stamped), 0))
		require.ErrorIs(t, err, ErrSealBroken)
	}
}
