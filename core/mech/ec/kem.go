package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ECDH as a key encapsulation (PKCS#11 v3.2, Elliptic curve Diffie-Hellman key derivation): the ciphertext is the bare
// public point of a key pair that lives as long as the call.

// kemParam is derive's parameter without the other party's key: the function's own arguments bring that.
func kemParam(param any) (*pkcs11.ECDH1DeriveParams, error) {
	p, ok := param.(*pkcs11.ECDH1DeriveParams)
	switch {
	case !ok || p == nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "ECDH needs CK_ECDH1_DERIVE_PARAMS, got %T", param)
	case len(p.PublicData) > 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "pPublicData is NULL for encapsulation")
	}
	return p, nil
}

func encapsulate(k mech.Key, param any, size int) (value, ciphertext []byte, err error) {
	p, err := kemParam(param)
	if err != nil {
		return nil, nil, err
	}
	kdf, err := kdfOf(p)
	if err != nil {
		return nil, nil, err
	}
	public, err := publicOf(k)
	if err != nil {
		return nil, nil, err
	}
	made, err := public.arith.generate(public.curve)
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
	}
	own := &privateKey{public.curve, made}
	defer own.Wipe()
	point, err := own.point()
	if err != nil {
		return nil, nil, err
	}
	z, err := own.shared(ephemeral{k}, k.Bytes(pkcs11.CKA_EC_POINT))
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDH: %w", err)
	}
	defer secret.Wipe(z)
	if value, err = kdf(z, size); err != nil {
		return nil, nil, err
	}
	return value, point, nil
}

func decapsulate(k mech.Key, param any, ciphertext []byte, size int) ([]byte, error) {
	p, err := kemParam(param)
	if err != nil {
		return nil, err
	}
	kdf, err := kdfOf(p)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) != key.pointLen {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "%d bytes, a point of this curve has %d", len(ciphertext), key.pointLen)
	}
	z, err := key.shared(k, ciphertext)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "the ciphertext: %w", err)
	}
	defer secret.Wipe(z)
	return kdf(z, size)
}

// ciphertextLen is a bare point's length.
func ciphertextLen(k mech.Key, param any) (int, error) {
	p, err := kemParam(param)
	if err != nil {
		return 0, err
	}
	if _, err := kdfOf(p); err != nil {
		return 0, err
	}
	public, err := publicOf(k)
	if err != nil {
		return 0, err
	}
	return public.pointLen, nil
}

// ephemeral stands for a private key that is used once: its forms are kept nowhere.
type ephemeral struct{ mech.Key }

func (ephemeral) Expanded(_ mech.Slot, build func() (any, error)) (any, error) { return build() }
