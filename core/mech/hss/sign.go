package hss

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// signer signs with the index that it was given.
type signer struct {
	*hashes.Signer
	index *uint64
}

// UseIndex implements mech.Indexed.
func (s *signer) UseIndex(index uint64) { *s.index = index }

const noIndex = ^uint64(0)

func sign(k mech.Key, param any) (mech.Signer, error) {
	if err := noParam(param); err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	index := noIndex
	return &signer{hashes.NewSigner(nil, key.signatureLen(), func(data []byte) ([]byte, error) {
		use := index
		index = noIndex
		if use >= key.capacity() {
			return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a signature without an index that was reserved for it")
		}
		sig := key.sign(use, data)
		p, err := parsePublic(key.public())
		if err != nil || !p.verify(data, sig) {
			return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "a new signature does not verify: a fault in the computation")
		}
		return sig, nil
	}), &index}, nil
}

func verify(k mech.Key, param any) (mech.Verifier, error) {
	if err := noParam(param); err != nil {
		return nil, err
	}
	key, err := publicOf(k)
	if err != nil {
		return nil, err
	}
	return hashes.NewVerifier(nil, func(data, sig []byte) error {
		if least, most := key.signatureLens(); len(sig) < least || len(sig) > most {
			return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d to %d", len(sig), least, most)
		}
		if !key.verify(data, sig) {
			return pkcs11.CKR_SIGNATURE_INVALID
		}
		return nil
	}), nil
}
