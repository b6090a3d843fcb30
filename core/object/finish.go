package object

import (
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Finish makes the object. id is its CKA_UNIQUE_ID, 32 lower-case hex digits. made is what the mechanism or the check of
// the key type contributes: key material, and what follows from it (CKA_MODULUS, CKA_EC_POINT, CKA_CHECK_VALUE,
// CKA_PUBLIC_KEY_INFO, a certificate's CKA_SUBJECT ...). It replaces what the template says of the same attribute, except
// where the template may only repeat it: then a difference is CKR_ATTRIBUTE_VALUE_INVALID, and an empty CKA_CHECK_VALUE
// in the template stays empty. A CKA_CHECK_VALUE or CKA_PUBLIC_KEY_INFO that made does not confirm is left out.
//
// CKA_VALUE_LEN of a secret key is counted here; a length that was asked for and is another is
// CKR_WRAPPED_KEY_LEN_RANGE after an unwrapping, else CKR_TEMPLATE_INCONSISTENT.
//
// Finish is for once. The head holds copies, but for what follows from the material. The secret part may be in the memory of
// made, and its values are those of the template and of made themselves, the caller's to wipe.
func (d *Draft) Finish(id string, made pkcs11.Template) (*Object, pkcs11.Template, error) {
	if !validID(id) {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "an identity of %d bytes", len(id))
	}
	h := d.head
	for i := range (h.has & d.policy.with(derived)).rows() {
		r := &d.policy.rows[i]
		if v, _ := h.Get(r.attr); !r.has(clearable) || !isEmpty(v) {
			h.drop(i)
		}
	}
	hidden := secretPart{policy: d.policy, values: made[:0]} // what is taken out of made is not before its place in it
	if d.named&d.policy.with(secret) != 0 {
		hidden.values = nil
		for _, a := range d.asked {
			hidden.take(a)
		}
	}
	for _, a := range made {
		r, err := d.contributes(a)
		switch {
		case err != nil:
			return nil, nil, err
		case hidden.take(a), r.has(hint), r.has(clearable) && h.holds(a.Type):
		case r.has(derived): // computed, and nobody else's
			h.set(a.Type, a.Value)
		default:
			h.set(a.Type, pkcs11.CloneValue(a.Value))
		}
	}
	if err := d.measure(&h, hidden.values); err != nil {
		return nil, nil, err
	}
	if err := d.complete(h.has | hidden.has); err != nil {
		return nil, nil, err
	}
	d.object.become(h, id)
	if hidden.has == 0 {
		return d.object, nil, nil
	}
	return d.object, slices.Clip(hidden.values), nil
}

// secretPart gathers key material.
type secretPart struct {
	policy *policy
	has    rowSet
	values pkcs11.Template
}

// take takes an attribute that is secret, in the place of what was there.
func (s *secretPart) take(a pkcs11.Attribute) bool {
	i, known := s.policy.place(a.Type)
	if !known || !s.policy.rows[i].has(secret) {
		return false
	}
	s.has |= 1 << i
	s.values = s.values.Set(a.Type, a.Value)
	return true
}

// contributes checks one attribute of the material: that it belongs to the kind, decides no policy and does not
// contradict the template.
func (d *Draft) contributes(a pkcs11.Attribute) (*row, error) {
	i, known := d.policy.place(a.Type)
	if !known {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v holds %v", d.policy, a.Type)
	}
	r := &d.policy.rows[i]
	if r.has(guard|usage) || r.has(computed) && r.value != nil || r.attr == pkcs11.CKA_UNIQUE_ID {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v holds %v", d.policy, a.Type)
	}
	if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v: %v", d.policy, err)
	}
	if d.named>>i&1 == 0 {
		return r, nil
	}
	asked, _ := d.asked.Get(a.Type)
	if pkcs11.EqualValue(asked, a.Value) {
		return r, nil
	}
	fixed := a.Type == pkcs11.CKA_CLASS || a.Type == subtype(d.policy.class)
	if fixed || r.has(derived) && !isEmpty(asked) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v does not fit the key or certificate", a.Type)
	}
	return r, nil
}

// measure counts CKA_VALUE_LEN.
func (d *Draft) measure(h *head, hidden pkcs11.Template) error {
	r := d.policy.row(pkcs11.CKA_VALUE_LEN)
	if r == nil || !hidden.Has(pkcs11.CKA_VALUE) {
		return nil
	}
	n := uint(len(hidden.Bytes(pkcs11.CKA_VALUE)))
	if asked, said := d.asked.Uint(pkcs11.CKA_VALUE_LEN); said && asked != n && !r.has(hint) {
		return pkcs11.Errorf(d.op().length, "the value has %d bytes, CKA_VALUE_LEN is %d", n, asked)
	}
	h.set(pkcs11.CKA_VALUE_LEN, n)
	return nil
}

// complete looks for what no object of the kind is without.
func (d *Draft) complete(there rowSet) error {
	if missing := d.policy.with(createMust|atLast) &^ there; missing != 0 {
		attr := d.policy.rows[missing.first()].attr
		if d.req.Op == OpCreate {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is missing", attr)
		}
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v lacks %v", d.policy, attr)
	}
	if !d.policy.anyOf(there) {
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v lacks a value", d.policy)
	}
	return nil
}
