package rsa

import (
	"crypto/rand"
	"crypto/rsa"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// oaepScheme is RSAES-OAEP (RFC 8017, 7.1) with any hash, any MGF1 and any label.
type oaepScheme struct {
	options rsa.OAEPOptions
}

func newOAEP(param any) (scheme, error) {
	p, ok := param.(*pkcs11.OAEPParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "OAEP needs CK_RSA_PKCS_OAEP_PARAMS, got %T", param)
	}
	h, mgf := hashOf(p.HashAlg), hashes.ByMGF(p.MGF)
	if h == nil || mgf == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "OAEP with hash %v and MGF %#x", p.HashAlg, uint(p.MGF))
	}
	// Source 0 with no data is what a cleared structure holds; it says as clearly that there is no label.
	if p.Source != pkcs11.CKZ_DATA_SPECIFIED && (p.Source != 0 || len(p.SourceData) > 0) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "OAEP with source %#x", uint(p.Source))
	}
	return oaepScheme{rsa.OAEPOptions{Hash: h.ID, MGFHash: mgf.ID, Label: p.SourceData}}, nil
}

// hashOf finds the hash that a parameter names. BLAKE2b is not for RSA: nothing gives it a name there.
func hashOf(m pkcs11.MechanismType) *hashes.Hash {
	h := hashes.ByMechanism(m)
	if h != nil && h.Keyed != nil {
		return nil
	}
	return h
}

func (s oaepScheme) plainLen(k *publicKey) int { return k.size - 2*s.options.Hash.Size() - 2 }
func (s oaepScheme) plainExact() bool          { return false }

func (s oaepScheme) fits(k *publicKey) error {
	if s.plainLen(k) < 0 {
		return pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes is too short for OAEP with %v", k.size, s.options.Hash)
	}
	return nil
}

func (s oaepScheme) encrypt(k *publicKey, plain []byte) ([]byte, error) {
	if limit := s.plainLen(k); len(plain) > limit {
		return nil, dataTooLong(len(plain), limit)
	}
	out, err := rsa.EncryptOAEPWithOptions(rand.Reader, k.std, plain, &s.options)
	return out, failed(err)
}

// decrypt relies on crypto/rsa to decide about label hash, first byte and separator at once and in constant time
// (Manger's attack).
func (s oaepScheme) decrypt(k *privateKey, ciphertext []byte) ([]byte, error) {
	out, err := k.std.Decrypt(nil, ciphertext, &s.options)
	if err != nil {
		return nil, errDecrypt
	}
	return out, nil
}
