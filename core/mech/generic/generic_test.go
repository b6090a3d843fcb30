package generic

import (
	"encoding/hex"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		mechtest.Run(t, mechtest.Case{Row: &Family.Mechanisms[i], Templates: []pkcs11.Template{
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 1)},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 20)},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, MaxBytes)},
		}})
	}
}

func TestCheck(t *testing.T) {
	value := pkcs11.Attr(pkcs11.CKA_VALUE, []byte("five!"))
	for _, c := range []struct {
		name  string
		class pkcs11.ObjectClass
		t     pkcs11.Template
		want  pkcs11.RV
	}{
		{"value", pkcs11.CKO_SECRET_KEY, pkcs11.Template{value}, pkcs11.CKR_OK},
		{"value and its length", pkcs11.CKO_SECRET_KEY, pkcs11.Template{value, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 5)}, pkcs11.CKR_OK},
		{"value and another length", pkcs11.CKO_SECRET_KEY, pkcs11.Template{value, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 4)}, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{"no value", pkcs11.CKO_SECRET_KEY, nil, pkcs11.CKR_TEMPLATE_INCOMPLETE},
		{"empty value", pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, []byte{})}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"value of another Go type", pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, true)}, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{"public key", pkcs11.CKO_PUBLIC_KEY, pkcs11.Template{value}, pkcs11.CKR_TEMPLATE_INCONSISTENT},
	} {
		for _, k := range Family.KeyTypes {
			add, err := k.Check(c.class, c.t)
			if pkcs11.RVOf(err) != c.want {
				t.Errorf("%v, %s: error %v, want %v", k.Type, c.name, err, c.want)
			}
			if n, _ := add.Uint(pkcs11.CKA_VALUE_LEN); err == nil && n != 5 {
				t.Errorf("%v, %s: CKA_VALUE_LEN %d", k.Type, c.name, n)
			}
		}
	}
}

func TestCheckValue(t *testing.T) {
	if got := hex.EncodeToString(CheckValue([]byte("abc"))); got != "a9993e" { // FIPS 180-4, SHA-1 of abc
		t.Errorf("check value %s", got)
	}
}
