package aes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// wrapForm is one of the three ways to wrap by SP 800-38F.
type wrapForm uint8

const (
	formKW    wrapForm = iota // RFC 3394
	formPKCS7                 // PKCS #7 padding to semiblocks, then RFC 3394
	formKWP                   // RFC 5649
)

// keyWrap runs one of the forms as a Cipher. The standard knows them in one part only.
type keyWrap struct {
	gather
	block   cipher.Block
	form    wrapForm
	iv      [semiblock]byte // the first half for KWP
	decrypt bool
}

func newKeyWrap(k mech.Key, param any, form wrapForm, decrypt bool) (mech.Cipher, error) {
	w := &keyWrap{form: form, decrypt: decrypt, iv: defaultIV}
	w.excess = pkcs11.CKR_DATA_LEN_RANGE
	if decrypt {
		w.excess = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	size := semiblock
	if form == formKWP {
		size = copy(w.iv[:], defaultAIV[:])
	}
	if param != nil {
		iv, err := ivParam(param, size)
		if err != nil {
			return nil, err
		}
		copy(w.iv[:], iv)
	}
	var err error
	w.block, err = keyBlock(k)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *keyWrap) FinishLen(n int) (int, bool) {
	total := len(w.buf) + n
	switch {
	case w.decrypt:
		return max(total-semiblock, 0), w.form == formKW
	case w.form == formPKCS7:
		total++ // at least one byte of padding
	}
	return roundUp(total, semiblock) + semiblock, true
}

// Shape gives all at the end. Wrapped: the data filled up to whole semiblocks, by at least one byte where PKCS #7 pads, and
// the integrity check value before it. Unwrapped: less by that value and by a padding of unknown length.
func (w *keyWrap) Shape() mech.Shape {
	switch {
	case w.decrypt:
		return mech.Shape{Align: 1, Post: -semiblock, Exact: w.form == formKW}
	case w.form == formPKCS7:
		return mech.Shape{Add: semiblock, Align: semiblock, Post: semiblock, Exact: true}
	}
	return mech.Shape{Add: semiblock - 1, Align: semiblock, Post: semiblock, Exact: true}
}

func (w *keyWrap) Finish(dst, src []byte) ([]byte, error) {
	in, err := w.all(src)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	aiv := [4]byte(w.iv[:])
	switch {
	case w.form == formKWP && w.decrypt:
		dst, err = unwrapKWP(w.block, aiv, dst, in)
	case w.form == formKWP:
		dst, err = wrapKWP(w.block, aiv, dst, in)
	case w.decrypt:
		dst, err = unwrapKW(w.block, w.iv, dst, in)
	case w.form == formPKCS7:
		fill := semiblock - len(in)%semiblock
		padded := make([]byte, 0, len(in)+fill)
		padded = append(append(padded, in...), bytes.Repeat([]byte{byte(fill)}, fill)...)
		dst, err = wrapKW(w.block, w.iv, dst, padded)
		clear(padded)
	default:
		dst, err = wrapKW(w.block, w.iv, dst, in)
	}
	switch {
	case errors.Is(err, ErrLength):
		return nil, pkcs11.Errorf(w.excess, "%d bytes: %w", len(in), err)
	case err != nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "%w", err)
	}
	if w.form == formPKCS7 && w.decrypt {
		n, ok := unpad(dst[len(dst)-semiblock:])
		if !ok {
			clear(dst[start:])
			return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong")
		}
		dst = dst[:len(dst)-n]
	}
	return dst, nil
}

// constructor is what Encrypt and Decrypt have in common.
type constructor = func(k mech.Key, param any) (mech.Cipher, error)

// wrapWith makes C_WrapKey of an encryption. The key is filled with zeros to a multiple of unit and to at least least
// bytes, where the mechanism asks for that (PKCS#11 v3.2, AES-ECB, AES-CBC, AES key wrap).
func wrapWith(encrypt constructor, unit, least int) func(k mech.Key, param any, plain []byte) ([]byte, error) {
	return func(k mech.Key, param any, plain []byte) ([]byte, error) {
		op, err := encrypt(k, param)
		if err != nil {
			return nil, err
		}
		defer op.Close()
		if len(plain) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key to wrap is empty")
		}
		if size := roundUp(max(len(plain), least), unit); size > len(plain) {
			filled := make([]byte, size)
			defer clear(filled)
			copy(filled, plain)
			plain = filled
		}
		out, err := op.Finish(nil, plain)
		return out, asWrapError(err)
	}
}

// unwrapWith makes C_UnwrapKey of a decryption. Zeros that wrapWith added are still there.
func unwrapWith(decrypt constructor) func(k mech.Key, param any, wrapped []byte) ([]byte, error) {
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

// zeroFill is what ECB and CBC fill keys to when they wrap.
const zeroFill = aes.BlockSize
