package ec

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// eddsaOptions says which of the three schemes of RFC 8032 is meant: without a parameter, or with one that asks for
// nothing, Ed25519; with a context Ed25519ctx; with the flag Ed25519ph. PKCS#11 v3.2, EdDSA.
func eddsaOptions(param any) (*ed25519.Options, error) {
	if param == nil {
		return &ed25519.Options{}, nil
	}
	p, ok := param.(*pkcs11.EdDSAParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "EdDSA takes CK_EDDSA_PARAMS or nothing, got %T", param)
	}
	if n := len(p.ContextData); n > 255 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a context of %d bytes, at most 255 are allowed", n)
	}
	o := &ed25519.Options{Context: string(p.ContextData)}
	if p.PhFlag {
		o.Hash = crypto.SHA512
	}
	return o, nil
}

// message is what is signed: the data, or its hash for Ed25519ph.
func message(o *ed25519.Options, data []byte) []byte {
	if o.Hash == 0 {
		return data
	}
	digest := sha512.Sum512(data)
	return digest[:]
}

func eddsaSign(k mech.Key, param any) (mech.Signer, error) {
	o, err := eddsaOptions(param)
	if err != nil {
		return nil, err
	}
	priv, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	key, ok := priv.key.(ed25519.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	return hashes.NewSigner(nil, ed25519.SignatureSize, func(data []byte) ([]byte, error) {
		sig, err := key.Sign(nil, message(o, data), o)
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "EdDSA: %w", err)
		}
		return sig, nil
	}), nil
}

func eddsaVerify(k mech.Key, param any) (mech.Verifier, error) {
	o, err := eddsaOptions(param)
	if err != nil {
		return nil, err
	}
	pub, err := publicOf(k)
	if err != nil {
		return nil, err
	}
	key, ok := pub.key.(ed25519.PublicKey)
	if !ok {
		return nil, wrongKey(pub.key)
	}
	return hashes.NewVerifier(nil, func(data, sig []byte) error {
		if len(sig) != ed25519.SignatureSize {
			return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), ed25519.SignatureSize)
		}
		if ed25519.VerifyWithOptions(key, message(o, data), sig, o) != nil {
			return pkcs11.CKR_SIGNATURE_INVALID
		}
		return nil
	}), nil
}
