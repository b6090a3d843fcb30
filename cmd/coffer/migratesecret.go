package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// secretProof is something that a secret key computes, here and at the source, with the same result.
type secretProof struct {
	key   pkcs11.KeyType
	kind  hsm.OpKind
	usage pkcs11.AttributeType
	m     pkcs11.MechanismType
	len   int
	by    func(value, data []byte) ([]byte, error) // the same from the value; nil: the source only
}

func hmacOf(h func() hash.Hash) func(value, data []byte) ([]byte, error) {
	return func(value, data []byte) ([]byte, error) {
		mac := hmac.New(h, value)
		mac.Write(data)
		return mac.Sum(nil), nil
	}
}

func blockOf(c func([]byte) (cipher.Block, error)) func(value, data []byte) ([]byte, error) {
	return func(value, data []byte) ([]byte, error) {
		block, err := c(value)
		if err != nil || len(data) != block.BlockSize() {
			return nil, errUnproven
		}
		out := make([]byte, len(data))
		block.Encrypt(out, data)
		return out, nil
	}
}

var secretProofs = []secretProof{
	{pkcs11.CKK_AES, hsm.OpEncrypt, pkcs11.CKA_ENCRYPT, pkcs11.CKM_AES_ECB, aes.BlockSize, blockOf(aes.NewCipher)},
	{pkcs11.CKK_AES, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_AES_CMAC, proofLen, nil},
	{pkcs11.CKK_DES3, hsm.OpEncrypt, pkcs11.CKA_ENCRYPT, pkcs11.CKM_DES3_ECB, des.BlockSize, blockOf(des.NewTripleDESCipher)},
	{pkcs11.CKK_GENERIC_SECRET, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA256_HMAC, proofLen, hmacOf(sha256.New)},
	{pkcs11.CKK_GENERIC_SECRET, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA384_HMAC, proofLen, hmacOf(sha512.New384)},
	{pkcs11.CKK_GENERIC_SECRET, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA512_HMAC, proofLen, hmacOf(sha512.New)},
	{pkcs11.CKK_GENERIC_SECRET, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA_1_HMAC, proofLen, hmacOf(sha1.New)},
	{pkcs11.CKK_SHA_1_HMAC, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA_1_HMAC, proofLen, hmacOf(sha1.New)},
	{pkcs11.CKK_SHA256_HMAC, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA256_HMAC, proofLen, hmacOf(sha256.New)},
	{pkcs11.CKK_SHA384_HMAC, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA384_HMAC, proofLen, hmacOf(sha512.New384)},
	{pkcs11.CKK_SHA512_HMAC, hsm.OpSign, pkcs11.CKA_SIGN, pkcs11.CKM_SHA512_HMAC, proofLen, hmacOf(sha512.New)},
}

func (m *mover) proveSecret(ctx context.Context, o object, s *subject) (string, error) {
	value := s.secret.Bytes(pkcs11.CKA_VALUE)
	for _, p := range secretProofs {
		if p.key != s.keyType() || !s.flag(p.usage) || !s.allows(p.m) {
			continue
		}
		data := make([]byte, p.len)
		rand.Read(data)
		theirs, err := m.theirs(s, p, value, data)
		if err != nil {
			continue
		}
		ours, err := m.compute(ctx, p.kind, p.m, o, data)
		if fatal(err) {
			return "", err
		}
		if err != nil {
			continue // such as a policy without this mechanism
		}
		if !sameSecret(ours, theirs) {
			return "", errDiffers
		}
		return p.m.String(), nil
	}
	return m.sameCheckValue(ctx, o, s, value)
}

// theirs is what the source's key makes of the data.
func (m *mover) theirs(s *subject, p secretProof, value, data []byte) ([]byte, error) {
	switch {
	case value == nil:
		return m.src.use(s.foreign, p.kind, p.m, data)
	case p.by == nil:
		return nil, errUnproven
	}
	return p.by(value, data)
}

// sameCheckValue compares CKA_CHECK_VALUE, three bytes. Where the value is known it is computed anew, for sources differ in
// what they take for it.
func (m *mover) sameCheckValue(ctx context.Context, o object, s *subject, value []byte) (string, error) {
	theirs := s.attrs.Bytes(pkcs11.CKA_CHECK_VALUE)
	if value != nil {
		theirs = checkValue(s.keyType(), value)
	}
	full, err := m.read(ctx, o.ref, []pkcs11.AttributeType{pkcs11.CKA_CHECK_VALUE})
	if err != nil {
		return "", err
	}
	ours := full.attrs.Bytes(pkcs11.CKA_CHECK_VALUE)
	switch {
	case len(theirs) == 0 || len(ours) == 0:
		return "", errUnproven
	case !sameSecret(ours, theirs):
		return "", errDiffers
	}
	return "check value", nil
}

// checkValue is what PKCS#11 v3.2, 4.10.2, says: of a block cipher's key the encryption of a block of zeros, of another one
// the SHA-1 of the value, cut to three bytes.
func checkValue(kt pkcs11.KeyType, value []byte) []byte {
	switch kt {
	case pkcs11.CKK_AES:
		b, _ := blockOf(aes.NewCipher)(value, make([]byte, aes.BlockSize))
		return b[:min(3, len(b))]
	case pkcs11.CKK_DES3:
		b, _ := blockOf(des.NewTripleDESCipher)(value, make([]byte, des.BlockSize))
		return b[:min(3, len(b))]
	}
	for _, p := range secretProofs {
		if p.key == kt {
			sum := sha1.Sum(value)
			return sum[:3]
		}
	}
	return nil
}
