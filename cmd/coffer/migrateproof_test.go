package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestAnIDNamesNoSingleKey: of two X25519 keys with one id, only the value says which public key is whose.
func TestAnIDNamesNoSingleKey(t *testing.T) {
	curve, _ := curveNamed("x25519")
	of := func(class pkcs11.ObjectClass, more ...pkcs11.Attribute) *foreign {
		return &foreign{object: object{attrs: append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, class), pkcs11.Attr(pkcs11.CKA_ID, []byte{1}),
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC_MONTGOMERY), pkcs11.Attr(pkcs11.CKA_EC_PARAMS, curve.params())}, more...)}}
	}
	var private, public []*foreign
	var values []pkcs11.Template
	for range 3 {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private = append(private, of(pkcs11.CKO_PRIVATE_KEY))
		public = append(public, of(pkcs11.CKO_PUBLIC_KEY, pkcs11.Attr(pkcs11.CKA_EC_POINT, key.PublicKey().Bytes())))
		values = append(values, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, key.Bytes())})
	}
	two := []*foreign{private[0], private[1], public[0], public[1]}
	for _, c := range []struct {
		name  string
		all   []*foreign
		value pkcs11.Template
		want  *foreign // nil: none
		err   error
	}{
		{"the value is known", two, values[1], public[1], nil},
		{"the value is kept", two, nil, nil, nil},
		{"the value is another's", two, values[2], nil, errDiffers},
		{"the other one's public key alone is shown", two[:3], values[1], public[1], nil},
		{"two public keys and one private", two[1:], nil, nil, nil},
		{"one pair", []*foreign{private[1], public[1], public[1]}, nil, public[1], nil},
		{"one pair, and a damaged value", []*foreign{private[1], public[1]}, values[2], nil, errDiffers},
		{"no public key", private[1:2], values[1], public[1], nil},
	} {
		m := &mover{all: c.all}
		got, err := m.publics(&subject{foreign: private[1], secret: c.value})
		if !errors.Is(err, c.err) || (c.want == nil) != (len(got) == 0) {
			t.Errorf("%s: %d public keys, error %v", c.name, len(got), err)
			continue
		}
		if c.want != nil && (len(got) != 1 || !samePublicKey(got[0], c.want.attrs)) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
