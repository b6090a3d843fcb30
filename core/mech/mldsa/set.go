package mldsa

import (
	"encoding/asn1"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// set is a parameter set (FIPS 204, 4, table 1).
type set struct {
	id     pkcs11.ParameterSet
	name   string
	oid    asn1.ObjectIdentifier
	params mldsa.Parameters
	expand sign.Scheme // keys in the expanded form
	// signExpanded signs a whole message with a key in the expanded form.
	signExpanded func(key sign.PrivateKey, message, context []byte, random bool, sig []byte) error

	k, l      int // the matrix
	tau       int // ones in the challenge
	challenge int // its length, in bytes: lambda/4
	gamma1    int // bits: 17 or 19
	gamma2    uint32
	beta      uint32
	omega     int
}

var sets = []*set{
	{
		id: pkcs11.CKP_ML_DSA_44, name: "ML-DSA-44", oid: postquantum.NIST(3, 17), params: mldsa.MLDSA44(), expand: mldsa44.Scheme(),
		signExpanded: func(key sign.PrivateKey, message, context []byte, random bool, sig []byte) error {
			return mldsa44.SignTo(key.(*mldsa44.PrivateKey), message, context, random, sig)
		},
		k: 4, l: 4, tau: 39, challenge: 32, gamma1: 17, gamma2: (q - 1) / 88, beta: 78, omega: 80,
	},
	{
		id: pkcs11.CKP_ML_DSA_65, name: "ML-DSA-65", oid: postquantum.NIST(3, 18), params: mldsa.MLDSA65(), expand: mldsa65.Scheme(),
		signExpanded: func(key sign.PrivateKey, message, context []byte, random bool, sig []byte) error {
			return mldsa65.SignTo(key.(*mldsa65.PrivateKey), message, context, random, sig)
		},
		k: 6, l: 5, tau: 49, challenge: 48, gamma1: 19, gamma2: (q - 1) / 32, beta: 196, omega: 55,
	},
	{
		id: pkcs11.CKP_ML_DSA_87, name: "ML-DSA-87", oid: postquantum.NIST(3, 19), params: mldsa.MLDSA87(), expand: mldsa87.Scheme(),
		signExpanded: func(key sign.PrivateKey, message, context []byte, random bool, sig []byte) error {
			return mldsa87.SignTo(key.(*mldsa87.PrivateKey), message, context, random, sig)
		},
		k: 8, l: 7, tau: 60, challenge: 64, gamma1: 19, gamma2: (q - 1) / 32, beta: 120, omega: 75,
	},
}

func (s *set) publicLen() int    { return s.params.PublicKeySize() }
func (s *set) signatureLen() int { return s.params.SignatureSize() }

// keys is the key type.
var keys = postquantum.Seeded[*privateKey, *set]{Sets: postquantum.Sets[*set]{Algorithm: "ML-DSA", All: sets}}

// Identity implements postquantum.Set.
func (s *set) Identity() (pkcs11.ParameterSet, asn1.ObjectIdentifier) { return s.id, s.oid }
