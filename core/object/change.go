package object

import (
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Set returns the object with the attributes of t changed. so says that the SO asks. The secret part stays as it is.
//
// CKR_ACTION_PROHIBITED if CKA_MODIFIABLE is false, for the token's own objects, and for a trusted object if anybody but
// the SO asks (the standard says so of certificates; here keys are guarded alike). PKCS#11 v3.2, C_SetAttributeValue.
func Set(o *Object, so bool, t pkcs11.Template) (*Object, error) {
	switch {
	case !o.Bool(pkcs11.CKA_MODIFIABLE):
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the object is not modifiable")
	case o.Bool(pkcs11.CKA_TRUSTED) && !so:
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "a trusted object is the SO's to modify")
	}
	h := o.all()
	if err := h.change(OpSet, so, t); err != nil {
		return nil, err
	}
	return newObject(h, o.id), nil
}

// Copy returns a copy of the object under a new identity, changed as t says; the secret part is the same. A copy is never
// less protected than its source: CKA_SENSITIVE, CKA_PRIVATE and CKA_WRAP_WITH_TRUSTED do not fall, CKA_EXTRACTABLE does
// not rise. CKA_MODIFIABLE and CKA_DESTROYABLE are free, as the standard has it.
//
// Deviation: a copy that anybody but the SO makes of a trusted object is not trusted.
//
// CKR_ACTION_PROHIBITED if CKA_COPYABLE is false; CKR_USER_NOT_LOGGED_IN for a private copy without the user. PKCS#11 v3.2,
// C_CopyObject.
func Copy(o *Object, so, user bool, id string, t pkcs11.Template) (*Object, error) {
	if !o.Bool(pkcs11.CKA_COPYABLE) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the object is not copyable")
	}
	if !validID(id) {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "an identity of %d bytes", len(id))
	}
	h := o.all()
	if h.isOn(pkcs11.CKA_TRUSTED) && !so {
		h.set(pkcs11.CKA_TRUSTED, false)
	}
	if err := h.change(OpCopy, so, t); err != nil {
		return nil, err
	}
	if h.isOn(pkcs11.CKA_PRIVATE) && !user {
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "a private object is the user's")
	}
	return newObject(h, id), nil
}

// all is the object's head, with what it shares with others.
func (o *Object) all() head {
	h := o.head
	h.values = slices.Clone(o.values)
	for _, a := range o.own {
		h.set(a.Type, a.Value)
	}
	return h
}

// change applies t.
func (h *head) change(op Op, so bool, t pkcs11.Template) error {
	if err := wellFormed(t); err != nil {
		return err
	}
	for _, a := range t {
		r := h.policy.row(a.Type)
		if r == nil {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is no attribute of %v", a.Type, h.policy)
		}
		old, _ := h.Get(a.Type)
		if err := r.admit(op, so, old, a.Value); err != nil {
			return err
		}
		h.set(a.Type, pkcs11.CloneValue(a.Value))
	}
	return h.check()
}

// Spend returns the object, a key with state, with n signatures less in its CKA_HSS_KEYS_REMAINING. Nothing else changes what
// is there, nor may forbid it: using such a key is using it up.
func Spend(o *Object, n uint) (*Object, error) {
	left, known := o.Uint(pkcs11.CKA_HSS_KEYS_REMAINING)
	if !known || left < n {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_EXHAUSTED, "%d signatures are left, %d are wanted", left, n)
	}
	h := o.all()
	h.set(pkcs11.CKA_HSS_KEYS_REMAINING, left-n)
	return newObject(h, o.id), nil
}

// Destroyable answers whether C_DestroyObject may have the object: nil or CKR_ACTION_PROHIBITED.
func (o *Object) Destroyable() error {
	if !o.Bool(pkcs11.CKA_DESTROYABLE) {
		return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the object is not destroyable")
	}
	return nil
}
