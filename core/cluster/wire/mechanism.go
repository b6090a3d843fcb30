package wire

import (
	"bytes"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// layout is one kind of parameter: the name that Mechanism.kind has for it, and how to read it.
type layout struct {
	name string
	read func([]byte) (any, error)
}

// FromMechanism returns the message for m. CKR_MECHANISM_PARAM_INVALID if its parameter is of a Go type that no mechanism
// takes. Whether it is the one that this mechanism takes is for the far side to say.
func FromMechanism(m pkcs11.Mechanism) (*Mechanism, error) {
	out := &Mechanism{Type: uint64(m.Type)}
	kind := pkcs11.ParamNone
	switch p := m.Params.(type) {
	case nil:
		return out, nil
	case pkcs11.IV:
		kind, out.Parameter = pkcs11.ParamIV, bytes.Clone(p)
	case pkcs11.MACGeneralParams:
		kind, out.Parameter = pkcs11.ParamUlong, putNumber(nil, 1, p)
	case pkcs11.Handle:
		kind, out.Parameter = pkcs11.ParamHandle, putNumber(nil, 1, p)
	default:
		var known bool
		if kind, out.Parameter, known = putParams(p); !known {
			return nil, invalid("%v: a parameter of Go type %T", m.Type, p)
		}
	}
	out.Kind = layouts[kind].name
	return out, nil
}

// ToMechanism returns the mechanism with its parameter. CKR_MECHANISM_INVALID for one that nobody knows and that yet has a
// parameter; CKR_MECHANISM_PARAM_INVALID for a parameter that is not laid out as this mechanism takes it, or is missing
// where it must be there; ToTemplate's errors for a template inside a parameter.
func ToMechanism(m *Mechanism) (pkcs11.Mechanism, error) {
	number, ok := toUint(m.GetType())
	if m == nil || !ok {
		return pkcs11.Mechanism{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "mechanism %#x", m.GetType())
	}
	out := pkcs11.Mechanism{Type: pkcs11.MechanismType(number)}
	kind := out.Type.ParamKind()
	switch {
	case m.Kind == "" && len(m.Parameter) > 0:
		return pkcs11.Mechanism{}, invalid("%v: %d bytes of no kind", out.Type, len(m.Parameter))
	case m.Kind == "" && (kind == pkcs11.ParamUnknown || kind == pkcs11.ParamNone || out.Type.ParamOptional()):
		return out, nil
	case m.Kind == "":
		return pkcs11.Mechanism{}, invalid("%v: the parameter is missing", out.Type)
	case kind == pkcs11.ParamUnknown:
		return pkcs11.Mechanism{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "%v is not known, nor its parameter %.32q", out.Type, m.Kind)
	case kind == pkcs11.ParamNone:
		return pkcs11.Mechanism{}, invalid("%v takes no parameter, %.32q given", out.Type, m.Kind)
	case m.Kind != layouts[kind].name:
		return pkcs11.Mechanism{}, invalid("%v: parameter %.32q, %q expected", out.Type, m.Kind, layouts[kind].name)
	}
	if want := out.Type.IVLen(); kind == pkcs11.ParamIV && want != 0 && len(m.Parameter) != want {
		return pkcs11.Mechanism{}, invalid("%v: %d bytes, %d expected", out.Type, len(m.Parameter), want)
	}
	params, err := layouts[kind].read(m.Parameter)
	if err != nil {
		return pkcs11.Mechanism{}, pkcs11.Errorf(pkcs11.RVOf(err), "%v: %w", out.Type, err)
	}
	out.Params = params
	return out, nil
}
