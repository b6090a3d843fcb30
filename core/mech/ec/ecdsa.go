package ec

import (
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
		key, err := privateFor(k, pkcs11.CKK_EC)
		if err != nil {
			return nil, err
		}
		return hashes.NewSigner(h, key.signatureLen(), func(digest []byte) ([]byte, error) {
			if err := checkDigest(digest); err != nil {
				return nil, err
			}
			return key.arith.sign(key, scheme{}, digest)
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
		key, err := publicFor(k, pkcs11.CKK_EC)
		if err != nil {
			return nil, err
		}
		return hashes.NewVerifier(h, func(digest, sig []byte) error {
			if n := len(sig); n == 0 || n%2 != 0 || n > key.signatureLen() {
				return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", n, key.signatureLen())
			}
			if err := checkDigest(digest); err != nil {
				return err
			}
			return valid(key.arith.verify(key, scheme{}, digest, sig))
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
