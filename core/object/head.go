package object

import (
	"math/bits"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// head is what is decided of an object: the attributes that are not secret. Most of them say yes or no, and take two bits.
type head struct {
	policy *policy
	has    rowSet          // the attributes that are there
	on     rowSet          // the boolean ones among them that are true
	values pkcs11.Template // the others, in ascending order of type
}

// headOf returns the attributes of t, in memory of its own. All of them have a row.
func headOf(p *policy, t pkcs11.Template) head {
	h := head{policy: p}
	n := 0
	for _, a := range t {
		if _, flag := a.Value.(bool); !flag && a.Type != pkcs11.CKA_UNIQUE_ID {
			n++
		}
	}
	h.values = make(pkcs11.Template, 0, n)
	for _, a := range t {
		if a.Type != pkcs11.CKA_UNIQUE_ID {
			h.set(a.Type, a.Value)
		}
	}
	return h
}

// set decides an attribute that has a row, anew if it was there. The value becomes the head's own.
func (h *head) set(t pkcs11.AttributeType, v any) {
	i, _ := h.policy.place(t)
	row := rowSet(1) << i
	if on, flag := v.(bool); flag {
		h.has |= row
		if h.on &^= row; on {
			h.on |= row
		}
		return
	}
	at := len(h.values)
	for at > 0 && h.values[at-1].Type >= t {
		at--
	}
	if h.has&row == 0 {
		h.has |= row
		h.values = append(h.values, pkcs11.Attribute{})
		copy(h.values[at+1:], h.values[at:])
	}
	h.values[at] = pkcs11.Attribute{Type: t, Value: v}
}

// drop takes an attribute out that is no boolean.
func (h *head) drop(t pkcs11.AttributeType) {
	i, known := h.policy.place(t)
	if !known || h.has>>i&1 == 0 {
		return
	}
	h.has &^= 1 << i
	kept := h.values[:0]
	for _, a := range h.values {
		if a.Type != t {
			kept = append(kept, a)
		}
	}
	h.values = kept
}

// Get returns an attribute.
func (h *head) Get(t pkcs11.AttributeType) (any, bool) {
	i, known := h.policy.place(t)
	switch {
	case !known || h.has>>i&1 == 0:
		return nil, false
	case h.policy.flags>>i&1 != 0:
		return h.on>>i&1 != 0, true
	}
	return lookUp(h.values, t)
}

// Has reports whether an attribute is there.
func (h *head) Has(t pkcs11.AttributeType) bool {
	i, known := h.policy.place(t)
	return known && h.has>>i&1 != 0
}

// isOn reports whether a boolean attribute is there and true.
func (h *head) isOn(t pkcs11.AttributeType) bool {
	i, known := h.policy.place(t)
	return known && h.on>>i&1 != 0
}

// Uint returns a numeric attribute; ok is false where it is missing.
func (h *head) Uint(t pkcs11.AttributeType) (n uint, ok bool) {
	v, _ := h.Get(t)
	n, ok = v.(uint)
	return n, ok
}

// Bytes returns a byte-string attribute, nil where it is missing.
func (h *head) Bytes(t pkcs11.AttributeType) []byte {
	v, _ := h.Get(t)
	b, _ := v.([]byte)
	return b
}

// attributes returns them as a list, which is in no order. The values are the head's.
func (h *head) attributes() pkcs11.Template {
	const more = 16 // what an Object adds
	t := make(pkcs11.Template, 0, bits.OnesCount64(uint64(h.has))+more)
	for i := range (h.has & h.policy.flags).rows() {
		t = append(t, pkcs11.Attribute{Type: h.policy.rows[i].attr, Value: h.on>>i&1 != 0})
	}
	return append(t, h.values...)
}

// lookUp finds an attribute in a list in ascending order of type.
func lookUp(list pkcs11.Template, t pkcs11.AttributeType) (any, bool) {
	low, high := 0, len(list)
	for low < high { // slices.BinarySearchFunc without its calls
		mid := int(uint(low+high) / 2)
		if list[mid].Type < t {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(list) || list[low].Type != t {
		return nil, false
	}
	return list[low].Value, true
}
