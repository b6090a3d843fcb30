package ec

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// derive is ECDH with one of the key derivation functions. PKCS#11 v3.2, Elliptic curve Diffie-Hellman key derivation.
//
// With CKD_NULL the result is the shared x coordinate, of which the standard keeps the last bytes if fewer are wanted.
// With a KDF there is no natural length.
func derive(k mech.Key, param any, size int) ([]byte, error) {
	p, ok := param.(*pkcs11.ECDH1DeriveParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "ECDH needs CK_ECDH1_DERIVE_PARAMS, got %T", param)
	}
	kdf, err := kdfOf(p)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	agree, err := agreement(k, key)
	if err != nil {
		return nil, err
	}
	z, err := agree(p.PublicData)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the other party's public key: %w", err)
	}
	defer secret.Wipe(z)
	return kdf(z, size)
}

type kdf func(z []byte, size int) ([]byte, error)

func kdfOf(p *pkcs11.ECDH1DeriveParams) (kdf, error) {
	if p.KDF == pkcs11.CKD_NULL {
		if len(p.SharedData) > 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "CKD_NULL takes no shared data")
		}
		return last, nil
	}
	run := (*hashes.Hash).DeriveX963
	h := hashes.ByKDF(p.KDF)
	if h == nil {
		run, h = (*hashes.Hash).DeriveSP800, hashes.ByKDFSP800(p.KDF)
	}
	if h == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "key derivation function %#x", uint(p.KDF))
	}
	return func(z []byte, size int) ([]byte, error) {
		if size == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is needed: the key derivation function gives any length")
		}
		return run(h, z, p.SharedData, size)
	}, nil
}

// last is CKD_NULL.
func last(z []byte, size int) ([]byte, error) {
	if size == 0 {
		size = len(z)
	}
	if size < 0 || size > len(z) {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bytes wanted, the shared secret has %d", size, len(z))
	}
	return append([]byte{}, z[len(z)-size:]...), nil
}

// agreement returns a function from the other party's public key, in any accepted form, to the shared secret. The secret
// is the caller's to wipe.
func agreement(k mech.Key, key *privateKey) (func(public []byte) ([]byte, error), error) {
	own, err := agreementKey(k, key)
	if err != nil {
		return nil, err
	}
	return func(public []byte) ([]byte, error) {
		bare, err := key.barePoint(public)
		if err != nil {
			return nil, err
		}
		if own == nil {
			return agreeP224(key, bare)
		}
		peer, err := own.Curve().NewPublicKey(bare)
		if err != nil {
			return nil, err
		}
		return own.ECDH(peer) // refuses an X25519 result of zero
	}, nil
}

// agreementKey is the key in crypto/ecdh's form; nil for P-224, which that package does not have.
func agreementKey(k mech.Key, key *privateKey) (*ecdh.PrivateKey, error) {
	switch own := key.key.(type) {
	case *ecdh.PrivateKey:
		return own, nil
	case *ecdsa.PrivateKey:
		if own.Curve == elliptic.P224() {
			return nil, nil
		}
		x, err := k.Expanded(mech.SlotECDH, func() (any, error) { return own.ECDH() })
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDH: %w", err)
		}
		if e, ok := x.(*ecdh.PrivateKey); ok {
			return e, nil
		}
		return nil, wrongKey(x)
	}
	return nil, wrongKey(key.key)
}

// agreeP224 multiplies with the deprecated interface of crypto/elliptic. For a scalar of full length that one does
// nothing but call the same constant-time code that crypto/ecdsa uses for this curve; the point has been checked before,
// and since the order is prime and the scalar below it, the result is not the point at infinity.
func agreeP224(key *privateKey, bare []byte) ([]byte, error) {
	own, ok := key.key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, wrongKey(key.key)
	}
	peer, err := ecdsa.ParseUncompressedPublicKey(elliptic.P224(), bare)
	if err != nil {
		return nil, err
	}
	scalar, err := own.Bytes()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(scalar)
	x, _ := elliptic.P224().ScalarMult(peer.X, peer.Y, scalar) //nolint:staticcheck // see above
	return x.FillBytes(make([]byte, key.scalarLen)), nil
}
