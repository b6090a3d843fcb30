package aes

import (
	"bytes"
	"crypto/cipher"
	"errors"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
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
	modes.Gather
	block   cipher.Block
	form    wrapForm
	iv      [semiblock]byte // the first half for KWP
	decrypt bool
}

func newKeyWrap(k mech.Key, param any, form wrapForm, decrypt bool) (mech.Cipher, error) {
	w := &keyWrap{form: form, decrypt: decrypt, iv: defaultIV}
	w.Excess = pkcs11.CKR_DATA_LEN_RANGE
	if decrypt {
		w.Excess = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	size := semiblock
	if form == formKWP {
		size = copy(w.iv[:], defaultAIV[:])
	}
	if param != nil {
		iv, err := modes.IVParam(param, size)
		if err != nil {
			return nil, err
		}
		copy(w.iv[:], iv)
	}
	var err error
	w.block, err = base.Block(k)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *keyWrap) FinishLen(n int) (int, bool) {
	total := w.Len() + n
	switch {
	case w.decrypt:
		return max(total-semiblock, 0), w.form == formKW
	case w.form == formPKCS7:
		total++ // at least one byte of padding
	}
	return modes.RoundUp(total, semiblock) + semiblock, true
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
	in, err := w.All(src)
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
		return nil, pkcs11.Errorf(w.Excess, "%d bytes: %w", len(in), err)
	case err != nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "%w", err)
	}
	if w.form == formPKCS7 && w.decrypt {
		n, ok := modes.Unpad(dst[len(dst)-semiblock:])
		if !ok {
			clear(dst[start:])
			return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong")
		}
		dst = dst[:len(dst)-n]
	}
	return dst, nil
}
