package cryptoki

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// keyClasses are the classes that keys are in.
var keyClasses = []pkcs11.ObjectClass{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY}

// tokenObjects asks the token for what matches. Where the slot shows keys of some types only (Slot.KeyTypes), the others are
// left out. They are told apart by more searches, which indexes answer, and not by asking for each key's type: the token may
// be far away.
func (x *session) tokenObjects(template pkcs11.Template) ([]hsm.Object, error) {
	found, err := x.hsm.Find(x.ctx, x.cred(), template)
	if err != nil || len(found) == 0 || x.slot.KeyTypes == nil {
		return found, err
	}
	keys, err := narrowed(x, template, pkcs11.CKA_CLASS, keyClasses)
	if err != nil {
		return nil, err
	}
	shown, err := narrowed(x, template, pkcs11.CKA_KEY_TYPE, x.slot.KeyTypes)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(o hsm.Object) bool { return keys[o.ID()] && !shown[o.ID()] }), nil
}

// narrowed are the identities of what matches a template and has one of some values of an attribute.
func narrowed[N ~uint](x *session, template pkcs11.Template, t pkcs11.AttributeType, values []N) (map[string]bool, error) {
	ids := map[string]bool{}
	asked, given := template.Uint(t)
	for _, value := range values {
		narrow := template
		if !given {
			narrow = append(slices.Clip(template), pkcs11.AttrUlong(t, value))
		} else if asked != uint(value) {
			continue
		}
		found, err := x.hsm.Find(x.ctx, x.cred(), narrow)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			ids[o.ID()] = true
		}
	}
	return ids, nil
}
