package object

import (
	"bytes"
	"reflect"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// mostShared is how many parts a Pool remembers. Tokens have a handful; who gives each key a template of its own gains
// nothing by sharing, and shall not lose by what is remembered for nobody.
const mostShared = 1024

// Pool loads objects and lets those that are alike share the values that they have in common, so that
// a hundred thousand heads take a quarter of the memory. The zero value is ready. It is for one goroutine at a time; the
// objects are for any.
type Pool struct {
	shared map[string]pkcs11.Template // by their encoding
	last   pkcs11.Template            // the one that was shared last: keys that are alike come one after the other
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
	own, rest := 0, p.last
	for _, a := range o.values {
		switch {
		case individual(a):
			own++
		case len(rest) > 0 && rest[0].Type == a.Type && identical(rest[0].Value, a.Value):
			rest = rest[1:]
		}
	}
	all := o.values
	o.values = chosen(all, own, individual)
	if o.common = p.last; len(rest) > 0 || own+len(p.last) != len(all) {
		o.common, err = p.share(chosen(all, len(all)-own, func(a pkcs11.Attribute) bool { return !individual(a) }))
		p.last = o.common
	}
	return o, err
}

// chosen returns the n attributes that which is true of, in memory of their own.
func chosen(all pkcs11.Template, n int, which func(pkcs11.Attribute) bool) pkcs11.Template {
	out := make(pkcs11.Template, 0, n)
	for _, a := range all {
		if which(a) {
			out = append(out, a)
		}
	}
	return out
}

// identical reports whether two values are the same to the order of their lists.
func identical(a, b any) bool {
	switch a := a.(type) {
	case bool, uint:
		return a == b
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	}
	return reflect.DeepEqual(a, b)
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
