package postquantum

import (
	"crypto/rand"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// SeededSet is a parameter set of ML-DSA or ML-KEM, whose private keys come as seeds, in an expanded form, or as both.
type SeededSet[K SeededKey] interface {
	Set
	SeedSize() int // in bytes
	// CheckPublic refuses what is no public key: CKR_ATTRIBUTE_VALUE_INVALID.
	CheckPublic(encoded []byte) error
	// Private makes a private key of its seed, or without one of its expanded form; both must be of one key.
	Private(from Private) (K, error)
}

// SeededKey is a private key of such a set.
type SeededKey interface {
	Value() []byte // in the expanded form, the caller's to wipe
	PublicValue() []byte
}

// Seeded is the key type of such an algorithm.
type Seeded[K SeededKey, S SeededSet[K]] struct{ Sets[S] }

// KeyType is the key type's row.
func (f Seeded[K, S]) KeyType(t pkcs11.KeyType) mech.KeyType {
	return mech.KeyType{Type: t, Check: f.check, MarshalPKCS8: f.marshalPKCS8, ParsePKCS8: f.parsePKCS8, PublicKeyInfo: f.publicKeyInfo}
}

func privateOf(b func(pkcs11.AttributeType) []byte) Private {
	return Private{Seed: b(pkcs11.CKA_SEED), Value: b(pkcs11.CKA_VALUE)}
}

// Generate makes a pair of the parameter set that the public template names. PKCS#11 v3.2, ML-DSA and ML-KEM key pair
// generation.
func (f Seeded[K, S]) Generate(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := NoParameter(param); err != nil {
		return nil, nil, err
	}
	s, err := f.Of(public.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, nil, err
	}
	seed := make([]byte, s.SeedSize())
	rand.Read(seed)
	key, err := s.Private(Private{Seed: seed})
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a new key: %w", err)
	}
	id, _ := s.Identity()
	set := pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, id)
	return pkcs11.Template{set, pkcs11.Attr(pkcs11.CKA_VALUE, key.PublicValue())},
		pkcs11.Template{set, pkcs11.Attr(pkcs11.CKA_SEED, seed), pkcs11.Attr(pkcs11.CKA_VALUE, key.Value())}, nil
}

// check adds the expanded form, which follows from a seed.
func (f Seeded[K, S]) check(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	s, err := f.Of(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	switch class {
	case pkcs11.CKO_PUBLIC_KEY:
		return nil, s.CheckPublic(t.Bytes(pkcs11.CKA_VALUE))
	case pkcs11.CKO_PRIVATE_KEY:
		key, err := s.Private(privateOf(t.Bytes))
		if err == nil && len(t.Bytes(pkcs11.CKA_VALUE)) == 0 {
			add = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, key.Value())}
		}
		return add, err
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be an %s key", class, f.Algorithm)
}

func (f Seeded[K, S]) marshalPKCS8(k mech.Key) ([]byte, error) {
	s, err := f.Of(k.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	_, oid := s.Identity()
	return MarshalSeeded(oid, privateOf(k.Bytes))
}

func (f Seeded[K, S]) parsePKCS8(der []byte) (pkcs11.Template, error) {
	oid, from, err := ParseSeeded(der)
	if err != nil {
		return nil, err
	}
	s, err := f.Named(oid)
	if err != nil {
		from.Wipe()
		return nil, err
	}
	key, err := s.Private(from)
	if err != nil {
		from.Wipe()
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "%w", err)
	}
	id, _ := s.Identity()
	t := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, id)}
	if from.Seed != nil {
		t = append(t, pkcs11.Attr(pkcs11.CKA_SEED, from.Seed))
	}
	if from.Value == nil {
		from.Value = key.Value()
	}
	return append(t, pkcs11.Attr(pkcs11.CKA_VALUE, from.Value)), nil
}

func (f Seeded[K, S]) publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	s, err := f.Of(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	_, oid := s.Identity()
	if class == pkcs11.CKO_PUBLIC_KEY {
		if err := s.CheckPublic(t.Bytes(pkcs11.CKA_VALUE)); err != nil {
			return nil, err
		}
		return PublicInfo(oid, t.Bytes(pkcs11.CKA_VALUE))
	}
	key, err := s.Private(privateOf(t.Bytes))
	if err != nil {
		return nil, err
	}
	return PublicInfo(oid, key.PublicValue())
}
