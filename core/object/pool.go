package object

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// mostShared is how many parts a Pool remembers. Tokens have a handful; who gives each key a template of its own gains
// nothing by sharing, and shall not lose by what is remembered for nobody.
const mostShared = 1024

// Pool loads objects and lets those that are alike share what they have in common: most attributes of most keys, so that
// a hundred thousand heads take a quarter of the memory. The zero value is ready. It is for one goroutine at a time; the
// objects are for any.
type Pool struct {
	shared map[string]pkcs11.Template // by their encoding
}

// Load is the function Load, and keeps no reference to the head. If id is the object's identity, as it should be, the
// object takes its memory instead of having its own.
func (p *Pool) Load(id string, head pkcs11.Template) (*Object, error) {
	o, err := Load(head)
	if err != nil {
		return nil, err
	}
	if o.id == id {
		o.id = id
	}
	own, common := split(o.own)
	if o.common, err = p.share(common); err != nil {
		return nil, err
	}
	o.own = own
	return o, nil
}

// split tells the attributes that belong to one object from those that others have too, both in ascending order.
func split(all pkcs11.Template) (own, common pkcs11.Template) {
	n := 0
	for _, a := range all {
		if individual(a) {
			n++
		}
	}
	own, common = make(pkcs11.Template, 0, n), make(pkcs11.Template, 0, len(all)-n)
	for _, a := range all {
		if individual(a) {
			own = append(own, a)
		} else {
			common = append(common, a)
		}
	}
	return own, common
}

// individual reports whether an attribute is likely no other object's: byte strings are, but for those that name a domain,
// and what counts.
func individual(a pkcs11.Attribute) bool {
	switch a.Type {
	case pkcs11.CKA_HSS_KEYS_REMAINING:
		return true
	case pkcs11.CKA_EC_PARAMS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIME, pkcs11.CKA_BASE, pkcs11.CKA_SUBPRIME:
		return false
	}
	b, ok := a.Value.([]byte)
	return ok && len(b) > 0
}

// share returns the part that is remembered in the place of an equal one.
func (p *Pool) share(part pkcs11.Template) (pkcs11.Template, error) {
	key, err := Marshal(part)
	if err != nil {
		return nil, err
	}
	if known, ok := p.shared[string(key)]; ok {
		return known, nil
	}
	if p.shared == nil || len(p.shared) == mostShared {
		p.shared = map[string]pkcs11.Template{}
	}
	p.shared[string(key)] = part
	return part, nil
}
