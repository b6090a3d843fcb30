package rsa

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// RFC 8017, 7.2.1 and 9.2: three fixed bytes and at least eight of padding.
const pkcs1Overhead = 11

// pkcs1Scheme is RSAES-PKCS1-v1_5 (RFC 8017, 7.2).
type pkcs1Scheme struct{}

func newPKCS1(param any) (scheme, error) { return pkcs1Scheme{}, noParam(param) }

func (pkcs1Scheme) fits(*publicKey) error     { return nil }
func (pkcs1Scheme) plainLen(k *publicKey) int { return k.size - pkcs1Overhead }
func (pkcs1Scheme) plainExact() bool          { return false }

func (pkcs1Scheme) encrypt(k *publicKey, plain []byte) ([]byte, error) {
	if limit := k.size - pkcs1Overhead; len(plain) > limit {
		return nil, dataTooLong(len(plain), limit)
	}
	out, err := rsa.EncryptPKCS1v15(rand.Reader, k.std, plain) //nolint:staticcheck // the standard has the mechanism
	return out, failed(err)
}

// decrypt relies on crypto/rsa to look for the padding without a branch that depends on it. The verdict itself is the
// oracle of Bleichenbacher's attack, which no implementation of this mechanism can avoid.
func (pkcs1Scheme) decrypt(k *privateKey, ciphertext []byte) ([]byte, error) {
	out, err := rsa.DecryptPKCS1v15(nil, k.std, ciphertext) //nolint:staticcheck // the standard has the mechanism
	if err != nil {
		return nil, errDecrypt
	}
	return out, nil
}

// failed gives an error of crypto/rsa that our own checks should have prevented a return value.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rsa.ErrMessageTooLong):
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "%w", err)
	case errors.Is(err, rsa.ErrDecryption):
		return errFault // crypto/rsa checked its own result with the public key
	}
	return pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "%w", err)
}

// signPKCS1 is RSASSA-PKCS1-v1_5 (RFC 8017, 8.2). Without a hash the data takes the place of the DigestInfo.
func (k *privateKey) signPKCS1(h crypto.Hash, data []byte) ([]byte, error) {
	if err := k.pkcs1Fits(h, data); err != nil {
		return nil, err
	}
	if k.fast != nil {
		if em, ok := k.encodePKCS1(h, data); ok {
			return k.signRaw(em)
		}
	}
	h, data = named(h, data)
	out, err := rsa.SignPKCS1v15(nil, k.std, h, data)
	return out, failed(err)
}

// verifyPKCS1 builds what the signature should hold and compares the whole, so that there is no parser to fool.
func (k *publicKey) verifyPKCS1(h crypto.Hash, data, signature []byte) error {
	if len(signature) != k.size {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(signature), k.size)
	}
	if err := k.pkcs1Fits(h, data); err != nil {
		return err
	}
	h, data = named(h, data)
	if rsa.VerifyPKCS1v15(k.std, h, data, signature) != nil {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

// pkcs1Fits checks the data's length. With a hash it is the digest's, and the shortest key has room for each: a
// DigestInfo has at most 83 bytes.
func (k *publicKey) pkcs1Fits(h crypto.Hash, data []byte) error {
	if h != 0 && len(data) != h.Size() {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "a digest of %d bytes, expected %d", len(data), h.Size())
	}
	if limit := k.size - pkcs1Overhead; len(data) > limit {
		return dataTooLong(len(data), limit)
	}
	return nil
}

func hashID(h *hashes.Hash) crypto.Hash {
	if h == nil {
		return 0
	}
	return h.ID
}

func pkcs1Sign(h *hashes.Hash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		key, err := plainPrivate(k, param)
		if err != nil {
			return nil, err
		}
		return hashes.NewSigner(h, key.size, func(data []byte) ([]byte, error) { return key.signPKCS1(hashID(h), data) }), nil
	}
}

func pkcs1Verify(h *hashes.Hash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		key, err := plainPublic(k, param)
		if err != nil {
			return nil, err
		}
		return hashes.NewVerifier(h, func(data, sig []byte) error { return key.verifyPKCS1(hashID(h), data, sig) }), nil
	}
}

func pkcs1SignRecover(k mech.Key, param any) (mech.Cipher, error) {
	key, err := plainPrivate(k, param)
	if err != nil {
		return nil, err
	}
	return &onePart{size: key.size, exact: true, run: func(in []byte) ([]byte, error) { return key.signPKCS1(0, in) }}, nil
}

func pkcs1VerifyRecover(k mech.Key, param any) (mech.Cipher, error) {
	key, err := plainPublic(k, param)
	if err != nil {
		return nil, err
	}
	return &onePart{size: key.size - pkcs1Overhead, run: key.recoverPKCS1}, nil
}

// recoverPKCS1 takes the data out of EM = 00 01 FF..FF 00 data, with eight or more FF (RFC 8017, 9.2). Everything here
// is public.
func (k *publicKey) recoverPKCS1(signature []byte) ([]byte, error) {
	em, err := k.open(signature)
	if err != nil {
		return nil, err
	}
	if em[0] != 0 || em[1] != 1 {
		return nil, pkcs11.CKR_SIGNATURE_INVALID
	}
	i := 2
	for i < len(em) && em[i] == 0xff {
		i++
	}
	if i < pkcs1Overhead-1 || i == len(em) || em[i] != 0 {
		return nil, pkcs11.CKR_SIGNATURE_INVALID
	}
	return em[i+1:], nil
}
