package main

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// parameterSet is a set of post-quantum keys: its name in --type, and how the token and a key file call it.
type parameterSet struct {
	name    string
	keyType pkcs11.KeyType
	id      pkcs11.ParameterSet
	oid     asn1.ObjectIdentifier
}

var parameterSets = []parameterSet{
	{"ml-dsa:44", pkcs11.CKK_ML_DSA, pkcs11.CKP_ML_DSA_44, postquantum.NIST(3, 17)},
	{"ml-dsa:65", pkcs11.CKK_ML_DSA, pkcs11.CKP_ML_DSA_65, postquantum.NIST(3, 18)},
	{"ml-dsa:87", pkcs11.CKK_ML_DSA, pkcs11.CKP_ML_DSA_87, postquantum.NIST(3, 19)},
	{"ml-kem:512", pkcs11.CKK_ML_KEM, pkcs11.CKP_ML_KEM_512, postquantum.NIST(4, 1)},
	{"ml-kem:768", pkcs11.CKK_ML_KEM, pkcs11.CKP_ML_KEM_768, postquantum.NIST(4, 2)},
	{"ml-kem:1024", pkcs11.CKK_ML_KEM, pkcs11.CKP_ML_KEM_1024, postquantum.NIST(4, 3)},
	{"slh-dsa:sha2-128s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_128S, postquantum.NIST(3, 20)},
	{"slh-dsa:sha2-128f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_128F, postquantum.NIST(3, 21)},
	{"slh-dsa:sha2-192s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_192S, postquantum.NIST(3, 22)},
	{"slh-dsa:sha2-192f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_192F, postquantum.NIST(3, 23)},
	{"slh-dsa:sha2-256s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_256S, postquantum.NIST(3, 24)},
	{"slh-dsa:sha2-256f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHA2_256F, postquantum.NIST(3, 25)},
	{"slh-dsa:shake-128s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_128S, postquantum.NIST(3, 26)},
	{"slh-dsa:shake-128f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_128F, postquantum.NIST(3, 27)},
	{"slh-dsa:shake-192s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_192S, postquantum.NIST(3, 28)},
	{"slh-dsa:shake-192f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_192F, postquantum.NIST(3, 29)},
	{"slh-dsa:shake-256s", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_256S, postquantum.NIST(3, 30)},
	{"slh-dsa:shake-256f", pkcs11.CKK_SLH_DSA, pkcs11.CKP_SLH_DSA_SHAKE_256F, postquantum.NIST(3, 31)},
}

func findSet(is func(parameterSet) bool) (parameterSet, bool) {
	for _, s := range parameterSets {
		if is(s) {
			return s, true
		}
	}
	return parameterSet{}, false
}

func setNamed(name string) (parameterSet, bool) {
	return findSet(func(s parameterSet) bool { return s.name == name })
}

// setOf is the parameter set of an object's attributes.
func setOf(tm pkcs11.Template) (parameterSet, bool) {
	kt, _ := tm.Uint(pkcs11.CKA_KEY_TYPE)
	id, known := tm.Uint(pkcs11.CKA_PARAMETER_SET)
	return findSet(func(s parameterSet) bool { return known && uint(s.keyType) == kt && uint(s.id) == id })
}

func (s parameterSet) template() pkcs11.Template {
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, s.keyType), pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id)}
}

// bare says that a private key stands in its file without a choice of forms around it.
func (s parameterSet) bare() bool { return s.keyType == pkcs11.CKK_SLH_DSA }

// setPublic and setPrivate are keys that the standard library does not know. Whether their bytes are keys the token
// finds out.
type setPublic struct {
	parameterSet
	value []byte
}

type setPrivate struct {
	parameterSet
	postquantum.Private
}

// parsePKCS8 reads the keys of the standard library and ours.
func parsePKCS8(der []byte) (crypto.PrivateKey, error) {
	for _, s := range parameterSets {
		var oid asn1.ObjectIdentifier
		var key postquantum.Private
		var err error
		if s.bare() {
			oid, key.Value, err = postquantum.ParseBare(der)
		} else {
			oid, key, err = postquantum.ParseSeeded(der)
		}
		if err == nil && oid.Equal(s.oid) {
			return &setPrivate{s, key}, nil
		}
		key.Wipe()
	}
	return x509.ParsePKCS8PrivateKey(der)
}

func parsePublicInfo(der []byte) (crypto.PublicKey, error) {
	if oid, value, ok := postquantum.ParsePublicInfo(der); ok {
		if s, known := findSet(func(s parameterSet) bool { return s.oid.Equal(oid) }); known {
			return &setPublic{s, value}, nil
		}
	}
	return x509.ParsePKIXPublicKey(der)
}

func marshalPublicInfo(key crypto.PublicKey) ([]byte, error) {
	if k, ok := key.(*setPublic); ok {
		return postquantum.PublicInfo(k.oid, k.value)
	}
	return publicDER(key)
}

func marshalPKCS8(key crypto.PrivateKey) ([]byte, error) {
	k, ok := key.(*setPrivate)
	switch {
	case !ok:
		return x509.MarshalPKCS8PrivateKey(key)
	case k.bare():
		return postquantum.MarshalBare(k.oid, k.Value)
	}
	return postquantum.MarshalSeeded(k.oid, k.Private)
}

func (k *setPublic) attributes() pkcs11.Template {
	return append(k.template(), pkcs11.Attr(pkcs11.CKA_VALUE, k.value))
}

// public computes the public key, with what the token computes it with.
func (k *setPrivate) public() (crypto.PublicKey, error) {
	r, err := all.Registry()
	if err != nil {
		return nil, err
	}
	info, err := r.KeyType(k.keyType).PublicKeyInfo(pkcs11.CKO_PRIVATE_KEY, k.attributes())
	if err != nil {
		return nil, fmt.Errorf("the file holds no key of %s: %w", k.name, err)
	}
	return parsePublicInfo(info)
}

func (k *setPrivate) attributes() pkcs11.Template {
	tm := k.template()
	if len(k.Seed) > 0 {
		tm = append(tm, pkcs11.Attr(pkcs11.CKA_SEED, k.Seed))
	}
	if len(k.Value) > 0 {
		tm = append(tm, pkcs11.Attr(pkcs11.CKA_VALUE, k.Value))
	}
	return tm
}

// privateOfSet makes a private key of attributes.
func privateOfSet(s parameterSet, tm pkcs11.Template) (*setPrivate, error) {
	k := &setPrivate{s, postquantum.Private{Seed: tm.Bytes(pkcs11.CKA_SEED), Value: tm.Bytes(pkcs11.CKA_VALUE)}}
	if len(k.Seed)+len(k.Value) == 0 {
		return nil, fmt.Errorf("%s: %w", s.name, errIncomplete)
	}
	return k, nil
}
