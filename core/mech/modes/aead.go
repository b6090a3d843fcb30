package modes

import (
	"crypto/cipher"
	"math"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// AEAD is one operation of an authenticated cipher. Parts are gathered; the tag follows the ciphertext.
type AEAD struct {
	Gather
	aead       cipher.AEAD
	nonce, aad []byte
	exactly    int    // bytes of plaintext that were announced; -1 if none were
	most       uint64 // bytes of plaintext that are safe
	decrypt    bool
}

// NewAEAD begins an operation; the nonce has the length that aead wants. exactly is how much plaintext there must be, and
// -1 where any amount will do.
func NewAEAD(aead cipher.AEAD, nonce, aad []byte, exactly int, decrypt bool) *AEAD {
	a := &AEAD{aead: aead, nonce: nonce, aad: aad, exactly: exactly, most: math.MaxInt, decrypt: decrypt}
	a.Excess = pick(decrypt, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_LEN_RANGE)
	return a
}

// AtMost bounds the plaintext, in bytes.
func (a *AEAD) AtMost(n uint64) *AEAD {
	a.most = n
	return a
}

// FinishLen is exact.
func (a *AEAD) FinishLen(n int) (int, bool) {
	total := a.Len() + n
	if a.decrypt {
		return max(total-a.aead.Overhead(), 0), true
	}
	return total + a.aead.Overhead(), true
}

// Shape gives all at the end, longer or shorter by the tag.
func (a *AEAD) Shape() mech.Shape {
	return mech.Shape{Align: 1, Post: pick(a.decrypt, -a.aead.Overhead(), a.aead.Overhead()), Exact: true}
}

// Finish seals or opens all that was gathered.
func (a *AEAD) Finish(dst, src []byte) ([]byte, error) {
	in, err := a.All(src)
	if err != nil {
		return nil, err
	}
	size := pick(a.decrypt, len(in)-a.aead.Overhead(), len(in))
	if size < 0 || uint64(size) > a.most || a.exactly >= 0 && size != a.exactly {
		return nil, pkcs11.Errorf(a.Excess, "%d bytes with a tag of %d; %d bytes of plaintext were announced (-1: none)", len(in), a.aead.Overhead(), a.exactly)
	}
	if !a.decrypt {
		return a.aead.Seal(dst, a.nonce, in, a.aad), nil
	}
	start := len(dst)
	dst, room := Extend(dst, size)
	dst, err = a.aead.Open(dst[:start], a.nonce, in, a.aad)
	if err != nil {
		clear(room)
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the tag is wrong")
	}
	return dst, nil
}
