package pkcs11

import (
	"bytes"
	"fmt"
	"slices"
)

// Attribute is one attribute with its typed value. Value holds, by the attribute's Kind:
//
//	KindBool        bool
//	KindUlong       uint
//	KindBytes       []byte
//	KindString      []byte, UTF-8 without a terminating zero
//	KindBigInt      []byte, big-endian, unsigned
//	KindDate        []byte, eight ASCII digits YYYYMMDD, or empty
//	KindMechanisms  []MechanismType
//	KindTemplate    Template
//	KindUlongs      []uint
//
// A nil Value in a request for values means "tell me".
type Attribute struct {
	Type  AttributeType
	Value any
}

// Template is a list of attributes, in the caller's order.
type Template []Attribute

// integer is what the typed numbers of the standard are made of.
type integer interface {
	~uint | ~int
}

// Attr returns an attribute whose value is a bool, a byte slice, a list or a template.
func Attr[V bool | []byte | []MechanismType | []uint | Template](t AttributeType, v V) Attribute {
	return Attribute{t, v}
}

// AttrUlong returns an attribute whose value is a number: a class, a key type, a length.
func AttrUlong[N integer](t AttributeType, n N) Attribute { return Attribute{t, uint(n)} }

// AttrString returns an attribute whose value is text, such as CKA_LABEL.
func AttrString(t AttributeType, s string) Attribute { return Attribute{t, []byte(s)} }

// Get returns the value of the first attribute of type t.
func (tm Template) Get(t AttributeType) (any, bool) {
	for i := range tm {
		if tm[i].Type == t {
			return tm[i].Value, true
		}
	}
	return nil, false
}

// Has reports whether the template names t.
func (tm Template) Has(t AttributeType) bool {
	_, ok := tm.Get(t)
	return ok
}

// Bool returns a boolean attribute; ok is false where it is missing.
func (tm Template) Bool(t AttributeType) (v, ok bool) {
	x, _ := tm.Get(t)
	v, ok = x.(bool)
	return v, ok
}

// Uint returns a numeric attribute; ok is false where it is missing.
func (tm Template) Uint(t AttributeType) (v uint, ok bool) {
	x, _ := tm.Get(t)
	v, ok = x.(uint)
	return v, ok
}

// Bytes returns a byte-string attribute, nil where it is missing. The slice is the template's own.
func (tm Template) Bytes(t AttributeType) []byte {
	x, _ := tm.Get(t)
	b, _ := x.([]byte)
	return b
}

// Set replaces the value of t, or appends it.
func (tm Template) Set(t AttributeType, v any) Template {
	for i := range tm {
		if tm[i].Type == t {
			tm[i].Value = v
			return tm
		}
	}
	return append(tm, Attribute{t, v})
}

// Clone returns a deep copy.
func (tm Template) Clone() Template {
	if tm == nil {
		return nil
	}
	out := make(Template, len(tm))
	for i, a := range tm {
		out[i] = Attribute{a.Type, CloneValue(a.Value)}
	}
	return out
}

// noBytes is the copy of all that is empty.
var noBytes any = []byte{}

// CloneValue returns a deep copy of an attribute's value.
func CloneValue(v any) any {
	switch v := v.(type) {
	case bool, uint:
		return v
	case []byte:
		if len(v) == 0 {
			return noBytes
		}
		return append([]byte{}, v...)
	case []MechanismType:
		return append([]MechanismType{}, v...)
	case []uint:
		return append([]uint{}, v...)
	case Template:
		return v.Clone()
	}
	return v
}

// EqualValue reports whether two attribute values are the same. Mechanism lists and templates are sets: their order
// does not count. It is not constant in time and must not see secret values.
func EqualValue(a, b any) bool {
	switch a := a.(type) {
	case bool, uint:
		return a == b
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case []MechanismType:
		b, ok := b.([]MechanismType)
		if !ok || len(a) != len(b) {
			return false
		}
		a, b = slices.Clone(a), slices.Clone(b)
		slices.Sort(a)
		slices.Sort(b)
		return slices.Equal(a, b)
	case []uint:
		b, ok := b.([]uint)
		return ok && slices.Equal(a, b)
	case Template:
		b, ok := b.(Template)
		if !ok || len(a) != len(b) {
			return false
		}
		for _, x := range a {
			y, ok := b.Get(x.Type)
			if !ok || !EqualValue(x.Value, y) {
				return false
			}
		}
		return true
	}
	return false
}

// CheckValue reports whether v has the Go type that attribute t holds; CKR_ATTRIBUTE_TYPE_INVALID for an unknown
// attribute and CKR_ATTRIBUTE_VALUE_INVALID for a value of another type or form.
func CheckValue(t AttributeType, v any) error {
	kind, known := t.Kind()
	if !known {
		return Errorf(CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute %#x", uint(t))
	}
	ok := false
	switch kind {
	case KindBool:
		_, ok = v.(bool)
	case KindUlong:
		_, ok = v.(uint)
	case KindMechanisms:
		_, ok = v.([]MechanismType)
	case KindUlongs:
		_, ok = v.([]uint)
	case KindTemplate:
		_, ok = v.(Template)
	case KindDate:
		var b []byte
		b, ok = v.([]byte)
		ok = ok && isDate(b)
	default:
		_, ok = v.([]byte)
	}
	if !ok {
		return Errorf(CKR_ATTRIBUTE_VALUE_INVALID, "%v: a value of Go type %T does not fit", t, v)
	}
	return nil
}

// isDate reports whether b is empty (no date) or YYYYMMDD in ASCII digits (CK_DATE) with a month and a day in range.
func isDate(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if len(b) != 8 {
		return false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	month, day := (b[4]-'0')*10+b[5]-'0', (b[6]-'0')*10+b[7]-'0'
	return month >= 1 && month <= 12 && day >= 1 && day <= 31
}

// Format prints types only: a template may carry a key.
func (tm Template) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, "[")
	for i, a := range tm {
		if i > 0 {
			fmt.Fprint(f, " ")
		}
		fmt.Fprint(f, a.Type)
	}
	fmt.Fprint(f, "]")
}

// Format prints the type only: a value may be a key.
func (a Attribute) Format(f fmt.State, _ rune) { fmt.Fprint(f, a.Type) }
