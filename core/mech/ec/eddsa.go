package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// scheme says which of the schemes of RFC 8032 is meant. It is the zero value for ECDSA.
type scheme struct {
	prehash bool   // Ed25519ph, Ed448ph
	context string // Ed25519ctx, and any of Curve448's
}

// schemeOf reads the parameter. PKCS#11 v3.2, EdDSA: without one, or with one that asks for nothing, Ed25519 or Ed448;
// with a context Ed25519ctx or Ed448; with the flag Ed25519ph or Ed448ph.
func schemeOf(param any) (scheme, error) {
	if param == nil {
		return scheme{}, nil
	}
	p, ok := param.(*pkcs11.EdDSAParams)
	if !ok || p == nil {
		return scheme{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "EdDSA takes CK_EDDSA_PARAMS or nothing, got %T", param)
	}
	if n := len(p.ContextData); n > 255 {
		return scheme{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a context of %d bytes, at most 255 are allowed", n)
	}
	return scheme{p.PhFlag, string(p.ContextData)}, nil
}

func eddsaSign(k mech.Key, param any) (mech.Signer, error) {
	o, err := schemeOf(param)
	if err != nil {
		return nil, err
	}
	key, err := privateFor(k, pkcs11.CKK_EC_EDWARDS)
	if err != nil {
		return nil, err
	}
	return modes.WholeSigner(key.signatureLen(), func(data []byte) ([]byte, error) {
		return key.arith.sign(key, o, data)
	}), nil
}

func eddsaVerify(k mech.Key, param any) (mech.Verifier, error) {
	o, err := schemeOf(param)
	if err != nil {
		return nil, err
	}
	key, err := publicFor(k, pkcs11.CKK_EC_EDWARDS)
	if err != nil {
		return nil, err
	}
	return modes.WholeVerifier(func(data, sig []byte) error {
		if len(sig) != key.signatureLen() {
			return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), key.signatureLen())
		}
		return valid(key.arith.verify(key, o, data, sig))
	}), nil
}

// valid is the answer of a verification.
func valid(good bool, err error) error {
	if err == nil && !good {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return err
}
