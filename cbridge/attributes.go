package main

import (
	"fmt"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// wanted decodes the template of C_GetAttributeValue, of which only the types and the places for values matter.
func (c *call) wanted(p, n uintptr) ([]attribute, []pkcs11.AttributeType, []hsm.Value) {
	list, err := c.attributes(p, n)
	c.fail(err)
	types := c.types.take(len(list))
	for i, a := range list {
		types[i] = a.typ
	}
	return list, types, c.answer.take(len(list))
}

// give writes the values that C_GetAttributeValue has found into the template at p. An attribute without an answer gets
// CK_UNAVAILABLE_INFORMATION for its length and the others are still filled; the first trouble is the function's answer.
// PKCS#11 v3.2, C_GetAttributeValue.
func (c *call) give(p uintptr, list []attribute, values []hsm.Value) {
	if c.err != nil {
		return
	}
	for i, a := range list {
		at := p + uintptr(i)*attributeSize
		if err := values[i].Err; err != nil {
			c.length(at, pkcs11.CK_UNAVAILABLE_INFORMATION)
			c.fail(err)
			continue
		}
		c.giveOne(at, a, values[i].Value, values[i].Shared)
	}
}

// length writes ulValueLen of the CK_ATTRIBUTE at p.
func (c *call) length(at uintptr, n uint) { c.fail(writeUlong(at+lengthOffset, n)) }

// giveOne writes one value under the size rule into the CK_ATTRIBUTE at at. What is shared is the machine's, else it is ours to
// wipe.
func (c *call) giveOne(at uintptr, a attribute, value any, shared bool) {
	t, isTemplate := value.(pkcs11.Template)
	var b []byte
	n := len(t) * attributeSize
	if !isTemplate {
		b = c.encode(value)
		n = len(b)
		if !shared {
			defer clear(b)
		}
	}
	switch {
	case a.value == 0:
		c.length(at, uint(n))
	case a.length < uintptr(n):
		c.length(at, pkcs11.CK_UNAVAILABLE_INFORMATION)
		c.fail(pkcs11.CKR_BUFFER_TOO_SMALL)
	case isTemplate:
		c.giveTemplate(a.value, t, shared)
		c.length(at, uint(n))
	default:
		c.fail(writeCounted(a.value, b, at+lengthOffset, uint(n)))
	}
}

// giveTemplate writes a template into the array of CK_ATTRIBUTE at p, whose elements the caller has prepared: with NULL
// for pValue to learn the lengths, or with places for the values.
func (c *call) giveTemplate(p uintptr, t pkcs11.Template, shared bool) {
	places, err := c.attributes(p, uintptr(len(t)))
	if err != nil {
		c.fail(err)
		return
	}
	for i, a := range t {
		at := p + uintptr(i)*attributeSize
		c.fail(writeUlong(at, uint(a.Type)))
		c.giveOne(at, places[i], a.Value, shared)
	}
}

// encode gives a value its C form. The result may be the value itself: what the machine has returned is the call's to
// wipe.
func (c *call) encode(value any) []byte {
	switch v := value.(type) {
	case bool:
		b := c.room(1)
		b[0] = 0
		if v {
			b[0] = 1
		}
		return b
	case uint:
		return appendUlong(c.room(ulongSize)[:0], v)
	case []byte:
		return v
	case []pkcs11.MechanismType:
		return putAll(c.room(ulongSize*len(v)), v)
	case []uint:
		return putAll(c.room(ulongSize*len(v)), v)
	}
	panic(fmt.Sprintf("no attribute has values of type %T", value))
}

// putAll encodes numbers into b, which they fill.
func putAll[N ~uint](b []byte, values []N) []byte {
	to := b[:0]
	for _, v := range values {
		to = appendUlong(to, uint(v))
	}
	return b
}
