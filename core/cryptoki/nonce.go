package cryptoki

import (
	"bytes"
	"crypto/rand"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// vectors makes the initialization vectors of one message-based encryption, from C_MessageEncryptInit to
// C_MessageEncryptFinal. None that it makes comes twice: generator, length and number of fixed bits stay those of the first
// message that asks for one, and no counter goes round. (What the caller gives with CKG_NO_GENERATE is the caller's.)
type vectors struct {
	used      bool
	generator uint
	length    int    // bytes of the vector
	fixed     uint   // bits of it that are the caller's
	base      []byte // what the counter is added to, or XORed with; of the vector's length, the fixed bits 0
	next      uint64 // the counter
}

// leastBits is how many bits a generator must have to itself. Random ones are those of SP 800-38D, 8.2.2. CKG_GENERATE counts
// from a random start, for which the shortest nonce of CCM is enough. A counter that starts at 0 is used up when it ends.
var leastBits = map[uint]uint{
	pkcs11.CKG_GENERATE:             56,
	pkcs11.CKG_GENERATE_COUNTER:     1,
	pkcs11.CKG_GENERATE_COUNTER_XOR: 1,
	pkcs11.CKG_GENERATE_RANDOM:      96,
}

// mostRandom is how many random vectors one key may have: SP 800-38D, 8.3.
const mostRandom = 1 << 32

// fill makes the vector of the next message, in place. CKR_MECHANISM_PARAM_INVALID for a generator that is none, has too few
// bits or is another than before; CKR_FUNCTION_FAILED when no vector is left.
func (v *vectors) fill(iv []byte, fixed, generator uint) error {
	if generator == pkcs11.CKG_NO_GENERATE {
		return nil
	}
	least, known := leastBits[generator]
	all := uint(len(iv)) * 8
	switch {
	case !known:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "generator %d", generator)
	case fixed > all || all-fixed < least:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d fixed bits in a vector of %d leave the generator less than %d", fixed, all, least)
	}
	if err := v.begin(iv, fixed, generator); err != nil {
		return err
	}
	bits := all - fixed
	if bits < 64 && v.next>>bits != 0 || generator == pkcs11.CKG_GENERATE_RANDOM && v.next >= mostRandom || v.next == 1<<64-1 {
		return pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "%d messages have used up the generator's vectors", v.next)
	}
	free := make([]byte, len(iv))
	switch generator {
	case pkcs11.CKG_GENERATE_RANDOM:
		rand.Read(free)
	case pkcs11.CKG_GENERATE_COUNTER_XOR:
		copy(free, v.base)
		addTo(free, v.next, func(a, b, _ byte) (byte, byte) { return a ^ b, 0 })
	default:
		copy(free, v.base)
		addTo(free, v.next, func(a, b, carry byte) (byte, byte) {
			sum := uint(a) + uint(b) + uint(carry)
			return byte(sum), byte(sum >> 8)
		})
	}
	v.next++
	keep := fixedPart(iv, fixed)
	copy(iv, free)
	clearFixed(iv, fixed)
	for i, b := range keep {
		iv[i] |= b
	}
	return nil
}

// begin remembers how the first vector is made, and holds the others to it.
func (v *vectors) begin(iv []byte, fixed, generator uint) error {
	var base []byte
	if generator == pkcs11.CKG_GENERATE_COUNTER_XOR {
		base = bytes.Clone(iv)
		clearFixed(base, fixed)
	}
	if v.used {
		if v.generator != generator || v.length != len(iv) || v.fixed != fixed {
			return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "generator %d for %d bytes with %d fixed bits, after generator %d for %d bytes with %d",
				generator, len(iv), fixed, v.generator, v.length, v.fixed)
		}
		if base != nil && !bytes.Equal(base, v.base) {
			return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "what the counter is XORed with is another than before")
		}
		return nil
	}
	switch generator {
	case pkcs11.CKG_GENERATE:
		base = make([]byte, len(iv))
		rand.Read(base)
	case pkcs11.CKG_GENERATE_COUNTER:
		base = make([]byte, len(iv))
	}
	*v = vectors{used: true, generator: generator, length: len(iv), fixed: fixed, base: base}
	return nil
}

// addTo combines a big-endian number with the last bytes of b, the last one first.
func addTo(b []byte, n uint64, combine func(a, b, carry byte) (result, next byte)) {
	carry := byte(0)
	for i := len(b) - 1; i >= 0; i-- {
		b[i], carry = combine(b[i], byte(n), carry)
		n >>= 8
	}
}

// fixedPart returns the first fixed bits of iv, those after them 0.
func fixedPart(iv []byte, fixed uint) []byte {
	part := bytes.Clone(iv[:(fixed+7)/8])
	if rest := fixed % 8; rest != 0 {
		part[len(part)-1] &= 0xff << (8 - rest)
	}
	return part
}

// clearFixed makes the first fixed bits of iv 0.
func clearFixed(iv []byte, fixed uint) {
	clear(iv[:fixed/8])
	if rest := fixed % 8; rest != 0 {
		iv[fixed/8] &= 0xff >> rest
	}
}
