package pkcs8

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// What the standard library writes is taken apart and put together again.
func TestFrameAgreesWithTheStandardLibrary(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []any{ec, ed} {
		want, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		a, key, err := Split(want, len(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Join(a, key)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%T: %x, %v, want %x", private, got, err, want)
		}
		for _, bad := range [][]byte{nil, want[:len(want)-1], append(bytes.Clone(want), 0)} {
			if _, _, err := Split(bad, 4096); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
				t.Errorf("%T: %x is taken: %v", private, bad, err)
			}
		}
		if _, _, err := Split(want, len(want)-1); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
			t.Errorf("%T: longer than the limit and taken: %v", private, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{0x30, 0x0e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 2, 4, 0})
	f.Fuzz(func(t *testing.T, info []byte) {
		a, key, err := Split(info, 1<<12)
		if err != nil {
			return
		}
		again, err := Join(a, key)
		if err != nil {
			t.Fatal(err)
		}
		b, same, err := Split(again, 1<<13)
		if err != nil || !b.OID.Equal(a.OID) || !bytes.Equal(b.Parameters, a.Parameters) || !bytes.Equal(same, key) {
			t.Errorf("%x comes back as %x, %v", info, again, err)
		}
	})
}
