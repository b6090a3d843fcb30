package old

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/modes"
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
		row := &Family.Mechanisms[i]
		require.True(t, row.Legacy, "%v", row.Type)
		c := mechtest.Case{Row: row, FixedSize: row.Sign != nil}
		unit := 8
		switch row.Type.ParamKind() {
		case pkcs11.ParamIV:
			if row.Type.IVLen() == 16 {
				unit = 16
			}
			c.Params = []any{pkcs11.IV("initialisation16"[:unit])}
		case pkcs11.ParamUlong:
			c.Params = []any{pkcs11.MACGeneralParams(8), pkcs11.MACGeneralParams(4)}
		}
		switch row.Type {
		case pkcs11.CKM_BLOWFISH_CBC, pkcs11.CKM_TWOFISH_CBC, pkcs11.CKM_CAST128_ECB, pkcs11.CKM_CAST128_CBC:
			c.Takes = func(n int) bool { return n%unit == 0 }
		}
		if row.Generate != nil {
			c.Templates = []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, row.Min)}, {pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, row.Max)}}
		} else {
			c.Key = mechtest.Secret(row.KeyTypes[0], []byte("sixteen byte key"))
		}
		mechtest.Run(t, c)
	}
}

func run(t *testing.T, create modes.Constructor, k mech.Key, param any, in []byte) []byte {
	t.Helper()
	op, err := create(k, param)
	require.NoError(t, err)
	defer op.Close()
	out, err := op.Finish(nil, in)
	require.NoError(t, err)
	return out
}

func TestBlockVectors(t *testing.T) {
	byName := map[string]pkcs11.MechanismType{"BF-CBC": pkcs11.CKM_BLOWFISH_CBC, "CAST-ECB": pkcs11.CKM_CAST128_ECB,
		"CAST-CBC": pkcs11.CKM_CAST128_CBC, "TF-CBC": pkcs11.CKM_TWOFISH_CBC}
	for _, v := range mechtest.Vectors(t, "testdata/blocks.txt", 5) {
		row := rowOf(t, byName[v[0]])
		var param any
		if iv := v.Hex(t, 2); len(iv) > 0 {
			param = pkcs11.IV(iv)
		}
		k := mechtest.Secret(row.KeyTypes[0], v.Hex(t, 1))
		require.Equal(t, v.Hex(t, 4), run(t, row.Encrypt, k, param, v.Hex(t, 3)), "%v", row.Type)
		require.Equal(t, v.Hex(t, 3), run(t, row.Decrypt, k, param, v.Hex(t, 4)), "%v", row.Type)
	}
}

func TestRC4Vectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_RC4)
	for _, v := range mechtest.Vectors(t, "testdata/rc4.txt", 3) {
		offset, err := strconv.Atoi(v[1])
		require.NoError(t, err)
		want := v.Hex(t, 2)
		got := run(t, row.Encrypt, mechtest.Secret(pkcs11.CKK_RC4, v.Hex(t, 0)), nil, make([]byte, offset+len(want)))
		require.Equal(t, want, got[offset:])
	}
}
