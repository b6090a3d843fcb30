//go:build !race

package embedded_test

import (
	"strings"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What programs do with keys that live for one message: make one, in any of the four ways, and destroy it.

// dataKey is the template of such a key, as coffer-bench has it.
var dataKey = pkcs11.Template{
	pkcs11.Attr(pkcs11.CKA_TOKEN, false),
	pkcs11.AttrString(pkcs11.CKA_LABEL, "a key"),
	pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32),
	pkcs11.Attr(pkcs11.CKA_PRIVATE, true),
	pkcs11.Attr(pkcs11.CKA_SENSITIVE, true),
	pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false),
	pkcs11.Attr(pkcs11.CKA_ENCRYPT, true),
	pkcs11.Attr(pkcs11.CKA_DECRYPT, true),
}

// broughtKey is the same with its class and type, and without a length.
var broughtKey = append(pkcs11.Template{
	pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
	pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
}, without(dataKey, pkcs11.CKA_VALUE_LEN)...)

func without(t pkcs11.Template, gone pkcs11.AttributeType) (out pkcs11.Template) {
	for _, a := range t {
		if a.Type != gone {
			out = append(out, a)
		}
	}
	return out
}

// destroying is a step that makes a key, and destroys it.
func (p *party) destroying(make func() (cryptoki.ObjectHandle, error)) func() {
	return func() {
		h, err := make()
		must(p.t, err)
		must(p.t, p.DestroyObject(p.session, h))
	}
}

func making(p *party) func() {
	m := &pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}
	return p.destroying(func() (cryptoki.ObjectHandle, error) { return p.GenerateKey(p.session, m, dataKey) })
}

func importing(p *party) func() {
	template := append(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 32))}, broughtKey...)
	return p.destroying(func() (cryptoki.ObjectHandle, error) { return p.CreateObject(p.session, template) })
}

func unwrapping(p *party) func() {
	m := &pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP}
	kek := p.key(pkcs11.CKM_AES_KEY_GEN, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP)
	key, err := p.GenerateKey(p.session, &pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN},
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)})
	must(p.t, err)
	must(p.t, p.WrapKey(p.session, m, kek, key, p.to(64)))
	wrapped := []byte(strings.Clone(string(p.out.Bytes)))
	return p.destroying(func() (cryptoki.ObjectHandle, error) { return p.UnwrapKey(p.session, m, kek, wrapped, broughtKey) })
}

func deriving(p *party) func() {
	m := &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_KEY_DERIVATION}
	base := p.key(pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKA_DERIVE)
	return p.destroying(func() (cryptoki.ObjectHandle, error) { return p.DeriveKey(p.session, m, base, broughtKey) })
}
