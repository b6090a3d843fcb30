package conformance

import (
	"encoding/binary"

	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// cAttribute is a CK_ATTRIBUTE whose value is being fetched: first its length, then, of a template, the types and lengths
// inside, and so on until there is memory for all.
type cAttribute struct {
	t      ck.AttributeType
	length uint
	value  []byte
	inner  []*cAttribute
}

const unavailable = ^uint(0) // CK_UNAVAILABLE_INFORMATION

func (a *cAttribute) template() bool {
	kind, _ := a.t.Normalize().Kind()
	return kind == ck.KindTemplate
}

// encode writes attributes as they are known now, and returns what reads the answer out of that memory.
func encode(c *cCall, list []*cAttribute) (array []byte, decode func()) {
	s := c.layout()
	var inner []func()
	for _, a := range list {
		b := a.value
		if a.inner != nil {
			var d func()
			b, d = encode(c, a.inner)
			inner = append(inner, d)
		}
		s.ulong(uint(a.t)).pointer(b).ulong(uint(len(b)))
	}
	return s.b, func() {
		for i, a := range list {
			at := s.b[3*ulong*i:]
			a.t = ck.AttributeType(binary.NativeEndian.Uint64(at))
			a.length = uint(binary.NativeEndian.Uint64(at[2*ulong:]))
		}
		for _, d := range inner {
			d()
		}
	}
}

// grow makes room for what is known to be there; false if there was room for all.
func (a *cAttribute) grow() (grown bool) {
	switch {
	case a.length == unavailable || a.length == 0:
		return false
	case !a.template():
		grown = a.value == nil
		if grown {
			a.value = make([]byte, a.length)
		}
		return grown
	case a.inner == nil:
		for range a.length / (3 * ulong) {
			a.inner = append(a.inner, &cAttribute{})
		}
		return true
	}
	for _, i := range a.inner {
		grown = i.grow() || grown
	}
	return grown
}

func (a *cAttribute) decoded() any {
	if !a.template() {
		return goValue(a.t, a.value)
	}
	t := T{}
	for _, i := range a.inner {
		t = append(t, ck.Attribute{Type: i.t, Value: i.decoded()})
	}
	return t
}

// fetch asks until all that can be had is there.
func (m *cModule) fetch(h session, o handle, list []*cAttribute) error {
	for {
		c := m.in(h, "C_GetAttributeValue").word(uint(o))
		array, decode := encode(c, list)
		err := c.at(array).word(uint(len(list))).do()
		switch ck.RVOf(err) {
		case ck.CKR_OK, ck.CKR_ATTRIBUTE_SENSITIVE, ck.CKR_ATTRIBUTE_TYPE_INVALID:
			decode()
		default:
			return err
		}
		again := false
		for _, a := range list {
			again = a.grow() || again
		}
		if !again {
			return err
		}
	}
}

// GetAttributeValue asks for all at once, and for each that has no answer alone: why there is none is the return value's to
// say.
func (m *cModule) GetAttributeValue(h session, o handle, types []ck.AttributeType) ([]hsm.Value, error) {
	list := make([]*cAttribute, len(types))
	for i, t := range types {
		list[i] = &cAttribute{t: t}
	}
	err := m.fetch(h, o, list)
	rv := ck.RVOf(err)
	if rv != ck.CKR_OK && rv != ck.CKR_ATTRIBUTE_SENSITIVE && rv != ck.CKR_ATTRIBUTE_TYPE_INVALID {
		return nil, err
	}
	values, missing := make([]hsm.Value, len(types)), 0
	for i, a := range list {
		if a.length != unavailable {
			values[i].Value = a.decoded()
			continue
		}
		missing++
		if values[i].Err = rv; len(types) > 1 {
			values[i].Err = m.fetch(h, o, []*cAttribute{{t: types[i]}})
		}
	}
	if (rv == ck.CKR_OK) != (missing == 0) {
		return nil, ck.Errorf(ck.CKR_GENERAL_ERROR, "%v, and %d of %d values are missing", rv, missing, len(types))
	}
	return values, nil
}
