package mlkem

import (
	"crypto/subtle"
	"encoding/asn1"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// set is a parameter set (FIPS 203, 8).
type set struct {
	kem.Scheme
	id  pkcs11.ParameterSet
	oid asn1.ObjectIdentifier
}

var sets = []*set{
	{mlkem512.Scheme(), pkcs11.CKP_ML_KEM_512, postquantum.NIST(4, 1)},
	{mlkem768.Scheme(), pkcs11.CKP_ML_KEM_768, postquantum.NIST(4, 2)},
	{mlkem1024.Scheme(), pkcs11.CKP_ML_KEM_1024, postquantum.NIST(4, 3)},
}

// keys is the key type.
var keys = postquantum.Seeded[*privateKey, *set]{Sets: postquantum.Sets[*set]{Algorithm: "ML-KEM", All: sets}}

// Identity implements postquantum.Set.
func (s *set) Identity() (pkcs11.ParameterSet, asn1.ObjectIdentifier) { return s.id, s.oid }

// publicKey and privateKey are the expanded forms.
type publicKey struct {
	*set
	key kem.PublicKey
}

type privateKey struct {
	*set
	key kem.PrivateKey
}

// public takes an encapsulation key; the library checks it as FIPS 203, 7.2, asks.
func (s *set) public(encoded []byte) (*publicKey, error) {
	key, err := s.UnmarshalBinaryPublicKey(encoded)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE (%d bytes) is no public key of %s: %w", len(encoded), s.Name(), err)
	}
	return &publicKey{s, key}, nil
}

// CheckPublic implements postquantum.SeededSet.
func (s *set) CheckPublic(encoded []byte) error {
	_, err := s.public(encoded)
	return err
}

// Private implements postquantum.SeededSet.
func (s *set) Private(from postquantum.Private) (*privateKey, error) {
	if len(from.Seed) == 0 {
		return s.fromExpanded(from.Value)
	}
	if len(from.Seed) != s.SeedSize() {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SEED has %d bytes, expected %d", len(from.Seed), s.SeedSize())
	}
	_, key := s.DeriveKeyPair(from.Seed)
	k := &privateKey{s, key}
	if len(from.Value) > 0 {
		value := k.Value()
		same := subtle.ConstantTimeCompare(value, from.Value)
		secret.Wipe(value)
		if same != 1 {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE does not come from CKA_SEED")
		}
	}
	return k, nil
}

// fromExpanded takes a decapsulation key. The library makes the hash check of FIPS 203, 7.3; beyond that the coefficients
// of both halves must be below the modulus, and the halves must belong together, which a secret that goes there and back
// shows.
func (s *set) fromExpanded(value []byte) (*privateKey, error) {
	bad := func(why string) error {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE (%d bytes) is no private key of %s: %s", len(value), s.Name(), why)
	}
	key, err := s.UnmarshalBinaryPrivateKey(value)
	if err != nil {
		return nil, bad(err.Error())
	}
	k := &privateKey{s, key}
	again := k.Value()
	same := subtle.ConstantTimeCompare(again, value)
	secret.Wipe(again)
	if same != 1 {
		return nil, bad("a coefficient is not below the modulus")
	}
	ciphertext, one, err := s.Encapsulate(key.Public())
	if err != nil {
		return nil, bad(err.Error())
	}
	two, err := s.Decapsulate(key, ciphertext)
	if err != nil || subtle.ConstantTimeCompare(one, two) != 1 {
		return nil, bad("it does not belong to its public key")
	}
	return k, nil
}

// Value implements postquantum.SeededKey.
func (k *privateKey) Value() []byte {
	b, err := k.key.MarshalBinary()
	if err != nil {
		panic("mlkem: a key cannot be written: " + err.Error())
	}
	return b
}

// PublicValue implements postquantum.SeededKey.
func (k *privateKey) PublicValue() []byte {
	b, err := k.key.Public().MarshalBinary()
	if err != nil {
		panic("mlkem: a key cannot be written: " + err.Error())
	}
	return b
}

func privateOf(k mech.Key) (*privateKey, error) {
	return postquantum.Expanded(k, keys.Sets, func(s *set) (*privateKey, error) {
		return s.Private(postquantum.Private{Seed: k.Bytes(pkcs11.CKA_SEED), Value: k.Bytes(pkcs11.CKA_VALUE)})
	})
}

func publicOf(k mech.Key) (*publicKey, error) {
	return postquantum.Expanded(k, keys.Sets, func(s *set) (*publicKey, error) { return s.public(k.Bytes(pkcs11.CKA_VALUE)) })
}
