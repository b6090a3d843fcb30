package rsa

import (
	"crypto/rand"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Key encapsulation. With a padding, the secret is made here and wrapped, and decapsulating is unwrapping (PKCS#11 v3.2,
// PKCS #1 v1.5 RSA and PKCS #1 RSA OAEP). Raw RSA is RSASVE of SP 800-56B, 7.2.1.

// encapsulator makes a secret of the length that is wanted; no other is natural.
func encapsulator(n newScheme) func(mech.Key, any, int) (value, ciphertext []byte, err error) {
	wrap := wrapper(n)
	return func(k mech.Key, param any, size int) ([]byte, []byte, error) {
		s, key, err := n.public(k, param)
		if err != nil {
			return nil, nil, err
		}
		switch limit := s.plainLen(key); {
		case size == 0:
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is needed: a secret of any length up to %d bytes can be made", limit)
		case size < 0 || size > limit:
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a secret of %d bytes, at most %d fit", size, limit)
		}
		value := make([]byte, size)
		rand.Read(value)
		ciphertext, err := wrap(k, param, value)
		if err != nil {
			secret.Wipe(value)
			return nil, nil, err
		}
		return value, ciphertext, nil
	}
}

func decapsulator(n newScheme) func(mech.Key, any, []byte, int) ([]byte, error) {
	unwrap := unwrapper(n)
	return func(k mech.Key, param any, ciphertext []byte, size int) ([]byte, error) {
		value, err := unwrap(k, param, ciphertext)
		if err != nil {
			return nil, err
		}
		return ofLength(value, size)
	}
}

// ofLength refuses a secret of another length than the one that is wanted, where one is.
func ofLength(value []byte, size int) ([]byte, error) {
	if n := len(value); size != 0 && n != size || n == 0 {
		secret.Wipe(value)
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "the secret has %d bytes, %d are wanted", n, size)
	}
	return value, nil
}

// ciphertextLen is the modulus' length, whatever is encapsulated.
func ciphertextLen(n newScheme) func(mech.Key, any) (int, error) {
	return func(k mech.Key, param any) (int, error) {
		_, key, err := n.public(k, param)
		if err != nil {
			return 0, err
		}
		return key.size, nil
	}
}

// generateRaw is RSASVE.GENERATE (SP 800-56B, 7.2.1.2): the secret is a number between 1 and the modulus less 1, as long
// as the modulus is.
func generateRaw(k mech.Key, param any, size int) (value, ciphertext []byte, err error) {
	key, err := plainPublic(k, param)
	if err != nil {
		return nil, nil, err
	}
	if err := rawLength(key, size); err != nil {
		return nil, nil, err
	}
	value = make([]byte, key.size)
	spare := byte(8*key.size - key.n.BitLen()) // bits of the first byte that the modulus does not have
	for {
		rand.Read(value)
		value[0] &= 0xff >> spare
		// A value that is thrown away says nothing of the one that is kept.
		if ciphertext, ok := key.raw(value); ok && key.between(value) {
			return value, ciphertext, nil
		}
	}
}

// recoverRaw is RSASVE.RECOVER (SP 800-56B, 7.2.1.3).
func recoverRaw(k mech.Key, param any, ciphertext []byte, size int) ([]byte, error) {
	key, err := plainPrivate(k, param)
	if err != nil {
		return nil, err
	}
	if err := rawLength(&key.publicKey, size); err != nil {
		return nil, err
	}
	if len(ciphertext) != key.size {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "%d bytes, expected %d", len(ciphertext), key.size)
	}
	if !key.between(ciphertext) {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "the ciphertext is no number between 1 and the modulus less 1")
	}
	value, _, err := key.raw(ciphertext)
	return value, err
}

// rawLength: the secret is as long as the modulus, and no other length may be asked for.
func rawLength(key *publicKey, size int) error {
	if size != 0 && size != key.size {
		return pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a secret of %d bytes is wanted, raw RSA gives as many as the modulus has, %d", size, key.size)
	}
	return nil
}

// between says whether 1 < b < n-1, in a time that b does not tell: not 0, 1 and -1, whose powers anybody knows.
func (k *publicKey) between(b []byte) bool {
	x, err := bigmod.NewNat().SetBytes(b, k.n)
	if err != nil {
		return false
	}
	return x.IsZero()|x.IsOne()|x.IsMinusOne(k.n) == 0
}
