// Package rsa is the RSA family: key pair generation, PKCS #1 v1.5, raw RSA, PSS, OAEP and the two-step AES key wrap.
//
// Where crypto/rsa has the scheme (PKCS #1 v1.5, OAEP, generation) it is used. What it does not export, the bare private
// operation under raw RSA and under PSS with any mask and salt, is computed here on the same constant-time arithmetic,
// published as filippo.io/bigmod. In FIPS mode PSS is crypto/rsa's too, as far as that has it. Every signature is checked
// with the public key before it leaves, so that a fault in the CRT computation cannot give a prime away: in crypto/rsa
// (decrypt with withCheck, in crypto/internal/fips140/rsa), in privateKey.raw and in the kernel.
//
// On a processor with AVX-512 IFMA, and outside FIPS mode, package kernel computes signatures and raw decryption for keys
// of 2048, 3072 and 4096 bits. Decryption with padding stays with crypto/rsa, which takes the padding off in constant time.
//
// Keys have two primes and a public exponent below 2^31, which is what crypto/rsa computes with.
package rsa

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Key sizes in bits. What is made here is at least 2048 bits long; a shorter key may come from outside.
const (
	minBits         = 1024
	maxBits         = 16384
	minGenerateBits = 2048
	maxGenerateBits = 8192
)

// Family is the RSA family.
var Family = mech.Family{
	Name:       "rsa",
	Mechanisms: rows(),
	KeyTypes: []mech.KeyType{{
		Type:          pkcs11.CKK_RSA,
		Check:         check,
		MarshalPKCS8:  marshalPKCS8,
		ParsePKCS8:    parsePKCS8,
		PublicKeyInfo: publicKeyInfo,
		Public:        toPublic,
	}},
}

func rows() []mech.Mechanism {
	all := []mech.Mechanism{
		{
			Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, Min: minGenerateBits, Max: maxGenerateBits,
			GeneratePair: generatePair,
		},
		{
			Type: pkcs11.CKM_RSA_PKCS, Min: minBits, Max: maxBits, OnePart: true,
			Encrypt: encrypter(newPKCS1), Decrypt: decrypter(newPKCS1),
			Sign: pkcs1Sign(nil), Verify: pkcs1Verify(nil),
			SignRecover: pkcs1SignRecover, VerifyRecover: pkcs1VerifyRecover,
			Wrap: wrapper(newPKCS1), Unwrap: unwrapper(newPKCS1),
			Encapsulate: encapsulator(newPKCS1), Decapsulate: decapsulator(newPKCS1), CiphertextLen: ciphertextLen(newPKCS1),
		},
		{
			Type: pkcs11.CKM_RSA_X_509, Min: minBits, Max: maxBits, OnePart: true,
			Encrypt: encrypter(newRaw), Decrypt: decrypter(newRaw),
			Sign: rawSign, Verify: rawVerify,
			SignRecover: rawSignRecover, VerifyRecover: rawVerifyRecover,
			Wrap: wrapper(newRaw), Unwrap: unwrapper(newRaw), SecretOnly: true, KeyAtEnd: true,
			Encapsulate: generateRaw, Decapsulate: recoverRaw, CiphertextLen: ciphertextLen(newRaw),
		},
		{
			Type: pkcs11.CKM_RSA_PKCS_OAEP, Min: minBits, Max: maxBits, OnePart: true,
			Encrypt: encrypter(newOAEP), Decrypt: decrypter(newOAEP),
			Wrap: wrapper(newOAEP), Unwrap: unwrapper(newOAEP),
			Encapsulate: encapsulator(newOAEP), Decapsulate: decapsulator(newOAEP), CiphertextLen: ciphertextLen(newOAEP),
		},
		{
			Type: pkcs11.CKM_RSA_AES_KEY_WRAP, Min: minBits, Max: maxBits,
			Wrap: aesWrap, Unwrap: aesUnwrap,
		},
		{
			Type: pkcs11.CKM_RSA_PKCS_PSS, Min: minBits, Max: maxBits, OnePart: true,
			Sign: pssSign(nil), Verify: pssVerify(nil),
		},
	}
	for _, h := range hashes.All {
		if h.RSAPKCS != 0 {
			all = append(all, mech.Mechanism{
				Type: h.RSAPKCS, Min: minBits, Max: maxBits, Hash: h.ID, Legacy: h.Legacy,
				Sign: pkcs1Sign(h), Verify: pkcs1Verify(h),
			})
		}
		if h.RSAPSS != 0 {
			all = append(all, mech.Mechanism{
				Type: h.RSAPSS, Min: minBits, Max: maxBits, Hash: h.ID,
				Sign: pssSign(h), Verify: pssVerify(h),
			})
		}
	}
	for i := range all {
		all[i].KeyTypes = []pkcs11.KeyType{pkcs11.CKK_RSA}
	}
	return all
}

// noParam refuses a parameter where the mechanism has none.
func noParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}
