package main

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	attributeSize = 3 * ulongSize // CK_ATTRIBUTE: type, pValue, ulValueLen
	lengthOffset  = 2 * ulongSize // of ulValueLen
	maxAttributes = 1024          // in one template, and in all that are inside of it; the standard has fewer than 200
	maxDepth      = 4             // as package object has it
)

// attribute is CK_ATTRIBUTE.
type attribute struct {
	typ    pkcs11.AttributeType
	value  uintptr
	length uintptr
}

// attributes copies an array of CK_ATTRIBUTE.
func (c *call) attributes(p, n uintptr) ([]attribute, error) {
	if n > maxAttributes {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d attributes", n)
	}
	b, err := c.take(p, n*attributeSize)
	if err != nil {
		return nil, err
	}
	list := c.attrs.take(int(n))
	for i := range list {
		at := (*[attributeSize]byte)(b[i*attributeSize:])
		list[i] = attribute{
			typ:    pkcs11.AttributeType(ulongAt(at[:])).Normalize(),
			value:  uintptr(ulongAt(at[ulongSize:])),
			length: uintptr(ulongAt(at[lengthOffset:])),
		}
	}
	return list, nil
}

// template decodes a template argument. An attribute that nobody knows is an error here, for its value has no type.
func (c *call) template(p, n uintptr) pkcs11.Template {
	list, err := c.attributes(p, n)
	if err == nil {
		var t pkcs11.Template
		if t, err = c.values(list, 1); err == nil {
			return t
		}
	}
	c.fail(err)
	return nil
}

// values decodes the values of a list of attributes.
func (c *call) values(list []attribute, depth int) (t pkcs11.Template, err error) {
	var r reader
	defer r.caught(&err)
	if depth == 1 {
		t = c.pairs.take(len(list))
	} else {
		t = make(pkcs11.Template, len(list)) // a value, of which the machine may keep all that is no bytes
	}
	for i := range list {
		a := &list[i]
		v, err := c.value(&r, a, depth)
		if err != nil {
			return nil, err
		}
		t[i] = pkcs11.Attribute{Type: a.typ, Value: v}
	}
	return t, nil
}

// errValue says whose value cannot be read.
func errValue(t pkcs11.AttributeType, err error) error {
	return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %w", t, err)
}

// value decodes one value by the attribute's kind.
func (c *call) value(r *reader, a *attribute, depth int) (any, error) {
	kind, known := a.typ.Kind()
	if !known {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute %#x", uint(a.typ))
	}
	if kind == pkcs11.KindTemplate {
		return c.nested(a, depth)
	}
	b := []byte{}
	if a.length > 0 {
		if err := c.present(a.value, a.length); err != nil {
			return nil, errValue(a.typ, err)
		}
		b, r.of = c.room(int(a.length)), a.typ
		if err := r.read(b, a.value); err != nil {
			return nil, errValue(a.typ, err)
		}
	}
	fits := true
	switch kind {
	case pkcs11.KindBool:
		if fits = len(b) == 1; fits {
			return b[0] != 0, nil
		}
	case pkcs11.KindUlong:
		if fits = len(b) == ulongSize; fits {
			return ulongAt(b), nil
		}
	case pkcs11.KindDate:
		return b, pkcs11.CheckValue(a.typ, b)
	case pkcs11.KindMechanisms:
		if fits = len(b)%ulongSize == 0; fits {
			return ulongs[pkcs11.MechanismType](b), nil
		}
	case pkcs11.KindUlongs:
		if fits = len(b)%ulongSize == 0; fits {
			return ulongs[uint](b), nil
		}
	}
	if !fits {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %d bytes", a.typ, len(b))
	}
	return b, nil
}

// nested decodes a template that is the value of an attribute.
func (c *call) nested(a *attribute, depth int) (any, error) {
	if a.length%attributeSize != 0 || depth >= maxDepth {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %d bytes at depth %d", a.typ, a.length, depth)
	}
	// Templates may lie in the same memory again and again, so that what is at depth 4 were a number without bound.
	n := a.length / attributeSize
	if n > maxAttributes-c.inner {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: more than %d attributes inside of others", a.typ, maxAttributes)
	}
	c.inner += n
	list, err := c.attributes(a.value, n)
	if err != nil {
		return nil, errValue(a.typ, err)
	}
	t, err := c.values(list, depth+1)
	return t, err
}

// ulongs decodes an array of CK_ULONG.
func ulongs[N ~uint](b []byte) []N {
	list := make([]N, len(b)/ulongSize)
	for i := range list {
		list[i] = N(ulongAt(b[i*ulongSize:]))
	}
	return list
}
