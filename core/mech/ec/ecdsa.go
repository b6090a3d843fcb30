package ec

import (
	"crypto/ecdsa"
	"crypto/rand"
	"math/big"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ecdsaSign signs with ECDSA; h is nil for CKM_ECDSA, whose data is the digest itself, cut to the order's length if it is
// longer (FIPS 186-5, 6.4.1). A signature is r || s, each as long as the order.
func ecdsaSign(h *hashes.Hash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		priv, err := privateOf(k)
		if err != nil {
			return nil, err
		}
		key, ok := priv.key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, wrongKey(priv.key)
		}
		size := priv.scalarLen
		return hashes.NewSigner(h, 2*size, func(digest []byte) ([]byte, error) {
			if err := checkDigest(digest); err != nil {
				return nil, err
			}
			r, s, err := ecdsa.Sign(rand.Reader, key, digest)
			if err != nil {
				return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDSA: %w", err)
			}
			out := make([]byte, 2*size)
			r.FillBytes(out[:size])
			s.FillBytes(out[size:])
			return out, nil
		}), nil
	}
}

// ecdsaVerify also takes an r || s that is shorter than twice the order, which the standard allows as long as both halves
// are of one length: SunPKCS11 leaves out leading zeros.
func ecdsaVerify(h *hashes.Hash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		pub, err := publicOf(k)
		if err != nil {
			return nil, err
		}
		key, ok := pub.key.(*ecdsa.PublicKey)
		if !ok {
			return nil, wrongKey(pub.key)
		}
		return hashes.NewVerifier(h, func(digest, sig []byte) error {
			if n := len(sig); n == 0 || n%2 != 0 || n > 2*pub.scalarLen {
				return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", n, 2*pub.scalarLen)
			}
			if err := checkDigest(digest); err != nil {
				return err
			}
			r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
			if !ecdsa.Verify(key, digest, r, s) {
				return pkcs11.CKR_SIGNATURE_INVALID
			}
			return nil
		}), nil
	}
}

// checkDigest refuses empty data. It would count as the number zero, for which anybody can make a signature.
func checkDigest(digest []byte) error {
	if len(digest) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "nothing to sign")
	}
	return nil
}

func wrongKey(key any) error {
	return pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T does not go with the mechanism", key)
}
