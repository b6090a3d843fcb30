// Package mlkem is the family of ML-KEM (FIPS 203): key pairs, encapsulation and decapsulation.
//
// github.com/cloudflare/circl computes all three parameter sets. crypto/mlkem has no ML-KEM-512 and takes private keys
// as seeds only, so that keys of other makers, which often come expanded, could not be imported; one library for all
// of it is better than two of which each does a part. The tests compare it with crypto/mlkem.
package mlkem

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the ML-KEM family.
var Family = mech.Family{Name: "mlkem", Mechanisms: rows(), KeyTypes: []mech.KeyType{keys.KeyType(pkcs11.CKK_ML_KEM)}}

func rows() []mech.Mechanism {
	all := []mech.Mechanism{
		{Type: pkcs11.CKM_ML_KEM_KEY_PAIR_GEN, GeneratePair: keys.Generate},
		{Type: pkcs11.CKM_ML_KEM, Encapsulate: encapsulate, Decapsulate: decapsulate, CiphertextLen: ciphertextLen},
	}
	for i := range all {
		all[i].KeyTypes = []pkcs11.KeyType{pkcs11.CKK_ML_KEM}
		all[i].Min, all[i].Max = uint(sets[0].PublicKeySize()), uint(sets[len(sets)-1].PublicKeySize())
	}
	return all
}
