package mech

import (
	"fmt"
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// KeyType is a row of what the engine must know of a key type: how its values are checked when they come from outside,
// and how a private key becomes PKCS #8 and back.
type KeyType struct {
	Type pkcs11.KeyType

	// Check looks at the key material that came with create, unwrap or derive, for an object of the given class, and
	// returns the attributes that follow from it and are to be added (CKA_MODULUS_BITS, CKA_VALUE_LEN, CRT values, a
	// CKA_EC_POINT in the standard's form ...); it may replace an attribute by its normal form. CKR_ATTRIBUTE_VALUE_INVALID
	// or CKR_TEMPLATE_INCONSISTENT for material that is no key.
	Check func(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error)

	// Length is how long the value of a secret key is, in bytes, where the type fixes it; 0 where it does not.
	Length uint

	// CheckValue computes CKA_CHECK_VALUE of a secret key: the first three bytes of a zero block encrypted with it, or of
	// its SHA-1 hash (PKCS#11 v3.2, secret key objects); nil for other key types. An object keeps the value's memory for as
	// long as it lives, so the rest of the block or hash, by which the key could be known, is not there.
	CheckValue func(value []byte) []byte

	// MarshalPKCS8 returns the DER PrivateKeyInfo (RFC 5208, 5958) of a private key; nil for secret key types.
	MarshalPKCS8 func(k Key) ([]byte, error)
	// ParsePKCS8 returns the private key's material from a PrivateKeyInfo of this type, or CKR_WRAPPED_KEY_INVALID.
	ParsePKCS8 func(der []byte) (pkcs11.Template, error)
	// PublicKeyInfo returns the DER SubjectPublicKeyInfo of a public or private key: CKA_PUBLIC_KEY_INFO. It sees the
	// material as a template.
	PublicKeyInfo func(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error)
	// Public returns the public key's material of a private key (CKM_PUB_KEY_FROM_PRIV_KEY); nil where there is none.
	Public func(k Key) (pkcs11.Template, error)
}

// Registry is a set of mechanisms and key types. It does not change once it is made.
type Registry struct {
	mechanisms map[pkcs11.MechanismType]*Mechanism
	keyTypes   map[pkcs11.KeyType]*KeyType
	order      []pkcs11.MechanismType
}

// Family is what a sub-package contributes.
type Family struct {
	Name       string
	Mechanisms []Mechanism
	KeyTypes   []KeyType
}

// Current returns families without their legacy rows and the types of keys that only those use.
func Current(families []Family) []Family {
	used := map[pkcs11.KeyType]bool{}
	out := slices.Clone(families)
	for i := range out {
		f := &out[i]
		f.Mechanisms = slices.DeleteFunc(slices.Clone(f.Mechanisms), func(m Mechanism) bool { return m.Legacy })
		for _, m := range f.Mechanisms {
			for _, k := range m.KeyTypes {
				used[k] = true
			}
		}
	}
	for i := range out {
		out[i].KeyTypes = slices.DeleteFunc(slices.Clone(out[i].KeyTypes), func(k KeyType) bool { return !used[k.Type] })
	}
	return out
}

// NewRegistry puts families together. Two rows for one mechanism or key type are a programming error.
func NewRegistry(families ...Family) (*Registry, error) {
	r := &Registry{map[pkcs11.MechanismType]*Mechanism{}, map[pkcs11.KeyType]*KeyType{}, nil}
	for _, f := range families {
		for i := range f.Mechanisms {
			row := f.Mechanisms[i] // the registry's own, whose self-tests are its own too
			m := &row
			if r.mechanisms[m.Type] != nil {
				return nil, fmt.Errorf("mech: family %s has a second row for %v", f.Name, m.Type)
			}
			r.mechanisms[m.Type] = m
			r.order = append(r.order, m.Type)
		}
		for i := range f.KeyTypes {
			k := &f.KeyTypes[i]
			if r.keyTypes[k.Type] != nil {
				return nil, fmt.Errorf("mech: family %s has a second row for %v", f.Name, k.Type)
			}
			r.keyTypes[k.Type] = k
		}
	}
	slices.Sort(r.order)
	return r, nil
}

// Types lists the mechanisms in ascending order. The slice is the registry's own.
func (r *Registry) Types() []pkcs11.MechanismType { return r.order }

// Mechanism returns a row, or nil.
func (r *Registry) Mechanism(t pkcs11.MechanismType) *Mechanism { return r.mechanisms[t] }

// KeyType returns a row, or nil.
func (r *Registry) KeyType(t pkcs11.KeyType) *KeyType { return r.keyTypes[t] }
