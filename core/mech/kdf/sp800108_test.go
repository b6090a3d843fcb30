package kdf

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func counted(bits uint) pkcs11.PRFData {
	return pkcs11.PRFData{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE, Counter: &pkcs11.SP800108Counter{Bits: bits}}
}

func fixed(b string) pkcs11.PRFData {
	return pkcs11.PRFData{Type: pkcs11.CK_SP800_108_BYTE_ARRAY, Value: []byte(b)}
}

var variable = pkcs11.PRFData{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE}

func keyFor(prf pkcs11.MechanismType, value []byte) mech.Key {
	if prf == pkcs11.CKM_AES_CMAC {
		return mechtest.Secret(pkcs11.CKK_AES, value)
	}
	return secretOf(value)
}

func TestSP800108GivesTheAnswersOfCAVP(t *testing.T) {
	prfs := map[string]pkcs11.MechanismType{"AES_CMAC": pkcs11.CKM_AES_CMAC, "SHA224_HMAC": pkcs11.CKM_SHA224_HMAC,
		"SHA256_HMAC": pkcs11.CKM_SHA256_HMAC, "SHA512_HMAC": pkcs11.CKM_SHA512_HMAC}
	for _, v := range mechtest.Vectors(t, "testdata/sp800108.txt", 8) {
		prf := prfs[v[1]]
		require.NotZero(t, prf)
		n, err := strconv.ParseUint(v[2], 10, 8)
		require.NoError(t, err)
		iv, want := v.Hex(t, 5), v.Hex(t, 7)
		data := []pkcs11.PRFData{fixed(string(v.Hex(t, 6)))}
		var m pkcs11.MechanismType
		switch v[0] {
		case "CTR":
			m, data = pkcs11.CKM_SP800_108_COUNTER_KDF, append(data, counted(uint(n)))
			if v[3] == "before" {
				data[0], data[1] = data[1], data[0]
			}
		default:
			m = map[string]pkcs11.MechanismType{"FEEDBACK": pkcs11.CKM_SP800_108_FEEDBACK_KDF, "PIPELINE": pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF}[v[0]]
			before := []pkcs11.PRFData{variable}
			if n > 0 {
				before = append(before, pkcs11.PRFData{Type: pkcs11.CK_SP800_108_COUNTER, Counter: &pkcs11.SP800108Counter{Bits: uint(n)}})
			}
			data = append(before, data...)
		}
		var param any = &pkcs11.SP800108KDFParams{PRF: prf, Data: data}
		if v[0] == "FEEDBACK" {
			param = &pkcs11.SP800108FeedbackParams{PRF: prf, Data: data, IV: iv}
		}
		rows := []pkcs11.MechanismType{m}
		if v[0] == "CTR" {
			rows = append(rows, pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF)
		}
		for _, m := range rows {
			d, err := row(t, m).Run(&mech.Derivation{Base: keyFor(prf, v.Hex(t, 4)), Param: param, Sizes: []int{len(want)}})
			require.NoError(t, err)
			assert.Equal(t, want, d.Keys[0].Bytes(pkcs11.CKA_VALUE), "%v %s %s %s", m, v[1], v[2], v[3])
		}
	}
}

// plain computes counter mode in the simplest way: label, 0, context and L around a counter of 16 bits.
func plain(h *hashes.Hash, key []byte, i byte, bits uint16) []byte {
	out, _ := hmacUnder(h, key).sum([]byte{0, i}, []byte("label"), []byte{0}, []byte("context"), []byte{byte(bits >> 8), byte(bits)})
	return out
}

// TestKeysDoNotShareAnOutput is the example of PKCS#11 v3.2, Deriving Additional Keys: 48 and 16 bytes over SHA-256.
func TestKeysDoNotShareAnOutput(t *testing.T) {
	key := []byte("the base key")
	for method, bits := range map[uint]uint16{pkcs11.CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS: 512, pkcs11.CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS: 768} {
		p := &pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA256_HMAC, Data: []pkcs11.PRFData{
			counted(16), fixed("label"), fixed("\x00"), fixed("context"),
			{Type: pkcs11.CK_SP800_108_DKM_LENGTH, Length: &pkcs11.SP800108Length{Method: method, Bits: 16}},
		}, More: make([]pkcs11.DerivedKey, 1)}
		d, err := row(t, pkcs11.CKM_SP800_108_COUNTER_KDF).Run(&mech.Derivation{Base: secretOf(key), Param: p, Sizes: []int{48, 16}})
		require.NoError(t, err)
		h := hashes.ByMechanism(pkcs11.CKM_SHA256)
		first := append(plain(h, key, 1, bits), plain(h, key, 2, bits)...)
		assert.Equal(t, first[:48], d.Keys[0].Bytes(pkcs11.CKA_VALUE))
		assert.Equal(t, plain(h, key, 3, bits)[:16], d.Keys[1].Bytes(pkcs11.CKA_VALUE))
	}
}

// TestFormatsOfNumbers: every width, in both byte orders.
func TestFormatsOfNumbers(t *testing.T) {
	assert.Equal(t, []byte{0x03}, number(0x010203, 8, false))
	assert.Equal(t, []byte{0x02, 0x03}, number(0x010203, 16, false))
	assert.Equal(t, []byte{0x03, 0x02}, number(0x010203, 16, true))
	assert.Equal(t, []byte{0x00, 0x01, 0x02, 0x03}, number(0x010203, 32, false))
	assert.Equal(t, []byte{0x03, 0x02, 0x01}, number(0x010203, 24, true))
	assert.Equal(t, []byte{0, 0, 0, 0, 0, 1, 2, 3}, number(0x010203, 64, false))
}

// TestAKeyAmongTheDataIsItsValue: a handle stands for the bytes that it names.
func TestAKeyAmongTheDataIsItsValue(t *testing.T) {
	base := []byte("the base key")
	run := func(p pkcs11.PRFData) []byte {
		got, err := derive(t, pkcs11.CKM_SP800_108_COUNTER_KDF, base, names([]byte("value")),
			&pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA3_256_HMAC, Data: []pkcs11.PRFData{counted(8), p}}, 40)
		require.NoError(t, err)
		return got
	}
	assert.Equal(t, run(fixed("value")), run(pkcs11.PRFData{Type: pkcs11.CK_SP800_108_KEY_HANDLE, Key: named}))
}

func TestSP800108Withstands(t *testing.T) {
	data := []pkcs11.PRFData{fixed("label"), {Type: pkcs11.CK_SP800_108_KEY_HANDLE, Key: named},
		{Type: pkcs11.CK_SP800_108_DKM_LENGTH, Length: &pkcs11.SP800108Length{Method: 1, Bits: 32, LittleEndian: true}}}
	counter := append([]pkcs11.PRFData{counted(16)}, data...)
	other := append([]pkcs11.PRFData{variable, {Type: pkcs11.CK_SP800_108_COUNTER, Counter: &pkcs11.SP800108Counter{Bits: 24}}}, data...)
	more := make([]pkcs11.DerivedKey, 2)
	cases := map[pkcs11.MechanismType][]any{
		pkcs11.CKM_SP800_108_COUNTER_KDF: {&pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA256_HMAC, Data: counter, More: more},
			&pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA_1_HMAC, Data: counter}},
		pkcs11.CKM_SP800_108_FEEDBACK_KDF: {&pkcs11.SP800108FeedbackParams{PRF: pkcs11.CKM_SHA512_HMAC, Data: other, IV: []byte("IV"), More: more},
			&pkcs11.SP800108FeedbackParams{PRF: pkcs11.CKM_SHA3_512_HMAC, Data: other}},
		pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF: {&pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA384_HMAC, Data: other, More: more}},
	}
	cases[pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF] = cases[pkcs11.CKM_SP800_108_COUNTER_KDF]
	for m, params := range cases {
		mechtest.Run(t, mechtest.Case{Row: row(t, m), Key: secretOf([]byte("a base key")), Named: names([]byte("key")), Params: params})
	}
	mechtest.Run(t, mechtest.Case{Row: row(t, pkcs11.CKM_SP800_108_COUNTER_KDF), Key: mechtest.Secret(pkcs11.CKK_AES, make([]byte, 16)),
		Params: []any{&pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_AES_CMAC, Data: []pkcs11.PRFData{counted(16), fixed("x")}}}})
}

func TestSP800108Refuses(t *testing.T) {
	const invalid = pkcs11.CKR_MECHANISM_PARAM_INVALID
	length := func(method, bits uint) pkcs11.PRFData {
		return pkcs11.PRFData{Type: pkcs11.CK_SP800_108_DKM_LENGTH, Length: &pkcs11.SP800108Length{Method: method, Bits: bits}}
	}
	for name, c := range map[string]struct {
		m    pkcs11.MechanismType
		prf  pkcs11.MechanismType
		data []pkcs11.PRFData
		size int
		want pkcs11.RV
	}{
		"no data":                     {data: nil, want: invalid},
		"no iteration variable":       {data: []pkcs11.PRFData{fixed("x")}, want: invalid},
		"two of them":                 {data: []pkcs11.PRFData{counted(8), counted(8)}, want: invalid},
		"one without a format":        {data: []pkcs11.PRFData{variable}, want: invalid},
		"a counter beside it":         {data: []pkcs11.PRFData{counted(8), {Type: pkcs11.CK_SP800_108_COUNTER, Counter: &pkcs11.SP800108Counter{Bits: 8}}}, want: invalid},
		"a width of 12 bits":          {data: []pkcs11.PRFData{counted(12)}, want: invalid},
		"a width of 40 bits":          {data: []pkcs11.PRFData{counted(40)}, want: invalid},
		"two lengths":                 {data: []pkcs11.PRFData{counted(8), length(1, 16), length(1, 16)}, want: invalid},
		"a length of 72 bits":         {data: []pkcs11.PRFData{counted(8), length(1, 72)}, want: invalid},
		"a third method":              {data: []pkcs11.PRFData{counted(8), length(3, 16)}, want: invalid},
		"an empty byte array":         {data: []pkcs11.PRFData{counted(8), fixed("")}, want: invalid},
		"a type that nobody knows":    {data: []pkcs11.PRFData{counted(8), {Type: 6}}, want: invalid},
		"a key that is not there":     {data: []pkcs11.PRFData{counted(8), {Type: pkcs11.CK_SP800_108_KEY_HANDLE, Key: 1}}, want: pkcs11.CKR_KEY_HANDLE_INVALID},
		"a hash for a function":       {prf: pkcs11.CKM_SHA256, data: []pkcs11.PRFData{counted(8)}, want: invalid},
		"CMAC and no AES key":         {prf: pkcs11.CKM_AES_CMAC, data: []pkcs11.PRFData{counted(8)}, want: pkcs11.CKR_KEY_TYPE_INCONSISTENT},
		"more than can be counted":    {data: []pkcs11.PRFData{counted(8)}, size: 255*32 + 1, want: pkcs11.CKR_KEY_SIZE_RANGE},
		"a length without room":       {data: []pkcs11.PRFData{counted(8), length(1, 8)}, size: 32, want: pkcs11.CKR_KEY_SIZE_RANGE},
		"no length in the template":   {data: []pkcs11.PRFData{counted(8)}, size: -1, want: pkcs11.CKR_TEMPLATE_INCOMPLETE},
		"a format in double pipeline": {m: pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF, data: []pkcs11.PRFData{counted(8)}, want: invalid},
	} {
		if c.m == 0 {
			c.m = pkcs11.CKM_SP800_108_COUNTER_KDF
		}
		if c.prf == 0 {
			c.prf = pkcs11.CKM_SHA256_HMAC
		}
		if c.size == 0 {
			c.size = 16
		}
		_, err := derive(t, c.m, bytes.Repeat([]byte{1}, 32), nil, &pkcs11.SP800108KDFParams{PRF: c.prf, Data: c.data}, max(c.size, 0))
		assert.Equal(t, c.want, pkcs11.RVOf(err), "%s: %v", name, err)
	}
}
