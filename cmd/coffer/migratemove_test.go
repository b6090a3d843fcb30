package main

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// withholding is a source that shows no value, and lets all keys out wrapped.
type withholding struct{ asked pkcs11.Template }

func (*withholding) title() string                              { return "test" }
func (*withholding) login(*secret.Bytes) error                  { return nil }
func (*withholding) objects() ([]*foreign, error)               { return nil, nil }
func (*withholding) material(*foreign) (pkcs11.Template, error) { return nil, errKept }
func (*withholding) close()                                     {}
func (*withholding) use(*foreign, hsm.OpKind, pkcs11.MechanismType, []byte) ([]byte, error) {
	return nil, errKept
}

func (w *withholding) wrap(_ context.Context, _ *token, _ *foreign, template pkcs11.Template) (hsm.Object, string, error) {
	w.asked = template
	return nil, "CKM_AES_KEY_WRAP_KWP", nil
}

// TestWhatComesWrappedIsSensitive: some modules withhold the value of keys that they call extractable and not sensitive,
// and the key that carries them does not unwrap into keys that can be read.
func TestWhatComesWrappedIsSensitive(t *testing.T) {
	for _, sensitive := range []bool{false, true} {
		f := &foreign{object: object{attrs: pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.Attr(pkcs11.CKA_SENSITIVE, sensitive), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)}}}
		src, row := &withholding{}, moveRow{}
		m := &mover{src: src, token: &token{}}
		if _, err := m.bring(t.Context(), &subject{foreign: f}, &row); err != nil {
			t.Fatal(err)
		}
		if v, _ := src.asked.Bool(pkcs11.CKA_SENSITIVE); !v {
			t.Errorf("sensitive %t at the source: it was to be unwrapped as one that is not", sensitive)
		}
		if noted := len(row.Notes) == 1; noted == sensitive {
			t.Errorf("sensitive %t at the source: the report notes %q", sensitive, row.Notes)
		}
	}
}

// TestWhatWasListedIsWiped: listing the source decrypts private data objects, those too that --only leaves out.
func TestWhatWasListedIsWiped(t *testing.T) {
	value := []byte("a private note")
	f := &foreign{object: object{attrs: pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_PRIVATE, true),
		pkcs11.AttrString(pkcs11.CKA_LABEL, "note"), pkcs11.Attr(pkcs11.CKA_VALUE, value)}}}
	m := &mover{src: &withholding{}, token: &token{app: &app{errOut: io.Discard}}, all: []*foreign{f}}
	if _, err := m.run(t.Context(), m.wanted([]selection{{label: "another"}})); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(value, make([]byte, len(value))) {
		t.Errorf("the value is still there: %q", value)
	}
}
