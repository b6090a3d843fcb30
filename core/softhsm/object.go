package softhsm

import (
	"fmt"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Object is one object of a token. What is encrypted stays so until Attribute is asked for it.
type Object struct {
	File  string // its name in the token's directory
	token *Token
	file
}

// Types lists the attributes that the object has.
func (o *Object) Types() []pkcs11.AttributeType {
	types := make([]pkcs11.AttributeType, len(o.values))
	for i, a := range o.values {
		types[i] = a.Type
	}
	return types
}

// plain are the byte strings of private objects that SoftHSM does not encrypt.
var plain = map[pkcs11.AttributeType]bool{pkcs11.CKA_START_DATE: true, pkcs11.CKA_END_DATE: true}

// Attribute returns a copy of a value in the Go type that pkcs11.Attribute has for it, nil where the object does not have
// the attribute. The token must be open (Login) for byte strings of private objects. ErrDamaged.
func (o *Object) Attribute(t pkcs11.AttributeType) (any, error) {
	v, ok := o.values.Get(t)
	if !ok {
		return nil, nil
	}
	if o.encrypted(t, v) {
		b, err := decrypt(o.token.key, v.([]byte))
		if err != nil {
			return nil, fmt.Errorf("%s: %v: %w", o.File, t, err)
		}
		v = b
	} else {
		v = pkcs11.CloneValue(v)
	}
	if _, known := t.Kind(); known {
		if err := pkcs11.CheckValue(t, v); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", o.File, ErrDamaged, err)
		}
	}
	return v, nil
}

// encrypted: of a private object, all byte strings that are not empty.
func (o *Object) encrypted(t pkcs11.AttributeType, v any) bool {
	b, isBytes := v.([]byte)
	private, _ := o.values.Bool(pkcs11.CKA_PRIVATE)
	return isBytes && len(b) > 0 && private && !plain[t]
}
