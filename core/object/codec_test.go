package object

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

var every = tmpl{
	flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_PRIVATE, false), text(pkcs11.CKA_LABEL, "label"), text(pkcs11.CKA_ID, ""),
	class(pkcs11.CKO_SECRET_KEY), num(pkcs11.CKA_KEY_GEN_MECHANISM, pkcs11.CK_UNAVAILABLE_INFORMATION), text(pkcs11.CKA_START_DATE, "20260101"),
	pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_CBC}),
	pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_TOKEN, true)}), text(pkcs11.CKA_LABEL, "")}),
}

func TestCodecRoundTripInAnyOrder(t *testing.T) {
	want, err := Marshal(every)
	require.NoError(t, err)
	rng := seededRand(t)
	for range 20 {
		shuffled := slices.Clone(every)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got, err := Marshal(shuffled)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Len(t, want, 1+encodedLen(every), "room for all of it from the beginning")
	back, err := Unmarshal(want)
	require.NoError(t, err)
	require.Len(t, back, len(every))
	for _, a := range every {
		v, ok := back.Get(a.Type)
		require.True(t, ok)
		require.True(t, pkcs11.EqualValue(a.Value, v), "%v", a.Type)
	}
	mechs, _ := back.Get(pkcs11.CKA_ALLOWED_MECHANISMS)
	require.Equal(t, every[7].Value, mechs, "a list keeps its order")
}

// TestCodecGolden pins the stored format.
func TestCodecGolden(t *testing.T) {
	got, err := Marshal(tmpl{text(pkcs11.CKA_LABEL, "ab"), flag(pkcs11.CKA_TOKEN, true), class(pkcs11.CKO_SECRET_KEY),
		pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM}),
		pkcs11.Attr(pkcs11.CKA_WRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_TOKEN, false)})})
	require.NoError(t, err)
	require.Equal(t, "01"+"00000005"+
		"0000000000000000"+"02"+"0000000000000004"+
		"0000000000000001"+"01"+"01"+
		"0000000000000003"+"03"+"00000002"+"6162"+
		"0000000040000211"+"05"+"00000001"+"0000000000000001"+"01"+"00"+
		"0000000040000600"+"04"+"00000001"+"0000000000001087", hex.EncodeToString(got))
}

func TestMarshalRefuses(t *testing.T) {
	deep := tmpl{flag(pkcs11.CKA_TOKEN, true)}
	for range maxDepth {
		deep = tmpl{pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, deep)}
	}
	for name, bad := range map[string]tmpl{
		"twice":      {flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_TOKEN, true)},
		"form":       {text(pkcs11.CKA_TOKEN, "x")},
		"unknown":    {flag(pkcs11.CKA_VENDOR_DEFINED|1, true)},
		"no value":   {{Type: pkcs11.CKA_TOKEN}},
		"other type": {{Type: pkcs11.CKA_LABEL, Value: "string"}},
		"deep":       deep,
	} {
		_, err := Marshal(bad)
		require.ErrorIs(t, err, ErrCodec, name)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	const token, private = "0000000000000001", "0000000000000002"
	for name, s := range map[string]string{
		"nothing":           "",
		"version":           "0200000000",
		"no count":          "010000",
		"huge count":        "01ffffffff",
		"trailing":          "010000000000",
		"twice":             "0100000002" + token + "0101" + token + "0101",
		"out of order":      "0100000002" + private + "0101" + token + "0101",
		"boolean of 2":      "0100000001" + token + "0102",
		"unknown kind":      "0100000001" + token + "0701",
		"form":              "0100000001" + token + "0300000001" + "61",
		"unknown attribute": "0100000001" + "0000000080000001" + "0101",
		"long bytes":        "0100000001" + "0000000000000003" + "03" + "ffffffff" + "61",
		"long list":         "0100000001" + "0000000040000600" + "04" + "ffffffff" + "0000000000000000",
		"cut":               "0100000001" + token + "01",
	} {
		data, err := hex.DecodeString(s)
		require.NoError(t, err, name)
		_, err = Unmarshal(data)
		require.ErrorIs(t, err, ErrCodec, name)
	}
	blob, err := Marshal(every)
	require.NoError(t, err)
	for n := range blob {
		_, err := Unmarshal(blob[:n])
		require.ErrorIs(t, err, ErrCodec)
	}
}

func TestUnmarshalDoesNotReferToItsInput(t *testing.T) {
	blob, err := Marshal(tmpl{text(pkcs11.CKA_LABEL, "label")})
	require.NoError(t, err)
	back, err := Unmarshal(blob)
	require.NoError(t, err)
	clear(blob)
	require.Equal(t, "label", string(back.Bytes(pkcs11.CKA_LABEL)))
}

// FuzzUnmarshal: whatever decodes, encodes to the same bytes.
func FuzzUnmarshal(f *testing.F) {
	blob, err := Marshal(every)
	require.NoError(f, err)
	f.Add(blob)
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		back, err := Unmarshal(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCodec)
			return
		}
		again, err := Marshal(back)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again))
	})
}
