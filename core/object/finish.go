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
// The head holds copies. The values of the secret part are those of the template and of made themselves, the caller's to
// wipe.
func (d *Draft) Finish(id string, made pkcs11.Template) (*Object, pkcs11.Template, error) {
	if !validID(id) {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "an identity of %d bytes", len(id))
	}
	var concealed pkcs11.Template
	head := make(pkcs11.Template, 0, len(d.head)+len(made)+2) // CKA_VALUE_LEN and CKA_UNIQUE_ID
	for _, a := range d.head {
		if r := d.policy.row(a.Type); !r.has(derived) || r.has(clearable) && isEmpty(a.Value) {
			head = append(head, a)
		}
	}
	for _, a := range d.asked {
		if d.policy.row(a.Type).has(secret) {
			concealed = append(concealed, a)
		}
	}
	for _, a := range made {
		r, err := d.contributes(a)
		switch {
		case err != nil:
			return nil, nil, err
		case r.has(secret):
			concealed = concealed.Set(a.Type, a.Value)
		case r.has(hint), r.has(clearable) && head.Has(a.Type):
		default:
			head = head.Set(a.Type, a.Value)
		}
	}
	head, err := d.measure(head, concealed)
	if err != nil {
		return nil, nil, err
	}
	if err := d.complete(head, concealed); err != nil {
		return nil, nil, err
	}
	head = append(head, pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, id))
	return newObject(d.policy, head.Clone()), slices.Clip(concealed), nil
}

// contributes checks one attribute of the material: that it belongs to the kind, decides no policy and does not
// contradict the template.
func (d *Draft) contributes(a pkcs11.Attribute) (*row, error) {
	r := d.policy.row(a.Type)
	if r == nil || r.has(guard|usage) || r.has(computed) && r.value != nil || r.attr == pkcs11.CKA_UNIQUE_ID {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v holds %v", d.policy, a.Type)
	}
	if err := pkcs11.CheckValue(a.Type, a.Value); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v: %v", d.policy, err)
	}
	asked, said := d.asked.Get(a.Type)
	if !said || pkcs11.EqualValue(asked, a.Value) {
		return r, nil
	}
	fixed := a.Type == pkcs11.CKA_CLASS || a.Type == subtype[d.policy.class]
	if fixed || r.has(derived) && !isEmpty(asked) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v does not fit the key or certificate", a.Type)
	}
	return r, nil
}

// measure counts CKA_VALUE_LEN.
func (d *Draft) measure(head, concealed pkcs11.Template) (pkcs11.Template, error) {
	r := d.policy.row(pkcs11.CKA_VALUE_LEN)
	if r == nil || !concealed.Has(pkcs11.CKA_VALUE) {
		return head, nil
	}
	n := uint(len(concealed.Bytes(pkcs11.CKA_VALUE)))
	if asked, said := d.asked.Uint(pkcs11.CKA_VALUE_LEN); said && asked != n && !r.has(hint) {
		return nil, pkcs11.Errorf(d.op().length, "the value has %d bytes, CKA_VALUE_LEN is %d", n, asked)
	}
	return head.Set(pkcs11.CKA_VALUE_LEN, n), nil
}

// complete looks for what no object of the kind is without.
func (d *Draft) complete(head, concealed pkcs11.Template) error {
	has := func(t pkcs11.AttributeType) bool { return head.Has(t) || concealed.Has(t) }
	for _, r := range d.policy.rows {
		if !r.has(createMust|atLast) || has(r.attr) {
			continue
		}
		if d.req.Op == OpCreate {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is missing", r.attr)
		}
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v lacks %v", d.policy, r.attr)
	}
	if !d.policy.anyOf(has) {
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "material for %v lacks a value", d.policy)
	}
	return nil
}
