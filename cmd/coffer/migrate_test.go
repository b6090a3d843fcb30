package main

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestCheckValues(t *testing.T) {
	for _, c := range []struct {
		kt    pkcs11.KeyType
		value []byte
		want  string
	}{
		{pkcs11.CKK_AES, make([]byte, 16), "66e94b"},         // FIPS 197 with a key and a block of zeros
		{pkcs11.CKK_AES, make([]byte, 32), "dc95c0"},         // the same with 256 bits
		{pkcs11.CKK_DES3, make([]byte, 24), "8ca64d"},        // DES of zeros under zeros
		{pkcs11.CKK_GENERIC_SECRET, []byte("abc"), "a9993e"}, // FIPS 180-4, SHA-1 of "abc"
		{pkcs11.CKK_SHA256_HMAC, []byte("abc"), "a9993e"},    //
		{pkcs11.CKK_AES, make([]byte, 15), ""},               // no key
		{pkcs11.CKK_CHACHA20, make([]byte, 32), ""},          // not known here
	} {
		if got := hex.EncodeToString(checkValue(c.kt, c.value)); got != c.want {
			t.Errorf("%v of %d bytes: %s, want %s", c.kt, len(c.value), got, c.want)
		}
	}
}

func TestSelections(t *testing.T) {
	for text, want := range map[string]selection{"label=web": {label: "web"}, "label=a=b": {label: "a=b"}, "id=0A1b": {id: "0a1b"}, "id=0a:1b": {id: "0a1b"}} {
		if got, err := parseSelection(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "web", "label=", "id=", "id=xyz", "id=abc", "uid=1"} {
		if _, err := parseSelection(bad); err == nil || explain(err).code != exitUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestModuleValuesAreTyped(t *testing.T) {
	number := binary.NativeEndian.AppendUint64(nil, 0x1041)
	for _, c := range []struct {
		t    pkcs11.AttributeType
		b    []byte
		want any
	}{
		{pkcs11.CKA_SIGN, []byte{1}, true},
		{pkcs11.CKA_SIGN, []byte{0}, false},
		{pkcs11.CKA_VALUE_LEN, number, uint(0x1041)},
		{pkcs11.CKA_ALLOWED_MECHANISMS, append(number, number...), []pkcs11.MechanismType{pkcs11.CKM_ECDSA, pkcs11.CKM_ECDSA}},
		{pkcs11.CKA_ALLOWED_MECHANISMS, []byte{}, []pkcs11.MechanismType{}},
		{pkcs11.CKA_LABEL, []byte("web"), []byte("web")},
		{pkcs11.CKA_START_DATE, []byte("20250102"), []byte("20250102")},
	} {
		if got, err := decoded(c.t, c.b); err != nil || !pkcs11.EqualValue(got, c.want) {
			t.Errorf("%v: %v, %v", c.t, got, err)
		}
	}
	for _, c := range []struct {
		t pkcs11.AttributeType
		b []byte
	}{
		{pkcs11.CKA_SIGN, nil}, {pkcs11.CKA_UNWRAP_TEMPLATE, []byte{}},
	} {
		if got, err := decoded(c.t, c.b); got != nil || err != nil {
			t.Errorf("%v: %v, %v", c.t, got, err)
		}
	}
	for ty, b := range map[pkcs11.AttributeType][]byte{pkcs11.CKA_SIGN: {}, pkcs11.CKA_VALUE_LEN: {1, 2, 3, 4}, pkcs11.CKA_ALLOWED_MECHANISMS: {1},
		pkcs11.CKA_START_DATE: []byte("tomorrow"), pkcs11.CKA_UNWRAP_TEMPLATE: make([]byte, 24)} {
		if got, err := decoded(ty, b); err == nil {
			t.Errorf("%v of %d bytes is %v", ty, len(b), got)
		}
	}
}

func TestSamePublicValueInOtherForms(t *testing.T) {
	point := append([]byte{4}, make([]byte, 64)...)
	der := append([]byte{4, 65}, point...)
	p256, _ := curveNamed("ec:p256")
	bare := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, p256.params()), pkcs11.Attr(pkcs11.CKA_EC_POINT, point)}
	wrapped := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, p256.params()), pkcs11.Attr(pkcs11.CKA_EC_POINT, der)}
	ec := []pkcs11.AttributeType{pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT}
	if !sameValue(bare, wrapped, ec) || !sameValue(wrapped, bare, ec) {
		t.Error("a point is another one inside an OCTET STRING")
	}
	ed, _ := curveNamed("ed25519")
	named := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, append([]byte{0x13, 12}, "edwards25519"...))}
	if !sameValue(named, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, ed.params())}, ec[:1]) {
		t.Error("a curve is another one by its name")
	}
	n := []pkcs11.AttributeType{pkcs11.CKA_MODULUS}
	a, b := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_MODULUS, []byte{0, 5})}, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_MODULUS, []byte{5})}
	if !sameValue(a, b, n) || sameValue(a, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_MODULUS, []byte{6})}, n) {
		t.Error("numbers")
	}
}

// TestNoUsageIsAdded: whatever the source does not say is false, so that no default of the token's adds it.
func TestNoUsageIsAdded(t *testing.T) {
	f := &foreign{object: object{attrs: pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA), pkcs11.Attr(pkcs11.CKA_DECRYPT, true), pkcs11.Attr(pkcs11.CKA_LABEL, []byte{})}}}
	tm := f.templateOf(true)
	for _, want := range (pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true), pkcs11.Attr(pkcs11.CKA_DECRYPT, true), pkcs11.Attr(pkcs11.CKA_SIGN, false),
		pkcs11.Attr(pkcs11.CKA_UNWRAP, false), pkcs11.Attr(pkcs11.CKA_DERIVE, false), pkcs11.Attr(pkcs11.CKA_DECAPSULATE, false),
		pkcs11.Attr(pkcs11.CKA_SENSITIVE, true), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false)}) {
		if got, ok := tm.Get(want.Type); !ok || got != want.Value {
			t.Errorf("%v is %v, want %v", want.Type, got, want.Value)
		}
	}
	if tm.Has(pkcs11.CKA_LABEL) || tm.Has(pkcs11.CKA_LOCAL) {
		t.Error("the template has what says nothing, or what the token alone says")
	}
}
