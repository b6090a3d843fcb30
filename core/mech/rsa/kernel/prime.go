package kernel

import (
	"fmt"
	"math/bits"
)

// Tester runs rounds of the Miller-Rabin test (FIPS 186-5, B.3.1), two side by side. It belongs to one goroutine.
type Tester struct {
	size *size
	w    *scratch
}

// NewTester is for odd numbers of exactly so many bits: 1024, 1536 or 2048. ErrShape where the kernel cannot do them.
func NewTester(bits int) (*Tester, error) {
	s := sizeFor(bits)
	if !Available() || s == nil {
		return nil, fmt.Errorf("%w: numbers of %d bits", ErrShape, bits)
	}
	return &Tester{s, newScratch(s)}, nil
}

// Round tests two numbers, each with a base of its own from 2 to n-2; they may be the same number with two bases. All are
// big-endian. passed says of which the base is no witness that it is composite. Whether and when a number passes may show
// in the time that is taken, and how often 2 divides n-1, and nothing else of it does.
func (t *Tester) Round(numbers, bases [2][]byte) (passed [2]bool) {
	f, w := &t.size.pair, t.w
	k := &Key{size: t.size, pq: newModulus(f, t.size.bits, numbers[0], numbers[1]), one: f.new(), unit: f.new()}
	defer func() {
		k.Wipe()
		for _, x := range [][]uint64{w.x, w.t, w.table} {
			clear(x)
		}
	}()
	var twos [2]int
	count := (t.size.bits + windowBits - 1) / windowBits
	for i, to := range []*[]uint8{&k.dP, &k.dQ} {
		m := append([]byte(nil), numbers[i]...)
		twos[i] = halve(m)
		*to = split(m, count)
		clear(m)
		f.part(k.unit, i)[0] = 1
		setBytes(f.part(w.t, i), bases[i])
	}
	f.mul(k.one, k.unit, k.pq.r2, k.pq)
	f.mul(k.entry(w, 1), w.t, k.pq.r2, k.pq)
	k.power(w)
	for step := range max(twos[0], twos[1]) {
		f.mul(w.t, w.x, k.unit, k.pq)
		for i := range 2 {
			x, n := f.part(w.t, i), f.part(k.pq.mem, i)
			subtractOnce(x, n)
			if step < twos[i] && (isMinusOne(x, n) || step == 0 && isOne(x)) {
				passed[i] = true
			}
		}
		f.square(w.x, w.x, k.pq, 1)
	}
	return passed
}

// halve makes of the odd number n > 1 the odd part of n-1, and says how often it was even.
func halve(n []byte) (twos int) {
	n[len(n)-1]--
	for i := len(n) - 1; ; i-- {
		if n[i] != 0 {
			twos += bits.TrailingZeros8(n[i])
			break
		}
		twos += 8
	}
	skip, shift := twos/8, twos%8
	for i := len(n) - 1; i >= 0; i-- {
		var v uint16
		if at := i - skip; at >= 0 {
			v = uint16(n[at])
			if at > 0 {
				v |= uint16(n[at-1]) << 8
			}
		}
		n[i] = byte(v >> shift)
	}
	return twos
}

func isOne(x []uint64) bool {
	diff := x[0] ^ 1
	for _, v := range x[1:] {
		diff |= v
	}
	return diff == 0
}

// isMinusOne tells whether x = n-1; n is odd.
func isMinusOne(x, n []uint64) bool {
	diff := x[0] ^ (n[0] - 1)
	for i, v := range x[1:] {
		diff |= v ^ n[i+1]
	}
	return diff == 0
}
