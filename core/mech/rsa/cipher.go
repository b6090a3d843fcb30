package rsa

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// scheme is a way to encrypt with RSA: PKCS #1 v1.5, raw, OAEP. Encryption, decryption, wrapping and unwrapping all
// follow from it.
type scheme interface {
	// fits says whether the key is long enough for the scheme at all.
	fits(k *publicKey) error
	// plainLen is the most that a decryption gives; plainExact says that it always gives as much.
	plainLen(k *publicKey) int
	plainExact() bool
	encrypt(k *publicKey, plain []byte) ([]byte, error)
	// decrypt sees a ciphertext of the right length. Whatever is wrong with its padding, the answer is errDecrypt and
	// takes the same time.
	decrypt(k *privateKey, ciphertext []byte) ([]byte, error)
}

// errDecrypt is one value made beforehand: nothing is formatted or allocated on the failing path.
var errDecrypt error = pkcs11.CKR_ENCRYPTED_DATA_INVALID

type newScheme func(param any) (scheme, error)

func (n newScheme) public(k mech.Key, param any) (scheme, *publicKey, error) {
	s, err := n(param)
	if err != nil {
		return nil, nil, err
	}
	key, err := publicOf(k)
	if err != nil {
		return nil, nil, err
	}
	return s, key, s.fits(key)
}

func (n newScheme) private(k mech.Key, param any) (scheme, *privateKey, error) {
	s, err := n(param)
	if err != nil {
		return nil, nil, err
	}
	key, err := privateOf(k)
	if err != nil {
		return nil, nil, err
	}
	return s, key, s.fits(&key.publicKey)
}

func encrypter(n newScheme) func(mech.Key, any) (mech.Cipher, error) {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		s, key, err := n.public(k, param)
		if err != nil {
			return nil, err
		}
		return &onePart{size: key.size, exact: true, run: func(in []byte) ([]byte, error) { return s.encrypt(key, in) }}, nil
	}
}

func decrypter(n newScheme) func(mech.Key, any) (mech.Cipher, error) {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		s, key, err := n.private(k, param)
		if err != nil {
			return nil, err
		}
		return &onePart{
			size: s.plainLen(&key.publicKey), exact: s.plainExact(), wipe: true,
			run: func(in []byte) ([]byte, error) {
				if len(in) != key.size {
					return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, "%d bytes, expected %d", len(in), key.size)
				}
				return s.decrypt(key, in)
			},
		}, nil
	}
}

func wrapper(n newScheme) func(mech.Key, any, []byte) ([]byte, error) {
	return func(k mech.Key, param any, plain []byte) ([]byte, error) {
		s, key, err := n.public(k, param)
		if err != nil {
			return nil, err
		}
		out, err := s.encrypt(key, plain)
		if rv := pkcs11.RVOf(err); rv == pkcs11.CKR_DATA_LEN_RANGE || rv == pkcs11.CKR_DATA_INVALID {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes does not fit under this one", len(plain))
		}
		return out, err
	}
}

func unwrapper(n newScheme) func(mech.Key, any, []byte) ([]byte, error) {
	return func(k mech.Key, param any, wrapped []byte) ([]byte, error) {
		s, key, err := n.private(k, param)
		if err != nil {
			return nil, err
		}
		if len(wrapped) != key.size {
			return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "%d bytes, expected %d", len(wrapped), key.size)
		}
		out, err := s.decrypt(key, wrapped)
		if err == errDecrypt {
			return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
		}
		return out, err
	}
}

// onePart is a mech.Cipher for what works in one part only.
type onePart struct {
	size  int
	exact bool
	wipe  bool // what run returns is a plaintext
	run   func(in []byte) ([]byte, error)
}

func (*onePart) UpdateLen(int) int { return 0 }

func (*onePart) Update([]byte, []byte) ([]byte, error) {
	return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "the mechanism works in one part only")
}

func (o *onePart) FinishLen(int) (int, bool) { return o.size, o.exact }

// Shape gives all at the end: a size that the key alone decides.
func (o *onePart) Shape() mech.Shape { return mech.Shape{Post: o.size, Exact: o.exact} }

func (o *onePart) Finish(dst, src []byte) ([]byte, error) {
	if o.run == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
	}
	out, err := o.run(src)
	o.run = nil
	if err != nil {
		return nil, err
	}
	dst = append(dst, out...)
	if o.wipe {
		secret.Wipe(out)
	}
	return dst, nil
}

func (o *onePart) Close() { o.run = nil }
