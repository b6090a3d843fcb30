package aes

import (
	"crypto/cipher"
	"math"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// CCM returns a key's counter with CBC-MAC (RFC 3610) for nonces of 7 to 13 bytes and tags of 4 to 16, an even number;
// CKR_MECHANISM_PARAM_INVALID for others. It may be used by many goroutines at once. No more than modes.MaxCCM bytes are
// sealed at once.
func CCM(k mech.Key, nonce, tag int) (cipher.AEAD, error) {
	b, err := base.Block(k)
	if err != nil {
		return nil, err
	}
	aead, ok := modes.NewCCM(b, nonce, tag)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID,
			"a nonce of %d bytes and a MAC of %d; want 7 to 13, and 4 to 16 in steps of two", nonce, tag)
	}
	return aead, nil
}

// ccmMode reads CK_CCM_PARAMS. The length that is announced there is part of what the tag protects.
func ccmMode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := modes.StructParam[pkcs11.CCMParams](param)
		if err != nil {
			return nil, err
		}
		if p.MACLen > 16 || len(p.Nonce) > 13 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a nonce of %d bytes and a MAC of %d", len(p.Nonce), p.MACLen)
		}
		aead, err := CCM(k, len(p.Nonce), int(p.MACLen))
		if err != nil {
			return nil, err
		}
		if uint64(p.DataLen) > modes.MaxCCM(len(p.Nonce)) || p.DataLen > math.MaxInt {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes of data are more than a nonce of %d bytes leaves room to count",
				p.DataLen, len(p.Nonce))
		}
		return modes.NewAEAD(aead, p.Nonce, p.AAD, int(p.DataLen), decrypt), nil
	}
}

// keyLength has CCM wrap and unwrap by the length that the key has: whoever wraps a private key cannot know it, so the
// parameter's is not looked at.
func keyLength(m mech.Mechanism) mech.Mechanism {
	wrap, unwrap := m.Wrap, m.Unwrap
	of := func(param any, n int) any {
		p, ok := param.(*pkcs11.CCMParams)
		if !ok || p == nil {
			return param
		}
		q := *p
		q.DataLen = uint(max(n, 0))
		return &q
	}
	m.Wrap = func(k mech.Key, param any, plain []byte) ([]byte, error) {
		return wrap(k, of(param, len(plain)), plain)
	}
	m.Unwrap = func(k mech.Key, param any, wrapped []byte) ([]byte, error) {
		tag := 0
		if p, ok := param.(*pkcs11.CCMParams); ok && p != nil {
			tag = int(min(p.MACLen, 16))
		}
		return unwrap(k, of(param, len(wrapped)-tag), wrapped)
	}
	return m
}
