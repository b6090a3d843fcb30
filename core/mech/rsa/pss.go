package rsa

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// pss is RSASSA-PSS (RFC 8017, 8.1) for one key. crypto/rsa has it for one and the same hash in both places only; one
// encoding of ours serves all combinations. Nothing in it is secret: the salt can be read from the signature.
type pss struct {
	hash, mgf *hashes.Hash
	salt      int // length in bytes
	bits      int // of the encoded message: one less than the modulus
}

// newPSS checks the parameter. h is the hash of a hashing mechanism, which the parameter has to name, or nil.
func newPSS(h *hashes.Hash, param any, k *publicKey) (*pss, error) {
	p, ok := param.(*pkcs11.PSSParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "PSS needs CK_RSA_PKCS_PSS_PARAMS, got %T", param)
	}
	s := &pss{hash: hashOf(p.HashAlg), mgf: hashes.ByMGF(p.MGF), bits: k.std.N.BitLen() - 1}
	if s.hash == nil || s.mgf == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "PSS with hash %v and MGF %#x", p.HashAlg, uint(p.MGF))
	}
	if h != nil && h != s.hash {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the parameter names %v, the mechanism hashes with %v", s.hash, h)
	}
	room := s.len() - s.hash.Size() - 2
	if room < 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes is too short for PSS with %v", k.size, s.hash)
	}
	if p.SaltLen > uint(room) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a salt of %d bytes, at most %d fit", p.SaltLen, room)
	}
	s.salt = int(p.SaltLen)
	return s, nil
}

// len is the length of the encoded message; it is one byte shorter than the modulus if that has 8k+1 bits.
func (s *pss) len() int { return (s.bits + 7) / 8 }

// encode is EMSA-PSS-ENCODE of RFC 8017, 9.1.1, from step 3 on.
func (s *pss) encode(digest []byte) []byte {
	em := make([]byte, s.len())
	db, h := s.split(em)
	salt := db[len(db)-s.salt:]
	rand.Read(salt)
	copy(h, s.hash.Sum(make([]byte, 8), digest, salt))
	db[len(db)-s.salt-1] = 1
	s.mgf.XORMGF1(db, h)
	db[0] &= s.topMask()
	em[len(em)-1] = 0xbc
	return em
}

// matches is EMSA-PSS-VERIFY of RFC 8017, 9.1.2, from step 3 on. It changes em.
func (s *pss) matches(digest, em []byte) bool {
	db, h := s.split(em)
	if em[len(em)-1] != 0xbc || db[0]&^s.topMask() != 0 {
		return false
	}
	s.mgf.XORMGF1(db, h)
	db[0] &= s.topMask()
	zeros, salt := db[:len(db)-s.salt-1], db[len(db)-s.salt:]
	for _, b := range zeros {
		if b != 0 {
			return false
		}
	}
	if db[len(zeros)] != 1 {
		return false
	}
	return bytes.Equal(h, s.hash.Sum(make([]byte, 8), digest, salt))
}

func (s *pss) split(em []byte) (db, h []byte) {
	n := len(em) - s.hash.Size() - 1
	return em[:n:n], em[n : len(em)-1]
}

// topMask keeps those bits of the first byte that belong to the encoded message.
func (s *pss) topMask() byte { return 0xff >> (8*s.len() - s.bits) }

// standard is the options of crypto/rsa in FIPS mode, where the validated module signs and verifies whatever it can; else nil.
func (s *pss) standard() *rsa.PSSOptions {
	if !fips140.Enabled() || s.hash != s.mgf || s.salt == 0 || !s.hash.ID.Available() {
		return nil
	}
	return &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash.ID}
}

func (s *pss) sign(k *privateKey, digest []byte) ([]byte, error) {
	if err := s.checkDigest(digest); err != nil {
		return nil, err
	}
	if o := s.standard(); o != nil {
		out, err := rsa.SignPSS(rand.Reader, k.std, o.Hash, digest, o)
		return out, failed(err)
	}
	return k.signRaw(s.encode(digest))
}

func (s *pss) verify(k *publicKey, digest, signature []byte) error {
	if err := s.checkDigest(digest); err != nil {
		return err
	}
	if o := s.standard(); o != nil && len(signature) == k.size {
		if rsa.VerifyPSS(k.std, o.Hash, digest, signature, o) != nil {
			return pkcs11.CKR_SIGNATURE_INVALID
		}
		return nil
	}
	em, err := k.open(signature)
	if err != nil {
		return err
	}
	extra := k.size - s.len() // 0 or 1 byte before the encoded message, which has to be 0
	if extra == 1 && em[0] != 0 || !s.matches(digest, em[extra:]) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func (s *pss) checkDigest(digest []byte) error {
	if len(digest) != s.hash.Size() {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "a digest of %d bytes, %v has %d", len(digest), s.hash, s.hash.Size())
	}
	return nil
}

func pssSign(h *hashes.Hash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		key, err := privateOf(k)
		if err != nil {
			return nil, err
		}
		s, err := newPSS(h, param, &key.publicKey)
		if err != nil {
			return nil, err
		}
		return hashes.NewSigner(h, key.size, func(digest []byte) ([]byte, error) { return s.sign(key, digest) }), nil
	}
}

func pssVerify(h *hashes.Hash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		key, err := publicOf(k)
		if err != nil {
			return nil, err
		}
		s, err := newPSS(h, param, key)
		if err != nil {
			return nil, err
		}
		return hashes.NewVerifier(h, func(digest, signature []byte) error { return s.verify(key, digest, signature) }), nil
	}
}
