package ec

import (
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
	z, err := key.shared(k, p.PublicData)
	if err != nil {
		return nil, err
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

// shared returns the secret that the key shares with the holder of a public point, in any accepted form. The secret is
// the caller's to wipe.
func (key *privateKey) shared(k mech.Key, public []byte) ([]byte, error) {
	if key.arith.agree == nil {
		return nil, wrongKey(key.key)
	}
	bare, err := key.barePoint(public)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the other party's public key: %w", err)
	}
	z, err := key.arith.agree(k, key, bare)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the other party's public key: %w", err)
	}
	return z, nil
}
