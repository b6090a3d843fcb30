package mlkem

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func encapsulate(k mech.Key, param any, size int) (value, ciphertext []byte, err error) {
	if err := postquantum.NoParameter(param); err != nil {
		return nil, nil, err
	}
	key, err := publicOf(k)
	if err == nil {
		err = key.checkSize(size)
	}
	if err != nil {
		return nil, nil, err
	}
	ciphertext, value, err = key.Encapsulate(key.key)
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "%s: %w", key.Name(), err)
	}
	return cut(value, size), ciphertext, nil
}

// decapsulate gives a secret for every ciphertext of the right length: one that was not made for the key gives another
// secret than it carries, and takes as long (FIPS 203, 6.3, implicit rejection).
func decapsulate(k mech.Key, param any, ciphertext []byte, size int) ([]byte, error) {
	if err := postquantum.NoParameter(param); err != nil {
		return nil, err
	}
	key, err := privateOf(k)
	if err == nil {
		err = key.checkSize(size)
	}
	if err != nil {
		return nil, err
	}
	if n := key.CiphertextSize(); len(ciphertext) != n {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "a ciphertext of %d bytes, %s has %d", len(ciphertext), key.Name(), n)
	}
	value, err := key.Decapsulate(key.key, ciphertext)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "%s: %w", key.Name(), err)
	}
	return cut(value, size), nil
}

func ciphertextLen(k mech.Key, param any) (int, error) {
	if err := postquantum.NoParameter(param); err != nil {
		return 0, err
	}
	key, err := publicOf(k)
	if err != nil {
		return 0, err
	}
	return key.CiphertextSize(), nil
}

// checkSize: the secret has 32 bytes, and what is wanted of it may be less.
func (s *set) checkSize(size int) error {
	if size < 0 || size > s.SharedKeySize() {
		return pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bytes are wanted, %s gives %d", size, s.Name(), s.SharedKeySize())
	}
	return nil
}

// cut keeps the first bytes of a secret. size 0 keeps all.
func cut(value []byte, size int) []byte {
	if size == 0 {
		return value
	}
	secret.Wipe(value[size:])
	return value[:size]
}
