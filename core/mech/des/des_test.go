package des

import (
	"encoding/hex"
	"math/bits"
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

func keyOf(t *testing.T, text string) mech.Key {
	t.Helper()
	value, err := hex.DecodeString(text)
	require.NoError(t, err)
	return mechtest.Secret(kinds[len(value)/8-1].typ, value)
}

const longKey = "0123456789abcdef23456789abcdef01456789abcdef0123"

func blocks(n int) bool { return n%8 == 0 }

// caseOf says what a row takes.
func caseOf(row *mech.Mechanism) mechtest.Case {
	c := mechtest.Case{Row: row}
	switch row.Type.ParamKind() {
	case pkcs11.ParamIV:
		c.Params = []any{pkcs11.IV("8 bytes!")}
	case pkcs11.ParamUlong:
		c.Params = []any{pkcs11.MACGeneralParams(8), pkcs11.MACGeneralParams(4)}
	case pkcs11.ParamKeyDerivationString:
		c.Params = []any{&pkcs11.KeyDerivationString{Data: make([]byte, 64)}}
	case pkcs11.ParamDESCBCEncryptData:
		c.Params = []any{&pkcs11.DESCBCEncryptDataParams{IV: [8]byte{1}, Data: make([]byte, 64)}}
	}
	switch row.Type {
	case pkcs11.CKM_DES_ECB, pkcs11.CKM_DES_CBC, pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC:
		c.Takes = blocks
	}
	c.FixedSize = row.Sign != nil
	return c
}

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		require.True(t, row.Legacy, "%v", row.Type)
		c := caseOf(row)
		if row.Generate != nil {
			c.Templates = []pkcs11.Template{{}, {pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, row.Min)}}
		} else {
			c.Key = keyOf(t, longKey[:2*row.Max])
		}
		mechtest.Run(t, c)
	}
}

// TestMovable: all but the derivations and generators.
func TestMovable(t *testing.T) {
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		var param any
		if p := caseOf(row).Params; len(p) > 0 {
			param = p[0]
		}
		k := keyOf(t, longKey[:2*row.Min])
		if row.Encrypt != nil {
			op, err := row.Encrypt(k, param)
			require.NoError(t, err)
			require.Implements(t, (*mech.Resumable)(nil), op)
		}
		if row.Sign != nil {
			op, err := row.Sign(k, param)
			require.NoError(t, err)
			require.Implements(t, (*mech.Resumable)(nil), op)
		}
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

var modeRows = map[string][2]pkcs11.MechanismType{
	"ECB": {pkcs11.CKM_DES_ECB, pkcs11.CKM_DES3_ECB}, "CBC": {pkcs11.CKM_DES_CBC, pkcs11.CKM_DES3_CBC},
	"OFB64": {pkcs11.CKM_DES_OFB64, pkcs11.CKM_DES_OFB64}, "OFB8": {pkcs11.CKM_DES_OFB8, pkcs11.CKM_DES_OFB8},
	"CFB64": {pkcs11.CKM_DES_CFB64, pkcs11.CKM_DES_CFB64}, "CFB8": {pkcs11.CKM_DES_CFB8, pkcs11.CKM_DES_CFB8},
}

// bothWays holds a mode to a vector.
func bothWays(t *testing.T, row *mech.Mechanism, k mech.Key, iv, plain, sealed []byte) {
	t.Helper()
	var param any
	if row.Type.ParamKind() == pkcs11.ParamIV {
		param = pkcs11.IV(iv)
	}
	require.Equal(t, sealed, run(t, row.Encrypt, k, param, plain), "%v", row.Type)
	require.Equal(t, plain, run(t, row.Decrypt, k, param, sealed), "%v", row.Type)
}

func TestModeVectors(t *testing.T) {
	k, plain := keyOf(t, "0123456789abcdef"), []byte("Now is the time for all ")
	iv, err := hex.DecodeString("1234567890abcdef")
	require.NoError(t, err)
	for _, v := range mechtest.Vectors(t, "testdata/fips81.txt", 2) {
		bothWays(t, rowOf(t, modeRows[v[0]][0]), k, iv, plain, v.Hex(t, 1))
	}
	for _, v := range mechtest.Vectors(t, "testdata/tdea.txt", 5) {
		bothWays(t, rowOf(t, modeRows[v[0]][1]), keyOf(t, v[1]), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4))
	}
}

func macOf(t *testing.T, typ pkcs11.MechanismType, k mech.Key, param any, message []byte) []byte {
	t.Helper()
	s, err := rowOf(t, typ).Sign(k, param)
	require.NoError(t, err)
	tag, err := s.Finish(nil, message)
	require.NoError(t, err)
	return tag
}

func TestMACVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/cmac.txt", 3) {
		k := keyOf(t, v[0])
		require.Equal(t, v.Hex(t, 2), macOf(t, pkcs11.CKM_DES3_CMAC, k, nil, v.Hex(t, 1)))
		require.Equal(t, v.Hex(t, 2)[:5], macOf(t, pkcs11.CKM_DES3_CMAC_GENERAL, k, pkcs11.MACGeneralParams(5), v.Hex(t, 1)))
	}
	// FIPS 113, the example: the whole last block.
	k, message := keyOf(t, "0123456789abcdef"), []byte("7654321 Now is the time for ")
	require.Equal(t, "f1d30f6849312ca4", hex.EncodeToString(macOf(t, pkcs11.CKM_DES_MAC_GENERAL, k, pkcs11.MACGeneralParams(8), message)))
	require.Equal(t, "f1d30f68", hex.EncodeToString(macOf(t, pkcs11.CKM_DES_MAC, k, nil, message)))
	// Triple DES with three equal keys is DES.
	same := keyOf(t, "0123456789abcdef0123456789abcdef0123456789abcdef")
	require.Equal(t, "f1d30f68", hex.EncodeToString(macOf(t, pkcs11.CKM_DES3_MAC, same, nil, message)))
	require.Equal(t, "f1d30f6849", hex.EncodeToString(macOf(t, pkcs11.CKM_DES3_MAC_GENERAL, same, pkcs11.MACGeneralParams(5), message)))
}

func TestDerive(t *testing.T) {
	k, data := keyOf(t, longKey), []byte("Now is the time for all ")
	got, err := rowOf(t, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA).Derive(k, &pkcs11.KeyDerivationString{Data: data}, 16)
	require.NoError(t, err)
	require.Equal(t, run(t, rowOf(t, pkcs11.CKM_DES3_ECB).Encrypt, k, nil, data)[:16], got)
	iv := [8]byte{9, 8, 7}
	got, err = rowOf(t, pkcs11.CKM_DES3_CBC_ENCRYPT_DATA).Derive(k, &pkcs11.DESCBCEncryptDataParams{IV: iv, Data: data}, 0)
	require.NoError(t, err)
	require.Equal(t, run(t, rowOf(t, pkcs11.CKM_DES3_CBC).Encrypt, k, pkcs11.IV(iv[:]), data), got)
}

// TestParity: what is made and what comes in has odd parity, and nothing else is changed.
func TestParity(t *testing.T) {
	for i, k := range kinds {
		made, err := k.generate(nil, nil)
		require.NoError(t, err)
		value := made.Bytes(pkcs11.CKA_VALUE)
		require.Len(t, value, int(k.size))
		for _, b := range value {
			require.Equal(t, 1, bits.OnesCount8(b)%2)
		}
		given := make([]byte, k.size)
		for j := range given {
			given[j] = byte(37 * (j + i))
		}
		add, err := k.check(pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, given)})
		require.NoError(t, err)
		for j, b := range add.Bytes(pkcs11.CKA_VALUE) {
			require.Equal(t, given[j]&^1, b&^1)
			require.Equal(t, 1, bits.OnesCount8(b)%2)
		}
		require.Equal(t, checkValue(given), checkValue(add.Bytes(pkcs11.CKA_VALUE)))
		_, err = k.check(pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, given[1:])})
		require.Equal(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.RVOf(err))
	}
	require.Equal(t, "d5d44f", hex.EncodeToString(checkValue(keyOf(t, "0123456789abcdef").Bytes(pkcs11.CKA_VALUE)))) // of zeros
	require.Nil(t, checkValue(make([]byte, 9)))
}
