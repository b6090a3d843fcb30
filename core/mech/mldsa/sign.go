package mldsa

import (
	"crypto"
	"crypto/sha3"
	"hash"

	"filippo.io/mldsa/mldsacrypto"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// representative is the state of µ before the message (FIPS 204, algorithm 7, line 6). What is written before is what
// the message is bound to.
func (p *publicKey) representative(before ...[]byte) hash.Hash {
	h := sha3.NewSHAKE256()
	h.Write(p.tr[:])
	for _, b := range before {
		h.Write(b)
	}
	return postquantum.NewSHAKE(h, 64)
}

// ofDigest is µ of a message of which there is a digest (FIPS 204, algorithm 4).
func (p *publicKey) ofDigest(c postquantum.Context, h *postquantum.PreHash, digest []byte) []byte {
	return p.representative(c.Prefix(true), h.OID(), digest).Sum(nil)
}

// asMu tells the library that the message is its representative.
type asMu struct{}

func (asMu) HashFunc() crypto.Hash { return mldsacrypto.MLDSAMu }

// signMu signs a representative. A signature that does not verify, as one that a fault has touched, does not leave.
func (p *privateKey) signMu(mu []byte, deterministic bool) (sig []byte, err error) {
	if deterministic {
		sig, err = p.seeded.SignDeterministic(mu, asMu{})
	} else {
		sig, err = p.seeded.Sign(nil, mu, asMu{})
	}
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ML-DSA: %w", err)
	}
	if !p.verifyMu(mu, sig) {
		return nil, errFault
	}
	return sig, nil
}

var errFault = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "a new signature does not verify: a fault in the computation")

// signWhole signs a message with a key in the expanded form.
func (p *privateKey) signWhole(c postquantum.Context, message []byte) ([]byte, error) {
	sig := make([]byte, p.signatureLen())
	if err := p.signExpanded(p.expanded, message, c.Bytes, !c.Deterministic, sig); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ML-DSA: %w", err)
	}
	if !p.verifyMu(p.representative(c.Prefix(false), message).Sum(nil), sig) {
		return nil, errFault
	}
	return sig, nil
}

// withSeed refuses a key that cannot sign a representative.
func (p *privateKey) withSeed() error {
	if p.seeded == nil {
		return pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "the key came without CKA_SEED: it signs with CKM_ML_DSA alone")
	}
	return nil
}

func signMessage(k mech.Key, param any) (mech.Signer, error) {
	c, err := postquantum.ContextOf(param, false)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	if key.seeded == nil {
		return modes.WholeSigner(key.signatureLen(), func(message []byte) ([]byte, error) { return key.signWhole(c, message) }), nil
	}
	return newSigner(key.representative(c.Prefix(false)), key.signatureLen(), func(mu []byte) ([]byte, error) {
		return key.signMu(mu, c.Deterministic)
	}), nil
}

func verifyMessage(k mech.Key, param any) (mech.Verifier, error) {
	c, err := postquantum.ContextOf(param, true)
	if err != nil {
		return nil, err
	}
	key, err := publicOf(k)
	if err != nil {
		return nil, err
	}
	return newVerifier(key.representative(c.Prefix(false)), func(mu, sig []byte) error { return key.check(mu, sig) }), nil
}

// hashSign is the constructor of the rows that hash.
func hashSign(h *postquantum.PreHash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		c, err := postquantum.ContextOf(param, false)
		if err != nil {
			return nil, err
		}
		key, err := privateOf(k)
		if err == nil {
			err = key.withSeed()
		}
		if err != nil {
			return nil, err
		}
		finish := func(digest []byte) ([]byte, error) {
			return key.signMu(key.ofDigest(c, h, digest), c.Deterministic)
		}
		if row := h.Hash(); row != nil {
			return hashes.NewSigner(row, key.signatureLen(), finish), nil
		}
		return newSigner(h.New(), key.signatureLen(), finish), nil
	}
}

func hashVerify(h *postquantum.PreHash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		c, err := postquantum.ContextOf(param, true)
		if err != nil {
			return nil, err
		}
		key, err := publicOf(k)
		if err != nil {
			return nil, err
		}
		finish := func(digest, sig []byte) error { return key.check(key.ofDigest(c, h, digest), sig) }
		if row := h.Hash(); row != nil {
			return hashes.NewVerifier(row, finish), nil
		}
		return newVerifier(h.New(), finish), nil
	}
}

// signDigest signs data that are a digest already. PKCS#11 v3.2, HashML-DSA signature.
func signDigest(k mech.Key, param any) (mech.Signer, error) {
	c, h, err := postquantum.HashedContextOf(param, false)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err == nil {
		err = key.withSeed()
	}
	if err != nil {
		return nil, err
	}
	return hashes.NewSigner(nil, key.signatureLen(), func(digest []byte) ([]byte, error) {
		if err := h.CheckDigest(digest); err != nil {
			return nil, err
		}
		return key.signMu(key.ofDigest(c, h, digest), c.Deterministic)
	}), nil
}

func verifyDigest(k mech.Key, param any) (mech.Verifier, error) {
	c, h, err := postquantum.HashedContextOf(param, true)
	if err != nil {
		return nil, err
	}
	key, err := publicOf(k)
	if err != nil {
		return nil, err
	}
	return hashes.NewVerifier(nil, func(digest, sig []byte) error {
		if err := h.CheckDigest(digest); err != nil {
			return err
		}
		return key.check(key.ofDigest(c, h, digest), sig)
	}), nil
}

// check verifies a signature of a representative.
func (p *publicKey) check(mu, sig []byte) error {
	if len(sig) != p.signatureLen() {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), p.signatureLen())
	}
	if !p.verifyMu(mu, sig) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}
