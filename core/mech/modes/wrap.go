package modes

import (
	"errors"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// WrapWith makes C_WrapKey of an encryption. The key is filled with zeros to a multiple of unit and to at least least
// bytes, where the mechanism asks for that (PKCS#11 v3.2, AES-ECB, AES-CBC, AES key wrap).
func WrapWith(encrypt Constructor, unit, least int) func(k mech.Key, param any, plain []byte) ([]byte, error) {
	return func(k mech.Key, param any, plain []byte) ([]byte, error) {
		op, err := encrypt(k, param)
		if err != nil {
			return nil, err
		}
		defer op.Close()
		if len(plain) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key to wrap is empty")
		}
		if size := RoundUp(max(len(plain), least), unit); size > len(plain) {
			filled := make([]byte, size)
			defer clear(filled)
			copy(filled, plain)
			plain = filled
		}
		out, err := op.Finish(nil, plain)
		return out, asWrapError(err)
	}
}

// UnwrapWith makes C_UnwrapKey of a decryption. Zeros that WrapWith added are still there.
func UnwrapWith(decrypt Constructor) func(k mech.Key, param any, wrapped []byte) ([]byte, error) {
	return func(k mech.Key, param any, wrapped []byte) ([]byte, error) {
		op, err := decrypt(k, param)
		if err != nil {
			return nil, err
		}
		defer op.Close()
		if len(wrapped) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "the wrapped key is empty")
		}
		out, err := op.Finish(nil, wrapped)
		if err != nil {
			return nil, asWrapError(err)
		}
		if len(out) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "an empty key was wrapped")
		}
		return out, nil
	}
}

// asWrapError says of keys what err says of data.
func asWrapError(err error) error {
	if err == nil {
		return nil
	}
	rv := pkcs11.RVOf(err)
	switch rv {
	case pkcs11.CKR_DATA_LEN_RANGE:
		rv = pkcs11.CKR_KEY_SIZE_RANGE
	case pkcs11.CKR_ENCRYPTED_DATA_INVALID:
		rv = pkcs11.CKR_WRAPPED_KEY_INVALID
	case pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE:
		rv = pkcs11.CKR_WRAPPED_KEY_LEN_RANGE
	}
	var e *pkcs11.Error
	if errors.As(err, &e) {
		return &pkcs11.Error{RV: rv, Text: e.Text}
	}
	return rv
}

// RoundUp returns the next multiple of unit that is not less than n.
func RoundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
