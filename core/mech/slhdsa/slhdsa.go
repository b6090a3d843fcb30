// Package slhdsa is the family of SLH-DSA (FIPS 205) in all twelve parameter sets: key pairs, CKM_SLH_DSA over whole
// messages, and its pre-hashed form with every hash that the standard has. github.com/cloudflare/circl computes it.
//
// CKM_HASH_SLH_DSA, which signs a digest that was made elsewhere, is not offered: the library hashes by itself and takes
// no digest.
package slhdsa

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the SLH-DSA family.
var Family = mech.Family{Name: "slhdsa", Mechanisms: rows(), KeyTypes: []mech.KeyType{{
	Type:          pkcs11.CKK_SLH_DSA,
	Check:         check,
	MarshalPKCS8:  marshalPKCS8,
	ParsePKCS8:    parsePKCS8,
	PublicKeyInfo: publicKeyInfo,
}}}

func rows() []mech.Mechanism {
	all := []mech.Mechanism{
		{Type: pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN, GeneratePair: generate},
		{Type: pkcs11.CKM_SLH_DSA, Sign: signMessage, Verify: verifyMessage},
	}
	for _, h := range postquantum.PreHashes {
		// The row names no hash: the near side cannot make the digest, for the library takes the message.
		all = append(all, mech.Mechanism{Type: h.SLHDSA, Sign: hashSign(h), Verify: hashVerify(h)})
	}
	for i := range all {
		all[i].KeyTypes = []pkcs11.KeyType{pkcs11.CKK_SLH_DSA}
		all[i].Min, all[i].Max = uint(sets[0].publicLen()), uint(sets[len(sets)-1].publicLen())
	}
	return all
}
