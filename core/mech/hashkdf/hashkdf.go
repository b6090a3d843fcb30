// Package hashkdf has the derivations of a key by hashing another key's value (PKCS#11 v3.2, SHA-1 key derivation and its
// like).
package hashkdf

import (
	"crypto/sha3"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the table of derivations by hashing.
var Family = mech.Family{Name: "hashkdf", Mechanisms: rows()}

// bases are the types of keys whose values are hashed.
func bases() []pkcs11.KeyType {
	return append(hashes.KeyTypes(), pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_AES, pkcs11.CKK_AES_XTS, pkcs11.CKK_CHACHA20, pkcs11.CKK_SALSA20,
		pkcs11.CKK_POLY1305, pkcs11.CKK_SHA512_T_HMAC)
}

func rows() []mech.Mechanism {
	var out []mech.Mechanism
	for _, h := range hashes.All {
		if h.KeyDerivation != 0 {
			m := row(h.KeyDerivation, func(param any) (*hashes.Hash, error) { return h, noParam(param) })
			m.Legacy = h.Legacy
			out = append(out, m)
		}
	}
	return append(out,
		row(pkcs11.CKM_SHA512_T_KEY_DERIVATION, func(param any) (*hashes.Hash, error) {
			t, ok := param.(pkcs11.MACGeneralParams)
			if !ok {
				return nil, wrongParam(param)
			}
			return hashes.SHA512T(uint(t))
		}),
		shake(pkcs11.CKM_SHAKE_128_KEY_DERIVATION, sha3.NewSHAKE128),
		shake(pkcs11.CKM_SHAKE_256_KEY_DERIVATION, sha3.NewSHAKE256),
	)
}

func base(t pkcs11.MechanismType, derive func(k mech.Key, param any, size int) ([]byte, error)) mech.Mechanism {
	return mech.Mechanism{Type: t, KeyTypes: bases(), Min: 1, Max: generic.MaxBytes, OneWay: true, Derive: derive}
}

// row derives the beginning of a hash, by default all of it.
func row(t pkcs11.MechanismType, hash func(param any) (*hashes.Hash, error)) mech.Mechanism {
	return base(t, func(k mech.Key, param any, size int) ([]byte, error) {
		h, err := hash(param)
		if err != nil {
			return nil, err
		}
		value, err := valueOf(k)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			size = h.Size()
		}
		if size < 0 || size > h.Size() {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes from a hash of %d", size, h.Size())
		}
		digest := h.Sum(value)
		secret.Wipe(digest[size:])
		return slices.Clip(digest[:size]), nil
	})
}

// maxShake is the longest key that SHAKE derives, in bytes.
const maxShake = 1 << 16

// shake derives as much as the template asks for, and it must (PKCS#11 v3.2, SHAKE key derivation).
func shake(t pkcs11.MechanismType, create func() *sha3.SHAKE) mech.Mechanism {
	return base(t, func(k mech.Key, param any, size int) ([]byte, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		value, err := valueOf(k)
		switch {
		case err != nil:
			return nil, err
		case size == 0:
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is missing: SHAKE gives any length")
		case size < 0 || size > maxShake:
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes, at most %d", size, maxShake)
		}
		s, out := create(), make([]byte, size)
		s.Write(value) //nolint:errcheck // never fails
		s.Read(out)    //nolint:errcheck // never fails
		s.Reset()
		return out, nil
	})
}

func valueOf(k mech.Key) ([]byte, error) {
	value := k.Bytes(pkcs11.CKA_VALUE)
	if len(value) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key is empty")
	}
	return value, nil
}

func noParam(param any) error {
	if param != nil {
		return wrongParam(param)
	}
	return nil
}

func wrongParam(param any) error {
	return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T is not what the mechanism takes", param)
}
