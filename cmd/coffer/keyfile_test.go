package main

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// keyPairs has one private key of each kind that files may hold.
func keyPairs(t *testing.T) map[string]crypto.PrivateKey {
	t.Helper()
	keys := map[string]crypto.PrivateKey{}
	must := func(name string, key crypto.PrivateKey, err error) {
		if err != nil {
			t.Fatal(name, err)
		}
		keys[name] = key
	}
	for name, c := range stdCurves {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		must(name, k, err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	must("rsa:2048", r, err)
	_, e, err := ed25519.GenerateKey(rand.Reader)
	must("ed25519", e, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	must("x25519", x, err)
	return keys
}

func TestPrivateKeysSurviveTheWayThroughAttributes(t *testing.T) {
	for name, key := range keyPairs(t) {
		tm, pub, err := privateAttributes(key)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := (object{attrs: tm}).typeName(); got != name {
			t.Errorf("%s is described as %s", name, got)
		}
		checkTypes(t, name, tm)
		back, err := privateKey(tm)
		if err != nil {
			t.Fatal(name, err)
		}
		if !back.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
			t.Errorf("%s came back as another key", name)
		}
		if !pub.(interface{ Equal(crypto.PublicKey) bool }).Equal(back.(interface{ Public() crypto.PublicKey }).Public()) {
			t.Errorf("%s came with another public key", name)
		}
	}
}

func TestPublicKeysSurviveTheWayThroughAttributes(t *testing.T) {
	for name, key := range keyPairs(t) {
		pub := key.(interface{ Public() crypto.PublicKey }).Public()
		tm, err := publicAttributes(pub)
		if err != nil {
			t.Fatal(name, err)
		}
		checkTypes(t, name, tm)
		back, err := publicKey(tm)
		if err != nil {
			t.Fatal(name, err)
		}
		if !back.(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
			t.Errorf("%s came back as another key", name)
		}
		// A token that answers with the bare point is understood as well.
		if der := tm.Bytes(pkcs11.CKA_EC_POINT); der != nil {
			var bare []byte
			if _, err := asn1.Unmarshal(der, &bare); err != nil {
				t.Fatal(name, err)
			}
			back, err := publicKey(tm.Set(pkcs11.CKA_EC_POINT, bare))
			if err != nil || !back.(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
				t.Errorf("%s with a bare point: %v", name, err)
			}
		}
	}
}

// checkTypes wants Go types of values that fit their attributes.
func checkTypes(t *testing.T, name string, tm pkcs11.Template) {
	t.Helper()
	for _, a := range tm {
		if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPublicKeyOfKnownBytes(t *testing.T) {
	// The generator of P-256 (SP 800-186, 3.2.1.3) as a public key.
	const point = "04" +
		"6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
	p := elliptic.P256().Params()
	tm, err := publicAttributes(&ecdsa.PublicKey{Curve: elliptic.P256(), X: p.Gx, Y: p.Gy})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(tm.Bytes(pkcs11.CKA_EC_PARAMS)), "06082a8648ce3d030107"; got != want {
		t.Errorf("CKA_EC_PARAMS %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(tm.Bytes(pkcs11.CKA_EC_POINT)), "0441"+point; got != want {
		t.Errorf("CKA_EC_POINT %s, want %s", got, want)
	}
}

func TestShortNumbersArePadded(t *testing.T) {
	c, _ := curveNamed("ec:p256")
	key, err := privateKey(ecPrivate(c, []byte{7}))
	if err != nil {
		t.Fatal(err)
	}
	if d := key.(*ecdsa.PrivateKey).D; d.Cmp(big.NewInt(7)) != 0 {
		t.Errorf("the number is %v, want 7", d)
	}
}

func TestCurvesNamedByText(t *testing.T) {
	params, err := asn1.MarshalWithParams("edwards25519", "printable")
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := curveOf(params); !ok || c.name != "ed25519" {
		t.Errorf("edwards25519 is taken for %q", c.name)
	}
	for _, bad := range [][]byte{nil, {0}, {6, 3, 1, 2, 3}, {19, 1, 'x'}} {
		if c, ok := curveOf(bad); ok {
			t.Errorf("%x is taken for %s", bad, c.name)
		}
	}
}

func TestDamagedAttributesAreErrors(t *testing.T) {
	c, _ := curveNamed("ec:p256")
	ed, _ := curveNamed("ed25519")
	for name, tm := range map[string]pkcs11.Template{
		"nothing":         {},
		"no exponent":     {pkcs11.Attr(pkcs11.CKA_MODULUS, []byte{1, 2})},
		"no point":        {pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params())},
		"point off curve": {pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()), pkcs11.Attr(pkcs11.CKA_EC_POINT, make([]byte, 65))},
		"short point":     {pkcs11.Attr(pkcs11.CKA_EC_PARAMS, ed.params()), pkcs11.Attr(pkcs11.CKA_EC_POINT, make([]byte, 31))},
		"unknown curve":   {pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 1, 1}), pkcs11.Attr(pkcs11.CKA_EC_POINT, make([]byte, 31))},
		"huge exponent":   {pkcs11.Attr(pkcs11.CKA_MODULUS, []byte{1, 2}), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, make0ff(9))},
	} {
		if _, err := publicKey(tm); err == nil {
			t.Errorf("%s: a public key was made", name)
		}
		if _, err := privateKey(tm); err == nil {
			t.Errorf("%s: a private key was made", name)
		}
	}
}

func make0ff(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func testCertificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	start := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	model := &x509.Certificate{SerialNumber: big.NewInt(300), NotBefore: start, NotAfter: start.AddDate(1, 0, 0)}
	model.Subject.CommonName = "web"
	der, err := x509.CreateCertificate(rand.Reader, model, model, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificateAttributes(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := testCertificate(t, key)
	tm, err := certificateAttributes(cert)
	if err != nil {
		t.Fatal(err)
	}
	checkTypes(t, "certificate", tm)
	for _, c := range []struct {
		attr pkcs11.AttributeType
		want string
	}{
		{pkcs11.CKA_SERIAL_NUMBER, "\x02\x02\x01\x2c"},
		{pkcs11.CKA_START_DATE, "20240203"},
		{pkcs11.CKA_END_DATE, "20250203"},
		{pkcs11.CKA_SUBJECT, string(cert.RawSubject)},
		{pkcs11.CKA_ISSUER, string(cert.RawIssuer)},
		{pkcs11.CKA_VALUE, string(cert.Raw)},
	} {
		if got := string(tm.Bytes(c.attr)); got != c.want {
			t.Errorf("%v is %q, want %q", c.attr, got, c.want)
		}
	}
	// The certificate's usual id is that of its key.
	a, err := spkiID(cert.RawSubjectPublicKeyInfo)
	if err != nil {
		t.Fatal(err)
	}
	b, err := keyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) || len(a) != 20 {
		t.Errorf("ids %x and %x", a, b)
	}
}

func TestKeyIDOfAKnownKey(t *testing.T) {
	// RFC 8410, 10.1: the Ed25519 public key of the example; the id is the SHA-1 of its 32 bytes, by sha1sum.
	raw, err := hex.DecodeString("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
	if err != nil {
		t.Fatal(err)
	}
	id, err := keyID(ed25519.PublicKey(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(id), "a28cc1f86e5960d3e03ae75c962c97a8d448293c"; got != want {
		t.Errorf("id %s, want %s", got, want)
	}
}

func pemOf(t *testing.T, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
