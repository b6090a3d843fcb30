package object

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Builtin makes an object of the token itself: a hardware feature, a profile, a mechanism, a validation. Nobody changes,
// copies or destroys it. Its CKA_UNIQUE_ID is a hash of what is given, so that it is the same on every node and after each
// start.
func Builtin(class pkcs11.ObjectClass, attrs pkcs11.Template) (*Object, error) {
	head := append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, class)}, attrs.Clone()...)
	p, err := policyOf(head)
	if err != nil {
		return nil, err
	}
	if !p.builtin {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a %v is not the token's own", p)
	}
	encoded, err := Marshal(head)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("coffer-builtin/1"), encoded...))
	head = append(head, pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, hex.EncodeToString(sum[:idDigits/2])))
	for _, r := range p.rows {
		if r.value != nil && !head.Has(r.attr) {
			head = append(head, pkcs11.Attribute{Type: r.attr, Value: r.value.always})
		}
	}
	return Load(head)
}

// BuiltinClass reports whether the objects of a class are the token's own.
func BuiltinClass(class pkcs11.ObjectClass) bool { return class < numClasses && table().builtin[class] }
