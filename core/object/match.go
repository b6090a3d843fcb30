package object

import (
	"crypto/subtle"
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Where says where the value of an attribute is.
type Where uint8

// The places. Nowhere comes with an error.
const (
	Nowhere Where = iota
	InHead
	InSecret // and may be shown; CKR_ATTRIBUTE_TYPE_INVALID if the secret part does not have it
)

// Reveal answers C_GetAttributeValue for one attribute: a copy of its value, or InSecret, or CKR_ATTRIBUTE_SENSITIVE for
// key material that may not be shown, or CKR_ATTRIBUTE_TYPE_INVALID for what such an object cannot have or does not have.
// Attributes that are empty unless set (CKA_LABEL, CKA_ID, CKA_SUBJECT, dates) are there and empty; a mechanism list or
// template that is not set is not there.
func (o *Object) Reveal(t pkcs11.AttributeType) (v any, where Where, err error) {
	v, where, err = o.Show(t)
	return pkcs11.CloneValue(v), where, err
}

// Show is Reveal without a copy: the value is the object's own.
func (o *Object) Show(t pkcs11.AttributeType) (v any, where Where, err error) {
	r := o.policy.row(t)
	switch {
	case r == nil:
		return nil, Nowhere, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "%v is no attribute of %v", t, o.policy)
	case r.has(secret) && o.guarded():
		return nil, Nowhere, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_SENSITIVE, "%v", t)
	case r.has(secret):
		return nil, InSecret, nil
	}
	if v, ok := o.Get(t); ok {
		return v, InHead, nil
	}
	return nil, Nowhere, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "%v is not set", t)
}

// Matches reports whether the object has every attribute of t, with that value (PKCS#11 v3.2, C_FindObjectsInit). What
// Reveal would not show never matches, so that finding is no way to guess a key. secret returns the secret part and is
// called only if t asks for material that may be shown; nil means that nothing secret matches.
func (o *Object) Matches(t pkcs11.Template, secret func() pkcs11.Template) bool {
	for _, a := range t {
		if v, ok := o.Get(a.Type); ok {
			if !pkcs11.EqualValue(v, a.Value) {
				return false
			}
			continue
		}
		if _, where, _ := o.Reveal(a.Type); where != InSecret || secret == nil {
			return false
		}
		want, ok := a.Value.([]byte)
		have := secret()
		if !ok || !have.Has(a.Type) || subtle.ConstantTimeCompare(have.Bytes(a.Type), want) != 1 {
			return false
		}
	}
	return true
}

// Allows reports whether CKA_ALLOWED_MECHANISMS, where the key has it, names m.
func (o *Object) Allows(m pkcs11.MechanismType) bool {
	if !o.restricted {
		return true
	}
	v, _ := o.Get(pkcs11.CKA_ALLOWED_MECHANISMS)
	list, limited := v.([]pkcs11.MechanismType)
	return !limited || slices.Contains(list, m)
}

// MatchesWrapTemplate reports whether CKA_WRAP_TEMPLATE of the wrapping key, if it has one, lets it wrap key.
// PKCS#11 v3.2, C_WrapKey: if not, CKR_KEY_HANDLE_INVALID.
func MatchesWrapTemplate(key, wrapping *Object) bool {
	v, _ := wrapping.Get(pkcs11.CKA_WRAP_TEMPLATE)
	t, _ := v.(pkcs11.Template)
	return key.Matches(t, nil)
}
