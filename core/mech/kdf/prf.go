package kdf

import (
	"crypto/hmac"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// prf is a pseudorandom function with its key.
type prf struct {
	size int // bytes of output
	// sum returns the output for the concatenation of the parts, in memory of its own.
	sum func(parts ...[]byte) ([]byte, error)
}

// prfOf returns the function that a MAC mechanism is, under a key: an HMAC takes generic secrets, HKDF keys and its own,
// CMAC takes AES keys.
func prfOf(m pkcs11.MechanismType, k mech.Key) (*prf, error) {
	h := hashes.ByHMAC(m)
	switch t := k.Type(); {
	case h == nil && m != pkcs11.CKM_AES_CMAC:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v is no pseudorandom function here", m)
	case h == nil && t != pkcs11.CKK_AES, h != nil && t != pkcs11.CKK_GENERIC_SECRET && t != pkcs11.CKK_HKDF && (h.KeyType == 0 || t != h.KeyType):
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "%v does not work with a %v", m, t)
	}
	key, err := value(k)
	if err != nil {
		return nil, err
	}
	if h != nil {
		return hmacUnder(h, key), nil
	}
	row := cmacRow()
	if _, err := row.Sign(k, nil); err != nil {
		return nil, err
	}
	return &prf{16, func(parts ...[]byte) ([]byte, error) {
		s, err := row.Sign(k, nil)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		for _, p := range parts {
			if err := s.Update(p); err != nil {
				return nil, err
			}
		}
		return s.Finish(nil, nil)
	}}, nil
}

// hmacUnder returns HMAC under a key of any bytes. What it was given is overwritten by the padded key.
func hmacUnder(h *hashes.Hash, key []byte) *prf {
	mac := hmac.New(h.New, key)
	return &prf{h.Size(), func(parts ...[]byte) ([]byte, error) {
		defer mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil), nil
	}}
}

// cmacRow is the row of AES-CMAC.
func cmacRow() *mech.Mechanism {
	for i := range aes.Family.Mechanisms {
		if m := &aes.Family.Mechanisms[i]; m.Type == pkcs11.CKM_AES_CMAC {
			return m
		}
	}
	panic("aes has no CMAC")
}
