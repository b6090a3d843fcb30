// Package mldsa is the family of ML-DSA (FIPS 204) with its pre-hashed form: key pairs, CKM_ML_DSA over whole messages or
// parts, and CKM_HASH_ML_DSA with every hash that the standard has.
//
// Keys are made and used with filippo.io/mldsa, which is crypto/mldsa of the Go release that follows this one. It signs
// the message representative µ, so that a message may come in parts and a hash before it; it verifies whole messages
// only, and the verification of a µ is here (verify.go), where all data are public.
//
// A private key is its seed. One that was imported without it, as FIPS 204 expands it, signs whole messages with
// github.com/cloudflare/circl, which makes the expanded form of the others too.
package mldsa

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the ML-DSA family.
var Family = mech.Family{Name: "mldsa", Mechanisms: rows(), KeyTypes: []mech.KeyType{keys.KeyType(pkcs11.CKK_ML_DSA)}}

func rows() []mech.Mechanism {
	all := []mech.Mechanism{
		{Type: pkcs11.CKM_ML_DSA_KEY_PAIR_GEN, GeneratePair: keys.Generate},
		{Type: pkcs11.CKM_ML_DSA, Sign: signMessage, Verify: verifyMessage},
		{Type: pkcs11.CKM_HASH_ML_DSA, OnePart: true, Sign: signDigest, Verify: verifyDigest},
	}
	for _, h := range postquantum.PreHashes {
		all = append(all, mech.Mechanism{Type: h.MLDSA, Hash: h.ID, Sign: hashSign(h), Verify: hashVerify(h)})
	}
	for i := range all {
		all[i].KeyTypes = []pkcs11.KeyType{pkcs11.CKK_ML_DSA}
		all[i].Min, all[i].Max = uint(sets[0].publicLen()), uint(sets[len(sets)-1].publicLen())
	}
	return all
}
