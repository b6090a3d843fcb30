package kernel

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
)

// The time of everything in this file depends on lengths only.

// setBytes sets x to the big-endian number b, which has to fit.
func setBytes(x []uint64, b []byte) {
	clear(x)
	for i := range b {
		v, at := uint64(b[len(b)-1-i]), 8*i
		d, shift := at/digitBits, at%digitBits
		x[d] |= v << shift & digitMask
		if shift > digitBits-8 {
			x[d+1] |= v >> (digitBits - shift)
		}
	}
}

// words returns in w, 64 bits at a time, the number x, which has to fit.
func words(w, x []uint64) {
	clear(w)
	for i, v := range x {
		d, shift := digitBits*i/64, digitBits*i%64
		if d < len(w) {
			w[d] |= v << shift
		}
		if shift > 64-digitBits && d+1 < len(w) {
			w[d+1] |= v >> (64 - shift)
		}
	}
}

// digits is the reverse of words.
func digits(x, w []uint64) {
	for i := range x {
		d, shift := digitBits*i/64, digitBits*i%64
		var v uint64
		if d < len(w) {
			v = w[d] >> shift
		}
		if shift > 64-digitBits && d+1 < len(w) {
			v |= w[d+1] << (64 - shift)
		}
		x[i] = v & digitMask
	}
}

// carry brings every digit of x, taken as a signed number, into its range. The number itself is not negative and fits.
func carry(x []uint64) {
	var c int64
	for i, v := range x {
		c += int64(v)
		x[i] = uint64(c) & digitMask
		c >>= digitBits
	}
}

func double(x []uint64) {
	for i := range x {
		x[i] *= 2
	}
	carry(x)
}

// less returns 1 if x < y, else 0.
func less(x, y []uint64) uint64 {
	var c int64
	for i, v := range x {
		c = (int64(v) - int64(y[i]) + c) >> digitBits
	}
	return uint64(c) & 1
}

// subtractOnce reduces x < 2n modulo n.
func subtractOnce(x, n []uint64) {
	keep := less(x, n) - 1 // all ones if n is to be subtracted
	for i := range x {
		x[i] -= n[i] & keep
	}
	carry(x)
}

// equal returns 1 if x = y, else 0. It takes digits or words.
func equal(x, y []uint64) int {
	var diff uint64
	for i, v := range x {
		diff |= v ^ y[i]
	}
	return subtle.ConstantTimeEq(int32(diff>>32|diff&(1<<32-1)), 0)
}

// multiplyAdd sets s = a*b + c, in words of 64 bits; s is as long as a and b together.
func multiplyAdd(s, a, b, c []uint64) {
	clear(s)
	copy(s, c)
	for i, v := range b {
		var carry uint64
		for j, u := range a {
			hi, lo := bits.Mul64(u, v)
			var c1, c2 uint64
			lo, c1 = bits.Add64(lo, s[i+j], 0)
			lo, c2 = bits.Add64(lo, carry, 0)
			s[i+j], carry = lo, hi+c1+c2
		}
		for j := i + len(a); j < len(s); j++ {
			s[j], carry = bits.Add64(s[j], carry, 0)
		}
	}
}

// appendWords appends the words of w to dst as a big-endian number.
func appendWords(dst []byte, w []uint64) []byte {
	for i := len(w) - 1; i >= 0; i-- {
		dst = binary.BigEndian.AppendUint64(dst, w[i])
	}
	return dst
}

// split cuts the big-endian number b into so many windows, the most significant first.
func split(b []byte, count int) []uint8 {
	w := make([]uint8, count)
	for i := range windowBits * count {
		if at := i / 8; at < len(b) {
			w[count-1-i/windowBits] |= b[len(b)-1-at] >> (i % 8) & 1 << (i % windowBits)
		}
	}
	return w
}
