package aes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math"

	"github.com/coffer-hsm/coffer/core/mech/modes"
)

// Errors of WrapKWP and UnwrapKWP; crypto/aes.KeySizeError for a wrong key is the third. They say nothing about which
// byte was wrong.
var (
	ErrLength    = errors.New("aes: no key of this length can be wrapped, or no wrapped key has this length")
	ErrIntegrity = errors.New("aes: the wrapped key fails its integrity check")
)

const semiblock = 8

var (
	defaultIV  = [8]byte{0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6} // RFC 3394, 2.2.3.1
	defaultAIV = [4]byte{0xA6, 0x59, 0x59, 0xA6}                         // RFC 5649, 3
)

// WrapKWP wraps plain, 1 to 2^32-1 bytes, with padding: RFC 5649, SP 800-38F KWP. The result is 8 to 15 bytes longer.
func WrapKWP(kek, plain []byte) ([]byte, error) {
	b, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return wrapKWP(b, defaultAIV, nil, plain)
}

// UnwrapKWP is the inverse of WrapKWP. ErrIntegrity for anything that WrapKWP did not make with this key.
func UnwrapKWP(kek, wrapped []byte) ([]byte, error) {
	b, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	return unwrapKWP(b, defaultAIV, nil, wrapped)
}

// wrapKW appends the wrapped form of plain: RFC 3394, 2.2.1.
func wrapKW(b cipher.Block, iv [8]byte, dst, plain []byte) ([]byte, error) {
	if len(plain) < 2*semiblock || len(plain)%semiblock != 0 {
		return nil, ErrLength
	}
	dst, out := modes.Extend(dst, semiblock+len(plain))
	copy(out, iv[:])
	copy(out[semiblock:], plain)
	shuffle(b, out)
	return dst, nil
}

// unwrapKW appends what was wrapped: RFC 3394, 2.2.2.
func unwrapKW(b cipher.Block, iv [8]byte, dst, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 3*semiblock || len(wrapped)%semiblock != 0 {
		return nil, ErrLength
	}
	start := len(dst)
	dst, out := modes.Extend(dst, len(wrapped)-semiblock)
	a := unshuffle(b, out, wrapped)
	if subtle.ConstantTimeCompare(a[:], iv[:]) != 1 {
		clear(out)
		return nil, ErrIntegrity
	}
	return dst[:start+len(out)], nil
}

// wrapKWP appends the wrapped form of plain: RFC 5649, 4.1.
func wrapKWP(b cipher.Block, aiv [4]byte, dst, plain []byte) ([]byte, error) {
	if len(plain) == 0 || uint64(len(plain)) > math.MaxUint32 {
		return nil, ErrLength
	}
	dst, out := modes.Extend(dst, semiblock+modes.RoundUp(len(plain), semiblock))
	copy(out, aiv[:])
	binary.BigEndian.PutUint32(out[4:], uint32(len(plain)))
	clear(out[semiblock+copy(out[semiblock:], plain):])
	if len(out) == aes.BlockSize {
		b.Encrypt(out, out)
	} else {
		shuffle(b, out)
	}
	return dst, nil
}

// unwrapKWP appends what was wrapped: RFC 5649, 4.2. Constant, length and padding are judged together, in a time that
// depends on the length of wrapped alone.
func unwrapKWP(b cipher.Block, aiv [4]byte, dst, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 2*semiblock || len(wrapped)%semiblock != 0 {
		return nil, ErrLength
	}
	start := len(dst)
	dst, out := modes.Extend(dst, len(wrapped)-semiblock)
	var a [semiblock]byte
	if len(wrapped) == aes.BlockSize {
		both := make([]byte, aes.BlockSize)
		b.Decrypt(both, wrapped)
		copy(out, both[copy(a[:], both):])
		clear(both)
	} else {
		a = unshuffle(b, out, wrapped)
	}

	bad := uint64(binary.BigEndian.Uint32(a[:]) ^ binary.BigEndian.Uint32(aiv[:]))
	size := binary.BigEndian.Uint32(a[4:])
	padding := uint64(len(out)) - uint64(size) // wraps around if size is too large
	bad |= padding &^ 7
	n := int(padding & 7)
	for i := 1; i <= 7; i++ {
		// The i-th byte from the end must be zero if i <= n.
		bad |= uint64(subtle.ConstantTimeLessOrEq(i, n)) * uint64(out[len(out)-i])
	}
	if bad != 0 {
		clear(out)
		return nil, ErrIntegrity
	}
	return dst[:start+int(size)], nil
}

// shuffle is the function W of SP 800-38F, 6.1, in place: buf is the initial value and at least two semiblocks.
func shuffle(b cipher.Block, buf []byte) {
	x := make([]byte, aes.BlockSize)
	a := x[:semiblock]
	copy(a, buf)
	t := uint64(0)
	for range 6 {
		for i := semiblock; i < len(buf); i += semiblock {
			t++
			copy(x[semiblock:], buf[i:])
			b.Encrypt(x, x)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^t)
			copy(buf[i:], x[semiblock:])
		}
	}
	copy(buf, a)
	clear(x)
}

// unshuffle is the inverse of W: it fills out with all but the first semiblock, which it returns.
func unshuffle(b cipher.Block, out, wrapped []byte) (first [semiblock]byte) {
	x := make([]byte, aes.BlockSize)
	a := x[:semiblock]
	copy(out, wrapped[copy(a, wrapped):])
	t := 6 * uint64(len(out)/semiblock)
	for range 6 {
		for i := len(out) - semiblock; i >= 0; i -= semiblock {
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^t)
			copy(x[semiblock:], out[i:])
			b.Decrypt(x, x)
			copy(out[i:], x[semiblock:])
			t--
		}
	}
	copy(first[:], a)
	clear(x)
	return first
}
