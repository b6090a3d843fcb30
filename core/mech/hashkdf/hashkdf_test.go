package hashkdf

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func rowOf(t *testing.T, typ pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for i := range Family.Mechanisms {
		if Family.Mechanisms[i].Type == typ {
			return &Family.Mechanisms[i]
		}
	}
	t.Fatalf("no row for %v", typ)
	return nil
}

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		c := mechtest.Case{Row: &Family.Mechanisms[i], Key: mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("a key of some length"))}
		if c.Row.Type == pkcs11.CKM_SHA512_T_KEY_DERIVATION {
			c.Params = []any{pkcs11.MACGeneralParams(256), pkcs11.MACGeneralParams(100)}
		}
		mechtest.Run(t, c)
		require.True(t, c.Row.OneWay)
	}
}

// TestKeyIsTheHash of the base key's value; the hashes' own vectors are in their package.
func TestKeyIsTheHash(t *testing.T) {
	value := []byte("abc")
	k := mechtest.Secret(pkcs11.CKK_AES, value)
	for _, h := range hashes.All {
		if h.KeyDerivation == 0 {
			continue
		}
		row := rowOf(t, h.KeyDerivation)
		require.Equal(t, h.Legacy, row.Legacy)
		for size := 1; size <= h.Size(); size++ {
			got, err := row.Derive(k, nil, size)
			require.NoError(t, err)
			require.Equal(t, h.Sum(value)[:size], got)
		}
		whole, err := row.Derive(k, nil, 0)
		require.NoError(t, err)
		require.Equal(t, h.Sum(value), whole)
		_, err = row.Derive(k, nil, h.Size()+1)
		require.Equal(t, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.RVOf(err))
	}
	got, err := rowOf(t, pkcs11.CKM_SHA512_T_KEY_DERIVATION).Derive(k, pkcs11.MACGeneralParams(256), 0)
	require.NoError(t, err)
	require.Equal(t, hashes.ByMechanism(pkcs11.CKM_SHA512_256).Sum(value), got)
}

func TestSHAKE(t *testing.T) {
	rows := map[string]*mech.Mechanism{"128": rowOf(t, pkcs11.CKM_SHAKE_128_KEY_DERIVATION), "256": rowOf(t, pkcs11.CKM_SHAKE_256_KEY_DERIVATION)}
	for _, v := range mechtest.Vectors(t, "testdata/shake.txt", 3) {
		want := v.Hex(t, 2)
		for _, size := range []int{1, 16, 32, len(want)} {
			got, err := rows[v[0]].Derive(mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, v.Hex(t, 1)), nil, size)
			require.NoError(t, err)
			require.Equal(t, want[:size], got)
		}
	}
	// FIPS 202, NIST's example values: a message of 1600 bits, all of them 10100011 pairs (0xa3); the first bytes of the output.
	message := make([]byte, 200)
	for i := range message {
		message[i] = 0xa3
	}
	for bits, want := range map[string]string{"128": "131ab8d2b594946b9c81333f9bb6e0ce", "256": "cd8a920ed141aa0407a22d59288652e9"} {
		got, err := rows[bits].Derive(mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, message), nil, 16)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(got))
	}
	_, err := rows["128"].Derive(mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, message), nil, 0)
	require.Equal(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, pkcs11.RVOf(err))
}
