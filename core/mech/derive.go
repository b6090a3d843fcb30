package mech

import "github.com/coffer-hsm/coffer/pkcs11"

// Derivation is what DeriveKeys works on. The engine has checked all keys as it checks the base key of Derive.
type Derivation struct {
	Base    Key
	KeyType *KeyType // of the base key
	Named   map[pkcs11.Handle]Key
	Param   any
	// Sizes are the lengths in bytes that the templates ask for, in the order of the plan; 0 is the natural one.
	Sizes []int
}

// Key returns a key that the parameter names; CKR_KEY_HANDLE_INVALID where it names none.
func (d *Derivation) Key(h pkcs11.Handle) (Key, error) {
	if k := d.Named[h]; h != 0 && k != nil {
		return k, nil
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_KEY_HANDLE_INVALID, "the parameter names no key: handle %d", h)
}

// Derived is what DeriveKeys has made: the material of each key in the order of the plan, and what goes to the outputs of
// the parameter (pkcs11.Output) in theirs. All of it is the caller's.
type Derived struct {
	Keys    []pkcs11.Template
	Outputs [][]byte
}

// Secret returns the material of a secret key.
func Secret(value []byte) pkcs11.Template {
	return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)}
}

// One returns a Derived of one secret key.
func One(value []byte) *Derived { return &Derived{Keys: []pkcs11.Template{Secret(value)}} }

// Planned is a key that a derivation is to make.
type Planned struct {
	Template pkcs11.Template
	// Class and Type are what is made whatever the template says, if Fixed; a data object has no type. FromBase takes the
	// type of the base key.
	Fixed    bool
	Class    pkcs11.ObjectClass
	Type     pkcs11.KeyType
	FromBase bool
	Size     uint // bytes, where the template does not say; 0: it does, or the natural length is wanted
	// Inherit says that CKA_SENSITIVE and CKA_EXTRACTABLE are those of the base key.
	Inherit bool
	// Absent keys are not made. They have a place in the parameter, which then names none.
	Absent bool
}

// Derives reports whether the row derives keys.
func (m *Mechanism) Derives() bool { return m.Derive != nil || m.DeriveKeys != nil }

// PlanOf is what a derivation with this parameter and template is to make.
func (m *Mechanism) PlanOf(param any, t pkcs11.Template) ([]Planned, error) {
	if m.Plan != nil {
		return m.Plan(param, t)
	}
	plan := []Planned{{Template: t}}
	for _, more := range pkcs11.PlacesOf(param).Templates {
		plan = append(plan, Planned{Template: *more})
	}
	return plan, nil
}

// Run runs Derive or DeriveKeys.
func (m *Mechanism) Run(d *Derivation) (*Derived, error) {
	if m.DeriveKeys != nil {
		return m.DeriveKeys(d)
	}
	value, err := m.Derive(d.Base, d.Param, d.Sizes[0])
	if err != nil {
		return nil, err
	}
	return One(value), nil
}
