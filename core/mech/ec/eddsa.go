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
	return &eddsaSigner{gathered, key, o}, nil
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
	return &eddsaVerifier{gathered, key, o}, nil
}

// gathered is for the parts: a message is hashed twice, so that it must be whole.
var gathered = modes.Gather{Excess: pkcs11.CKR_DATA_LEN_RANGE}

type eddsaSigner struct {
	modes.Gather
	key *privateKey
	scheme
}

func (s *eddsaSigner) Size() int { return s.key.signatureLen() }

func (s *eddsaSigner) Update(part []byte) error { return s.Add(part) }

func (s *eddsaSigner) Finish(dst, part []byte) ([]byte, error) {
	message, err := s.All(part)
	if err != nil {
		return nil, err
	}
	sig, err := s.key.arith.sign(s.key, s.scheme, message)
	if err != nil {
		return nil, err
	}
	return append(dst, sig...), nil
}

type eddsaVerifier struct {
	modes.Gather
	key *publicKey
	scheme
}

func (v *eddsaVerifier) Update(part []byte) error { return v.Add(part) }

func (v *eddsaVerifier) Verify(part, sig []byte) error {
	if len(sig) != v.key.signatureLen() {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), v.key.signatureLen())
	}
	message, err := v.All(part)
	if err != nil {
		return err
	}
	return valid(v.key.arith.verify(v.key, v.scheme, message, sig))
}

// valid is the answer of a verification.
func valid(good bool, err error) error {
	if err == nil && !good {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return err
}
