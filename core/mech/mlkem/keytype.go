package mlkem

import (
	"crypto/rand"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// generate makes a pair of the parameter set that the public template names. PKCS#11 v3.2, ML-KEM key pair generation.
func generate(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := noParam(param); err != nil {
		return nil, nil, err
	}
	s, err := setOf(public.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, nil, err
	}
	seed := make([]byte, s.SeedSize())
	rand.Read(seed)
	key, err := s.private(postquantum.Private{Seed: seed})
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a new key: %w", err)
	}
	pub = pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id),
		pkcs11.Attr(pkcs11.CKA_VALUE, key.publicValue()),
	}
	priv = pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id),
		pkcs11.Attr(pkcs11.CKA_SEED, seed),
		pkcs11.Attr(pkcs11.CKA_VALUE, key.value()),
	}
	return pub, priv, nil
}

// check takes a private key as a seed, in the expanded form, or as both. The expanded form follows from a seed and is
// added.
func check(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	s, err := setOf(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	switch class {
	case pkcs11.CKO_PUBLIC_KEY:
		_, err = s.public(t.Bytes(pkcs11.CKA_VALUE))
		return nil, err
	case pkcs11.CKO_PRIVATE_KEY:
		key, err := s.private(postquantum.Private{Seed: t.Bytes(pkcs11.CKA_SEED), Value: t.Bytes(pkcs11.CKA_VALUE)})
		if err == nil && len(t.Bytes(pkcs11.CKA_VALUE)) == 0 {
			add = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, key.value())}
		}
		return add, err
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be an ML-KEM key", class)
}

func marshalPKCS8(k mech.Key) ([]byte, error) {
	s, err := setOf(k.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	return postquantum.MarshalSeeded(s.oid, postquantum.Private{Seed: k.Bytes(pkcs11.CKA_SEED), Value: k.Bytes(pkcs11.CKA_VALUE)})
}

func parsePKCS8(der []byte) (pkcs11.Template, error) {
	oid, from, err := postquantum.ParseSeeded(der)
	if err != nil {
		return nil, err
	}
	s := setOfOID(oid)
	if s == nil {
		from.Wipe()
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a key of algorithm %v, ML-KEM was expected", oid)
	}
	key, err := s.private(from)
	if err != nil {
		from.Wipe()
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "%w", err)
	}
	t := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id)}
	if from.Seed != nil {
		t = append(t, pkcs11.Attr(pkcs11.CKA_SEED, from.Seed))
	}
	if from.Value == nil {
		from.Value = key.value()
	}
	return append(t, pkcs11.Attr(pkcs11.CKA_VALUE, from.Value)), nil
}

func publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	s, err := setOf(t.Uint(pkcs11.CKA_PARAMETER_SET))
	if err != nil {
		return nil, err
	}
	value := t.Bytes(pkcs11.CKA_VALUE)
	if class == pkcs11.CKO_PUBLIC_KEY {
		if _, err := s.public(value); err != nil {
			return nil, err
		}
		return postquantum.PublicInfo(s.oid, value)
	}
	key, err := s.private(postquantum.Private{Seed: t.Bytes(pkcs11.CKA_SEED), Value: value})
	if err != nil {
		return nil, err
	}
	return postquantum.PublicInfo(s.oid, key.publicValue())
}
