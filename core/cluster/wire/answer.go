package wire

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// FromValues returns the message for what GetAttributes has found of types; values has as many elements. Of an error
// only the return value is sent.
func FromValues(types []pkcs11.AttributeType, values []hsm.Value) *Values {
	m := &Values{Values: make([]*Value, len(values))}
	for i, v := range values {
		if v.Err != nil {
			m.Values[i] = &Value{Attribute: &Attribute{Type: uint64(types[i])}, Rv: uint64(pkcs11.RVOf(v.Err))}
		} else {
			m.Values[i] = &Value{Attribute: FromAttribute(pkcs11.Attribute{Type: types[i], Value: v.Value})}
		}
	}
	return m
}

// ToValues returns the answers for types, in their order. A message that answers another question is CKR_DEVICE_ERROR;
// a value that does not fit its attribute is the error of that value alone.
func ToValues(types []pkcs11.AttributeType, m *Values) ([]hsm.Value, error) {
	list := m.GetValues()
	if len(list) != len(types) {
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered for %d attributes, %d were asked for", len(list), len(types))
	}
	values := make([]hsm.Value, len(list))
	for i, v := range list {
		if got := v.GetAttribute().GetType(); got != uint64(types[i]) {
			return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered for attribute %#x, %v was asked for", got, types[i])
		}
		if v.GetRv() != 0 {
			values[i].Err = toRV(v.GetRv())
			continue
		}
		a, err := ToAttribute(v.GetAttribute())
		if err == nil && a.Value == nil {
			err = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered nothing for %v", types[i])
		}
		values[i] = hsm.Value{Value: a.Value, Err: err}
	}
	return values, nil
}

// FromTypes and ToTypes are for the attribute types that GetAttributes asks for. A type that nobody knows passes: the
// answer says so. More than MaxAttributes are CKR_ARGUMENTS_BAD.
func FromTypes(types []pkcs11.AttributeType) []uint64 { return convert[uint64](types) }

// ToTypes is the inverse of FromTypes.
func ToTypes(list []uint64) ([]pkcs11.AttributeType, error) {
	if len(list) > MaxAttributes {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d attributes, at most %d are taken", len(list), MaxAttributes)
	}
	if slices.ContainsFunc(list, func(n uint64) bool { _, ok := toUint(n); return !ok }) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, "a type is larger than a CK_ULONG")
	}
	return convert[pkcs11.AttributeType](list), nil
}

// FromInfo returns the message for what a token says of itself. Counts of sessions and sizes of memory are left out:
// they are the near side's, or unknown. Hardware there is none; its version is the program's, as the firmware's is.
func FromInfo(info pkcs11.TokenInfo) *Info {
	return &Info{
		Label:        Text(info.Label),
		Manufacturer: Text(info.Manufacturer),
		Model:        Text(info.Model),
		Serial:       Text(info.Serial),
		Flags:        uint64(info.Flags),
		MinPin:       uint64(info.MinPinLen),
		MaxPin:       uint64(info.MaxPinLen),
		Release:      uint32(info.FirmwareVersion.Major)<<8 | uint32(info.FirmwareVersion.Minor),
	}
}

// ToInfo is the inverse of FromInfo. What is not on the wire is as the engine itself says it: any number of sessions, and
// memory unknown.
func ToInfo(m *Info) pkcs11.TokenInfo {
	const unknown = pkcs11.CK_UNAVAILABLE_INFORMATION
	release := pkcs11.Version{Major: byte(m.GetRelease() >> 8), Minor: byte(m.GetRelease())}
	return pkcs11.TokenInfo{
		HardwareVersion:    release,
		FirmwareVersion:    release,
		Label:              m.GetLabel(),
		Manufacturer:       m.GetManufacturer(),
		Model:              m.GetModel(),
		Serial:             m.GetSerial(),
		Flags:              pkcs11.Flags(m.GetFlags()),
		MinPinLen:          uint(m.GetMinPin()),
		MaxPinLen:          uint(m.GetMaxPin()),
		MaxSessionCount:    pkcs11.CK_EFFECTIVELY_INFINITE,
		MaxRwSessionCount:  pkcs11.CK_EFFECTIVELY_INFINITE,
		TotalPublicMemory:  unknown,
		FreePublicMemory:   unknown,
		TotalPrivateMemory: unknown,
		FreePrivateMemory:  unknown,
	}
}

// FromMechanismInfo and ToMechanismInfo are for what a token can do.
func FromMechanismInfo(t pkcs11.MechanismType, info pkcs11.MechanismInfo) *MechanismInfo {
	return &MechanismInfo{
		Type:       uint64(t),
		MinKeySize: uint64(info.MinKeySize),
		MaxKeySize: uint64(info.MaxKeySize),
		Flags:      uint64(info.Flags),
	}
}

// ToMechanismInfo is the inverse of FromMechanismInfo.
func ToMechanismInfo(m *MechanismInfo) (pkcs11.MechanismType, pkcs11.MechanismInfo) {
	return pkcs11.MechanismType(m.GetType()), pkcs11.MechanismInfo{
		MinKeySize: uint(m.GetMinKeySize()),
		MaxKeySize: uint(m.GetMaxKeySize()),
		Flags:      pkcs11.Flags(m.GetFlags()),
	}
}

// maxShape bounds the numbers of a Shape: the largest is the length of a signature, of which SLH-DSA's has 50 kB. The
// near side makes room by them before it asks for the output.
const maxShape = 1 << 20

// FromDescription returns the message for what Begin has learned.
func FromDescription(d hsm.Description) *Begun {
	return &Begun{
		Shape: &Shape{
			Block: uint32(d.Shape.Block), Hold: d.Shape.Hold,
			Add: int32(d.Shape.Add), Align: int32(d.Shape.Align), Post: int32(d.Shape.Post),
			Exact: d.Shape.Exact,
		},
		Hash:             d.Hash,
		Parts:            d.Parts,
		Resumable:        d.Resumable,
		MustAuthenticate: d.MustAuthenticate,
	}
}

// ToDescription is the inverse of FromDescription; CKR_DEVICE_ERROR for numbers that no operation has.
func ToDescription(m *Begun) (hsm.Description, error) {
	s := m.GetShape()
	d := hsm.Description{
		Shape: hsm.Shape{
			Block: int(s.GetBlock()), Hold: s.GetHold(),
			Add: int(s.GetAdd()), Align: int(s.GetAlign()), Post: int(s.GetPost()),
			Exact: s.GetExact(),
		},
		Hash:             m.GetHash(),
		Parts:            m.GetParts(),
		Resumable:        m.GetResumable(),
		MustAuthenticate: m.GetMustAuthenticate(),
	}
	if s.GetBlock() > maxShape || out(s.GetAdd(), -maxShape) || out(s.GetAlign(), 0) || out(s.GetPost(), -maxShape) {
		return hsm.Description{}, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node described an operation that cannot be: block %d, add %d, align %d, post %d",
			s.GetBlock(), s.GetAdd(), s.GetAlign(), s.GetPost())
	}
	return d, nil
}

func out(n, least int32) bool { return n < least || n > maxShape }

// FromUser and ToUser are for what may be known of a user.
func FromUser(u hsm.User) *User {
	return &User{Type: uint64(u.Type), Name: Text(u.Name), Role: Text(u.Role), Failures: uint32(min(max(u.Failures, 0), 1<<31-1)), Locked: u.Locked}
}

// ToUser is the inverse of FromUser.
func ToUser(m *User) hsm.User {
	return hsm.User{
		Type:     pkcs11.UserType(m.GetType()),
		Name:     m.GetName(),
		Role:     m.GetRole(),
		Failures: int(min(m.GetFailures(), 1<<31-1)),
		Locked:   m.GetLocked(),
	}
}
