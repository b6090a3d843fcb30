package wire

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// FromTemplate returns the message for t; nil for nil.
func FromTemplate(t pkcs11.Template) *Template {
	if t == nil {
		return nil
	}
	m := &Template{Attributes: make([]*Attribute, len(t))}
	for i, a := range t {
		m.Attributes[i] = FromAttribute(a)
	}
	return m
}

// FromAttribute returns the message for a. A value of a Go type that no attribute has becomes none, which the far side
// refuses.
func FromAttribute(a pkcs11.Attribute) *Attribute {
	m := &Attribute{Type: uint64(a.Type)}
	switch v := a.Value.(type) {
	case bool:
		m.Value = &Attribute_Bool{v}
	case uint:
		m.Value = &Attribute_Number{uint64(v)}
	case []byte:
		m.Value = &Attribute_Bytes{v}
	case []pkcs11.MechanismType:
		m.Value = &Attribute_Mechanisms{&Numbers{List: convert[uint64](v)}}
	case []uint:
		m.Value = &Attribute_Numbers{&Numbers{List: convert[uint64](v)}}
	case pkcs11.Template:
		inner := FromTemplate(v)
		if inner == nil {
			inner = &Template{}
		}
		m.Value = &Attribute_Template{inner}
	}
	return m
}

// ToTemplate returns the template, in the same order; nil for nil. An attribute that nobody knows is
// CKR_ATTRIBUTE_TYPE_INVALID, a value of another form than its attribute has, or one that is nested deeper than MaxDepth
// or larger than MaxAttributes and MaxNumbers allow, CKR_ATTRIBUTE_VALUE_INVALID. An attribute without a value stays one.
func (m *Template) ToTemplate() (pkcs11.Template, error) { return (&reader{}).template(m, 1) }

// Known is ToTemplate without the attributes that nobody knows here: for what a node of a later version tells.
func (m *Template) Known() (pkcs11.Template, error) { return (&reader{lenient: true}).template(m, 1) }

// ToAttribute returns one attribute. The errors are ToTemplate's.
func ToAttribute(m *Attribute) (pkcs11.Attribute, error) { return (&reader{}).attribute(m, 1) }

// reader counts what it has read of one template.
type reader struct {
	lenient    bool // leave out what nobody knows
	attributes int
}

func (r *reader) template(m *Template, depth int) (pkcs11.Template, error) {
	if m == nil {
		return nil, nil
	}
	if depth > MaxDepth {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "templates nest deeper than %d", MaxDepth)
	}
	r.attributes += len(m.Attributes)
	if r.attributes > MaxAttributes {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%d attributes, at most %d are taken", r.attributes, MaxAttributes)
	}
	t := make(pkcs11.Template, 0, len(m.Attributes))
	for _, in := range m.Attributes {
		if r.lenient {
			if _, known := pkcs11.AttributeType(in.GetType()).Kind(); !known {
				continue
			}
		}
		a, err := r.attribute(in, depth)
		if err != nil {
			return nil, err
		}
		t = append(t, a)
	}
	return t, nil
}

func (r *reader) attribute(m *Attribute, depth int) (a pkcs11.Attribute, err error) {
	number, ok := toUint(m.GetType())
	if !ok {
		return a, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute %#x", m.GetType())
	}
	a.Type = pkcs11.AttributeType(number)
	if _, known := a.Type.Kind(); !known {
		return a, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute %#x", number)
	}
	switch v := m.GetValue().(type) {
	case nil:
		// A kind of value that only later versions have is left among the unknown fields.
		if m != nil && len(m.ProtoReflect().GetUnknown()) > 0 {
			return a, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: a value of an unknown kind", a.Type)
		}
		return a, nil
	case *Attribute_Bool:
		a.Value = v.Bool
	case *Attribute_Number:
		n, ok := toUint(v.Number)
		if !ok {
			return a, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %#x is larger than a CK_ULONG", a.Type, v.Number)
		}
		a.Value = n
	case *Attribute_Bytes:
		b := v.Bytes
		if b == nil {
			b = []byte{}
		}
		a.Value = b
	case *Attribute_Mechanisms:
		a.Value, err = toList[pkcs11.MechanismType](a.Type, v.Mechanisms)
	case *Attribute_Numbers:
		a.Value, err = toList[uint](a.Type, v.Numbers)
	case *Attribute_Template:
		var t pkcs11.Template
		if t, err = r.template(v.Template, depth+1); t == nil {
			t = pkcs11.Template{}
		}
		a.Value = t
	}
	if err == nil {
		err = pkcs11.CheckValue(a.Type, a.Value)
	}
	if err != nil {
		a.Value = nil
	}
	return a, err
}

// toUint refuses numbers that a CK_ULONG of this machine cannot hold.
func toUint(n uint64) (uint, bool) { return uint(n), uint64(uint(n)) == n }

func toList[N ~uint](t pkcs11.AttributeType, m *Numbers) ([]N, error) {
	list := m.GetList()
	if len(list) > MaxNumbers {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %d numbers, at most %d are taken", t, len(list), MaxNumbers)
	}
	for _, n := range list {
		if _, ok := toUint(n); !ok {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%v: %#x is larger than a CK_ULONG", t, n)
		}
	}
	return convert[N](list), nil
}

func convert[To, From ~uint | ~uint64](list []From) []To {
	out := make([]To, len(list))
	for i, n := range list {
		out[i] = To(n)
	}
	return out
}
