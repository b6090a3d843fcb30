package rsa

import (
	"crypto/rand"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// CKM_RSA_AES_KEY_WRAP: the target key under AES-KWP with an AES key made for the occasion, and that one under OAEP in
// front of it. PKCS#11 v3.2, RSA AES KEY WRAP.

// aesWrapParams checks the parameter and returns the AES key's length in bytes.
func aesWrapParams(param any) (size int, oaep any, err error) {
	p, ok := param.(*pkcs11.RSAAESKeyWrapParams)
	if !ok || p == nil || p.OAEP == nil {
		return 0, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "CK_RSA_AES_KEY_WRAP_PARAMS with OAEP parameters needed, got %T", param)
	}
	switch p.AESKeyBits {
	case 128, 192, 256:
		return int(p.AESKeyBits / 8), p.OAEP, nil
	}
	return 0, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "an AES key of %d bits", p.AESKeyBits)
}

func aesWrap(k mech.Key, param any, plain []byte) ([]byte, error) {
	size, oaep, err := aesWrapParams(param)
	if err != nil {
		return nil, err
	}
	kek := make([]byte, size)
	defer secret.Wipe(kek)
	rand.Read(kek)
	out, err := wrapper(newOAEP)(k, oaep, kek)
	if err != nil {
		return nil, err
	}
	body, err := aes.WrapKWP(kek, plain)
	if err != nil {
		return nil, err
	}
	return append(out, body...), nil
}

func aesUnwrap(k mech.Key, param any, wrapped []byte) ([]byte, error) {
	size, oaep, err := aesWrapParams(param)
	if err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	if len(wrapped) <= key.size {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "%d bytes, expected more than %d", len(wrapped), key.size)
	}
	kek, err := unwrapper(newOAEP)(k, oaep, wrapped[:key.size])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(kek)
	if len(kek) != size {
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
	}
	plain, err := aes.UnwrapKWP(kek, wrapped[key.size:])
	if err != nil {
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
	}
	return plain, nil
}
