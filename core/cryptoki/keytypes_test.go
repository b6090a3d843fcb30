package cryptoki

import (
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestSlotShowsKeysOfSomeTypes: keys of other types are not found, by whatever template; all that is no key is.
func TestSlotShowsKeysOfSomeTypes(t *testing.T) {
	b := &bench{t: t, hsm: newFake()}
	b.Library = New(Options{Slots: func() ([]Slot, error) {
		return []Slot{{ID: slot1, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC}, Open: func() (hsm.HSM, error) { return b.hsm, nil }}}, nil
	}})
	b.ok(b.Initialize(nil))
	defer b.Finalize(false)
	s := b.user()
	add := func(name string, token bool, more ...pkcs11.Attribute) {
		t.Helper()
		_, err := b.CreateObject(s, append(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, token), pkcs11.Attr(pkcs11.CKA_PRIVATE, true),
			pkcs11.AttrString(pkcs11.CKA_LABEL, name)}, more...))
		b.ok(err)
	}
	class := func(c pkcs11.ObjectClass) pkcs11.Attribute { return pkcs11.AttrUlong(pkcs11.CKA_CLASS, c) }
	kind := func(k pkcs11.KeyType) pkcs11.Attribute { return pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, k) }
	add("rsa", true, class(pkcs11.CKO_PRIVATE_KEY), kind(pkcs11.CKK_RSA))
	add("ed", true, class(pkcs11.CKO_PRIVATE_KEY), kind(pkcs11.CKK_EC_EDWARDS))
	add("ed public", true, class(pkcs11.CKO_PUBLIC_KEY), kind(pkcs11.CKK_EC_EDWARDS))
	add("ec public", true, class(pkcs11.CKO_PUBLIC_KEY), kind(pkcs11.CKK_EC))
	add("aes", true, class(pkcs11.CKO_SECRET_KEY), kind(pkcs11.CKK_AES))
	add("parameters", true, class(pkcs11.CKO_DOMAIN_PARAMETERS), kind(pkcs11.CKK_DSA))
	add("certificate", true, class(pkcs11.CKO_CERTIFICATE))
	add("session", false, class(pkcs11.CKO_PRIVATE_KEY), kind(pkcs11.CKK_EC_EDWARDS))

	for _, c := range []struct {
		asked pkcs11.Template
		want  []string
	}{
		{nil, []string{"rsa", "ec public", "parameters", "certificate", "session"}},
		{pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true), class(pkcs11.CKO_PRIVATE_KEY)}, []string{"rsa"}},
		{pkcs11.Template{class(pkcs11.CKO_PUBLIC_KEY)}, []string{"ec public"}},
		{pkcs11.Template{class(pkcs11.CKO_SECRET_KEY)}, nil},
		{pkcs11.Template{class(pkcs11.CKO_CERTIFICATE)}, []string{"certificate"}},
		{pkcs11.Template{kind(pkcs11.CKK_RSA)}, []string{"rsa"}},
		{pkcs11.Template{kind(pkcs11.CKK_DSA)}, []string{"parameters"}},
		{append(label("ed"), pkcs11.Attr(pkcs11.CKA_TOKEN, true), kind(pkcs11.CKK_EC_EDWARDS)), nil},
		{append(label("rsa"), class(pkcs11.CKO_PRIVATE_KEY), kind(pkcs11.CKK_RSA)), []string{"rsa"}},
	} {
		var got []string
		for _, h := range b.find(s, c.asked) {
			values, err := b.GetAttributeValue(s, h, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
			b.ok(err)
			got = append(got, string(values[0].Value.([]byte)))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: found %q, want %q", c.asked, got, c.want)
		}
	}
}
