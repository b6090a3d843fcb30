package object

import (
	"math/bits"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// head is what is decided of an object: the attributes that are not secret. Most of them say yes or no, and take two bits.
type head struct {
	policy *policy
	has    rowSet // the attributes that are there
	on     rowSet // the boolean ones among them that are true
	values []any  // of the others: each has a place of its own (policy.slots)
}

// headOf returns the attributes of t, in memory of its own. All of them have a row.
func headOf(p *policy, t pkcs11.Template) head {
	h := head{policy: p, values: make([]any, len(p.valued))}
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
	h.put(i, v)
}

// put is set for who knows the row.
func (h *head) put(i uint, v any) {
	row := rowSet(1) << i
	h.has |= row
	if h.policy.flags&row == 0 {
		h.values[h.policy.slots[i]] = v
		return
	}
	h.on &^= row
	if on, _ := v.(bool); on {
		h.on |= row
	}
}

// drop takes the attribute of a row out, which is no boolean.
func (h *head) drop(i int) {
	h.has &^= 1 << i
	h.values[h.policy.slots[i]] = nil
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
	return h.values[h.policy.slots[i]], true
}

// holds reports whether an attribute is there. An Object has more than its head holds: CKA_UNIQUE_ID.
func (h *head) holds(t pkcs11.AttributeType) bool {
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

// attributes returns them as a list in ascending order of type, with room for more. The values are the head's.
func (h *head) attributes(more int) pkcs11.Template {
	t := make(pkcs11.Template, 0, bits.OnesCount64(uint64(h.has))+more)
	for i := range h.has.rows() {
		a := pkcs11.Attribute{Type: h.policy.rows[i].attr}
		if a.Value, _ = h.Get(a.Type); a.Value != nil {
			t = append(t, a)
		}
	}
	return t
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
