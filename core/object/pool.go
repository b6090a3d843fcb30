package object

import (
	"bytes"
	"reflect"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// mostShared is how many parts a Pool remembers. Tokens have a handful; who gives each key a template of its own gains
// nothing by sharing, and shall not lose by what is remembered for nobody.
const mostShared = 1024

// Pool loads objects and lets those that are alike share the values that they have in common, so that a hundred thousand heads
// take half of the memory. The zero value is ready. It is for one goroutine at a time; the objects are for any.
type Pool struct {
	shared map[string][]any // by the encoding of their attributes
	last   head             // what was shared last: keys that are alike come one after the other
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
	own, alike := 0, p.last.policy == o.policy
	for i, v := range o.values {
		if individual(o.policy.valued[i], v) {
			own, v = own+1, nil
		}
		alike = alike && identical(v, p.last.values[i])
	}
	o.own = make(pkcs11.Template, 0, own)
	for i, v := range o.values {
		if t := o.policy.valued[i]; individual(t, v) {
			o.own = append(o.own, pkcs11.Attribute{Type: t, Value: v})
			o.values[i] = nil
		}
	}
	if !alike {
		p.last = o.head
		if p.last.values, err = p.share(o.head); err != nil {
			return nil, err
		}
	}
	o.values = p.last.values
	return o, nil
}

// identical reports whether two values are the same to the order of their lists.
func identical(a, b any) bool {
	switch a := a.(type) {
	case nil, uint:
		return a == b
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	}
	return reflect.DeepEqual(a, b)
}

// individual reports whether an attribute is likely no other object's: byte strings are, but for those that name a domain,
// and what counts.
func individual(t pkcs11.AttributeType, v any) bool {
	switch t {
	case pkcs11.CKA_HSS_KEYS_REMAINING:
		return v != nil
	case pkcs11.CKA_EC_PARAMS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIME, pkcs11.CKA_BASE, pkcs11.CKA_SUBPRIME:
		return false
	}
	b, ok := v.([]byte)
	return ok && len(b) > 0
}

// share returns the values that are remembered in the place of equal ones.
func (p *Pool) share(h head) ([]any, error) {
	h.has &^= h.policy.flags // bits are not shared
	key, err := Marshal(h.attributes(0))
	if err != nil {
		return nil, err
	}
	if known, ok := p.shared[string(key)]; ok {
		return known, nil
	}
	if p.shared == nil || len(p.shared) == mostShared {
		p.shared = map[string][]any{}
	}
	p.shared[string(key)] = h.values
	return h.values, nil
}
