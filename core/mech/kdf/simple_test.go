package kdf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func row(t testing.TB, m pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for _, f := range []mech.Family{Family} {
		for i := range f.Mechanisms {
			if f.Mechanisms[i].Type == m {
				return &f.Mechanisms[i]
			}
		}
	}
	require.FailNow(t, "no row", "%v", m)
	return nil
}

// derive runs a row that makes one secret key.
func derive(t testing.TB, m pkcs11.MechanismType, base []byte, named map[pkcs11.Handle]mech.Key, param any, size int) ([]byte, error) {
	t.Helper()
	d, err := row(t, m).Run(&mech.Derivation{Base: secretOf(base), Named: named, Param: param, Sizes: []int{size}})
	if err != nil {
		return nil, err
	}
	require.Len(t, d.Keys, 1)
	return d.Keys[0].Bytes(pkcs11.CKA_VALUE), nil
}

func secretOf(value []byte) mech.Key { return mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, value) }

const named pkcs11.Handle = 7

func names(value []byte) map[pkcs11.Handle]mech.Key {
	return map[pkcs11.Handle]mech.Key{named: secretOf(value)}
}

func rv(t testing.TB, want pkcs11.RV, err error) {
	t.Helper()
	assert.Equal(t, want, pkcs11.RVOf(err), "%v", err)
}

func TestSimpleDerivationsGiveTheStandardsExamples(t *testing.T) {
	types := map[string]pkcs11.MechanismType{
		"BASE_AND_KEY": pkcs11.CKM_CONCATENATE_BASE_AND_KEY, "BASE_AND_DATA": pkcs11.CKM_CONCATENATE_BASE_AND_DATA,
		"DATA_AND_BASE": pkcs11.CKM_CONCATENATE_DATA_AND_BASE, "XOR": pkcs11.CKM_XOR_BASE_AND_DATA, "EXTRACT": pkcs11.CKM_EXTRACT_KEY_FROM_KEY,
	}
	for _, v := range mechtest.Vectors(t, "testdata/simple.txt", 5) {
		m, other := types[v[0]], v.Hex(t, 2)
		require.NotZero(t, m, v[0])
		var param any = &pkcs11.KeyDerivationString{Data: other}
		switch m {
		case pkcs11.CKM_CONCATENATE_BASE_AND_KEY:
			param = named
		case pkcs11.CKM_EXTRACT_KEY_FROM_KEY:
			param = pkcs11.MACGeneralParams(other[0])
		}
		got, err := derive(t, m, v.Hex(t, 1), names(other), param, int(v.Hex(t, 3)[0]))
		require.NoError(t, err)
		assert.Equal(t, v.Hex(t, 4), got, v[0])
	}
}

func TestSimpleDerivationsWithstand(t *testing.T) {
	base := secretOf([]byte("a base key of some length, 40 bytes of it"))
	data := &pkcs11.KeyDerivationString{Data: []byte("data of a length of its own, 36 bytes")}
	for _, m := range simple {
		c := mechtest.Case{Row: row(t, m.Type), Key: base, Params: []any{data}}
		switch m.Type {
		case pkcs11.CKM_CONCATENATE_BASE_AND_KEY:
			c.Params, c.Named = []any{named}, names([]byte("another key"))
		case pkcs11.CKM_EXTRACT_KEY_FROM_KEY:
			c.Params = []any{pkcs11.MACGeneralParams(0), pkcs11.MACGeneralParams(13), pkcs11.MACGeneralParams(319)}
		}
		mechtest.Run(t, c)
	}
}

// TestExtractionIsARotation: all the bits from bit n on, and the first n after them.
func TestExtractionIsARotation(t *testing.T) {
	base := []byte{0x80, 0x01, 0xff}
	for n, want := range map[uint][]byte{0: base, 1: {0x00, 0x03, 0xff}, 8: {0x01, 0xff, 0x80}, 23: {0xc0, 0x00, 0xff}} {
		got, err := derive(t, pkcs11.CKM_EXTRACT_KEY_FROM_KEY, base, nil, pkcs11.MACGeneralParams(n), 3)
		require.NoError(t, err)
		assert.Equal(t, want, got, "from bit %d on", n)
	}
	_, err := derive(t, pkcs11.CKM_EXTRACT_KEY_FROM_KEY, base, nil, pkcs11.MACGeneralParams(24), 1)
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
	_, err = derive(t, pkcs11.CKM_EXTRACT_KEY_FROM_KEY, base, nil, pkcs11.MACGeneralParams(0), 0)
	rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
}
