package aes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/spare"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// blocks is a mode that works on whole blocks, with or without PKCS padding. It holds back what does not fill a block,
// and when padding will have to be taken off, the last full block.
type blocks struct {
	mode    cipher.BlockMode    // nil once the operation has ended
	from    *spare.Set[chained] // of a chained mode, else nil
	pad     bool
	decrypt bool
	begun   bool // it has taken data or a state
	held    int  // bytes in rest
	rest    [aes.BlockSize]byte
	last    [aes.BlockSize]byte // the last block of ciphertext, at first the IV, of a chained mode
}

func (b *blocks) UpdateLen(n int) int {
	total := b.held + n
	if b.pad && b.decrypt && total > 0 {
		total--
	}
	return total - total%aes.BlockSize
}

// Update never fails.
func (b *blocks) Update(dst, src []byte) ([]byte, error) {
	b.begun = b.begun || len(src) > 0
	dst, out := extend(dst, b.UpdateLen(len(src)))
	if len(out) > 0 && b.held > 0 {
		src = src[copy(b.rest[b.held:], src):]
		b.crypt(out[:aes.BlockSize], b.rest[:])
		out, b.held = out[aes.BlockSize:], 0
	}
	b.crypt(out, src[:len(out)])
	b.held += copy(b.rest[b.held:], src[len(out):])
	return dst, nil
}

// crypt runs the mode over whole blocks and remembers what the next will be chained to: no mode of the standard library
// tells.
func (b *blocks) crypt(dst, src []byte) {
	b.mode.CryptBlocks(dst, src)
	if b.from != nil && len(src) > 0 {
		sealed := pick(b.decrypt, src, dst)
		copy(b.last[:], sealed[len(src)-aes.BlockSize:])
	}
}

func (b *blocks) FinishLen(n int) (int, bool) {
	total := b.held + n
	whole := total - total%aes.BlockSize
	switch {
	case !b.pad:
		return whole, true
	case b.decrypt:
		return max(whole-1, 0), false
	}
	return whole + aes.BlockSize, true
}

// Shape is whole blocks; the padding adds a block to the end, or takes 1 to 16 bytes from it.
func (b *blocks) Shape() mech.Shape {
	s := mech.Shape{Block: aes.BlockSize, Align: aes.BlockSize, Exact: true}
	switch {
	case b.pad && b.decrypt:
		s.Hold, s.Post, s.Exact = true, -1, false
	case b.pad:
		s.Post = aes.BlockSize
	}
	return s
}

func (b *blocks) Finish(dst, src []byte) ([]byte, error) {
	total := b.held + len(src)
	if over := total % aes.BlockSize; over != 0 && (b.decrypt || !b.pad) {
		return nil, b.lengthError(total)
	}
	if b.pad && b.decrypt && total == 0 {
		return nil, b.lengthError(total)
	}
	start := len(dst)
	size, _ := b.FinishLen(len(src))
	dst, _ = b.Update(slices.Grow(dst, size), src)
	if !b.pad {
		return dst, nil
	}
	if !b.decrypt {
		fill := byte(aes.BlockSize - b.held)
		for i := b.held; i < aes.BlockSize; i++ {
			b.rest[i] = fill
		}
	}
	b.mode.CryptBlocks(b.rest[:], b.rest[:])
	b.held = 0
	if !b.decrypt {
		return append(dst, b.rest[:]...), nil
	}
	n, ok := unpad(b.rest[:])
	if !ok {
		clear(dst[start:])
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong")
	}
	return append(dst, b.rest[:aes.BlockSize-n]...), nil
}

func (b *blocks) lengthError(total int) error {
	rv := pkcs11.CKR_DATA_LEN_RANGE
	if b.decrypt {
		rv = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	return pkcs11.Errorf(rv, "%d bytes are no whole number of blocks of %d", total, aes.BlockSize)
}

func (b *blocks) Close() {
	clear(b.rest[:])
	clear(b.last[:])
	b.held = 0
	if mode, ok := b.mode.(*chained); ok {
		b.from.Put(mode)
	}
	b.mode = nil
}

// unpad returns how many bytes of the last block are PKCS padding (RFC 5652, 6.3). Its time does not depend on them.
func unpad(last []byte) (n int, ok bool) {
	size := len(last)
	fill := last[size-1]
	good := subtle.ConstantTimeLessOrEq(1, int(fill)) & subtle.ConstantTimeLessOrEq(int(fill), size)
	for i := 1; i <= size; i++ {
		outside := subtle.ConstantTimeLessOrEq(int(fill)+1, i)
		good &= outside | subtle.ConstantTimeByteEq(last[size-i], fill)
	}
	return int(fill), good == 1
}

// ecb is the electronic codebook as a cipher.BlockMode.
type ecb struct {
	block   cipher.Block
	decrypt bool
}

func (e *ecb) BlockSize() int { return aes.BlockSize }

func (e *ecb) CryptBlocks(dst, src []byte) {
	for i := 0; i < len(src); i += aes.BlockSize {
		if e.decrypt {
			e.block.Decrypt(dst[i:], src[i:])
		} else {
			e.block.Encrypt(dst[i:], src[i:])
		}
	}
}

// extend appends n bytes to dst, whose content is not defined, and returns them apart as well.
func extend(dst []byte, n int) (whole, added []byte) {
	start := len(dst)
	whole = slices.Grow(dst, n)[:start+n]
	return whole, whole[start:]
}
