// Package kernel is the private operation of RSA with two primes of 1024, 1536 or 2048 bits, by the 52-bit multipliers
// of AVX-512 (IFMA): several times as fast as crypto/rsa on a processor that has them.
//
// Both halves of the Chinese remainder theorem run side by side in one stream of instructions, so that one fills the
// waiting time of the other. The multiplication and the reading of the table of powers are assembly, written by the
// program in gen; the rest is Go. No branch and no address depends on a secret. Every result is raised to the public
// exponent modulo n, with numbers that took no part in its making, and compared before it leaves.
//
// A Tester runs the Miller-Rabin test with the same multiplications; there the time tells what is composite, as it may.
//
// A Key may be used by several goroutines at once. Wipe must not run at the same time as anything else.
package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"sync"
)

var (
	// ErrShape means that the kernel cannot do this key or has no such processor: another way has to be taken.
	ErrShape = errors.New("kernel: not a key for this kernel")
	// ErrRange means that the input is not below the modulus.
	ErrRange = errors.New("kernel: the input is not below the modulus")
	// ErrFault means that a result failed its check: the processor or the memory failed, or the key is not one.
	ErrFault = errors.New("kernel: a result failed its check with the public key")
)

// Numbers are the values of a key by their names in RFC 8017, 3.2, big-endian.
type Numbers struct {
	N            []byte
	E            uint
	P, Q         []byte
	DP, DQ, QInv []byte
}

// Wipe clears the secret ones.
func (v *Numbers) Wipe() {
	for _, b := range [][]byte{v.P, v.Q, v.DP, v.DQ, v.QInv} {
		clear(b)
	}
}

// Key is a private key with all that can be computed once.
type Key struct {
	size    *size
	n, pq   *modulus
	r3      []uint64 // R^3 modulo p and q
	one     []uint64 // R modulo p and q: 1 in the Montgomery domain
	unit    []uint64 // 1 and 1: brings a pair out of the Montgomery domain
	qInv    []uint64 // qInv*R modulo p, and 0
	q       []uint64 // in words of 64 bits
	dP, dQ  []uint8  // windows, the most significant first
	e       uint
	scratch sync.Pool
}

// NewKey expands a key; the error is or wraps ErrShape. It sees that p*q = n. That the other values belong to n shows
// with the first result.
func NewKey(v *Numbers) (*Key, error) {
	if !Available() {
		return nil, ErrShape
	}
	n, p, q, dP, dQ, qInv := trim(v.N), trim(v.P), trim(v.Q), trim(v.DP), trim(v.DQ), trim(v.QInv)
	s := sizeFor(bitLen(p))
	switch {
	case s == nil || bitLen(q) != s.bits:
		return nil, fmt.Errorf("%w: primes of %d and %d bits", ErrShape, bitLen(p), bitLen(q))
	case p[len(p)-1]&q[len(q)-1]&1 == 0:
		return nil, fmt.Errorf("%w: an even prime", ErrShape)
	case v.E < 3 || v.E%2 == 0:
		return nil, fmt.Errorf("%w: public exponent %d", ErrShape, v.E)
	case len(n) != 2*len(p) || max(len(dP), len(dQ), len(qInv)) > len(p):
		return nil, fmt.Errorf("%w: values of another length than the primes", ErrShape)
	}
	k := &Key{size: s, e: v.E, q: make([]uint64, s.bits/64)}
	k.scratch.New = func() any { return newScratch(s) }
	if !k.product(n, p, q) {
		k.Wipe()
		return nil, fmt.Errorf("%w: p*q is not n", ErrShape)
	}
	f := &s.pair
	k.n = newModulus(&s.whole, bitLen(n), n)
	k.pq = newModulus(f, s.bits, p, q)
	k.r3, k.one, k.unit, k.qInv = f.new(), f.new(), f.new(), f.new()
	f.square(k.r3, k.pq.r2, k.pq, 1)
	f.part(k.unit, 0)[0], f.part(k.unit, 1)[0] = 1, 1
	f.mul(k.one, k.unit, k.pq.r2, k.pq)
	setBytes(f.part(k.qInv, 0), qInv)
	f.mul(k.qInv, k.qInv, k.pq.r2, k.pq)
	count := (s.bits + windowBits - 1) / windowBits
	k.dP, k.dQ = split(dP, count), split(dQ, count)
	return k, nil
}

// product fills in k.q and tells whether p*q = n.
func (k *Key) product(n, p, q []byte) bool {
	w := k.scratch.Get().(*scratch)
	defer k.release(w)
	c, f := w.number(k.size), &k.size.pair
	want := make([]uint64, len(w.s))
	setBytes(c, n)
	words(want, c)
	setBytes(f.part(w.t, 0), q)
	words(k.q, f.part(w.t, 0))
	setBytes(f.part(w.t, 0), p)
	words(w.h, f.part(w.t, 0))
	multiplyAdd(w.s, k.q, w.h, nil)
	return equal(w.s, want) == 1
}

// Wipe clears the key; Private answers ErrRange from then on.
func (k *Key) Wipe() {
	for _, m := range []*modulus{k.n, k.pq} {
		if m != nil {
			clear(m.mem)
			clear(m.r2)
		}
	}
	for _, x := range [][]uint64{k.r3, k.one, k.unit, k.qInv, k.q} {
		clear(x)
	}
	clear(k.dP)
	clear(k.dQ)
}

// Size is the length of the modulus, and so of every result, in bytes.
func (k *Key) Size() int { return k.size.bits / 4 }

// Private appends in^d mod n to dst, Size bytes. in is a big-endian number below n of at most Size bytes. The error is
// ErrRange or ErrFault, and then nothing was appended.
func (k *Key) Private(dst, in []byte) ([]byte, error) {
	if len(in) > k.Size() {
		return dst, ErrRange
	}
	w := k.scratch.Get().(*scratch)
	defer k.release(w)
	c := w.number(k.size)
	setBytes(c, in)
	if less(c, k.modulus()) == 0 {
		return dst, ErrRange
	}
	k.reduce(w, c)
	k.powerOf(w)
	k.recombine(w)
	if !k.check(w, c) {
		return dst, ErrFault
	}
	return appendWords(dst, w.s), nil
}

func (k *Key) modulus() []uint64 { return k.size.whole.part(k.n.mem, 0) }

// scratch is the memory of one operation.
type scratch struct {
	c, v, acc []uint64 // modulo n: the input; the result as digits; its powers
	x, t      []uint64 // pairs
	table     []uint64 // of pairs
	h, m, s   []uint64 // 64-bit words: two numbers as long as a prime, and the result
	job       *job
}

func newScratch(s *size) *scratch {
	f, g, n := &s.pair, &s.whole, s.bits/64
	return &scratch{
		c: g.new(), v: g.new(), acc: g.new(),
		x: f.new(), t: f.new(), table: make([]uint64, powers*f.len()),
		h: make([]uint64, n), m: make([]uint64, n), s: make([]uint64, 2*n),
		job: newJob(),
	}
}

// number is c without the zeros after it.
func (w *scratch) number(s *size) []uint64 { return s.whole.part(w.c, 0) }

func (k *Key) release(w *scratch) {
	for _, x := range [][]uint64{w.c, w.v, w.acc, w.x, w.t, w.table, w.h, w.m, w.s} {
		clear(x)
	}
	k.scratch.Put(w)
}

// entry is the i-th power in the table.
func (k *Key) entry(w *scratch, i int) []uint64 {
	return w.table[i*k.size.pair.len():][:k.size.pair.len()]
}

// reduce sets power 1 to c in the Montgomery domain, modulo p and q: with c = c1*R + c0 it is c0*R^2/R + c1*R^3/R, and
// below 4p and 4q, which form allows.
func (k *Key) reduce(w *scratch, c []uint64) {
	f, x := &k.size.pair, k.entry(w, 1)
	for i := range 2 {
		copy(f.part(w.x, i), c[:f.digits])
		copy(f.part(w.t, i), c[f.digits:])
	}
	f.mul(x, w.x, k.pq.r2, k.pq)
	f.mul(w.t, w.t, k.r3, k.pq)
	for i := range 2 {
		sum := f.part(x, i)
		for j, v := range f.part(w.t, i) {
			sum[j] += v
		}
		carry(sum)
	}
}

// power sets x to power 1 raised to dP modulo p and to dQ modulo q, in fixed windows.
func (k *Key) power(w *scratch) {
	f, x := &k.size.pair, k.entry(w, 1)
	copy(k.entry(w, 0), k.one)
	for i := 2; i < powers; i++ {
		if i%2 == 0 {
			f.square(k.entry(w, i), k.entry(w, i/2), k.pq, 1)
		} else {
			f.mul(k.entry(w, i), k.entry(w, i-1), x, k.pq)
		}
	}
	k.size.pick(w.x, w.table, k.dP[0], k.dQ[0])
	for i := 1; i < len(k.dP); i++ {
		k.size.pick(w.t, w.table, k.dP[i], k.dQ[i])
		f.square(w.x, w.x, k.pq, windowBits)
		f.mul(w.x, w.x, w.t, k.pq)
	}
}

// recombine sets s to the number that is x modulo p and q (RFC 8017, 5.1.2): s = m2 + q*((m1 - m2)*qInv mod p), which is
// below n by itself.
func (k *Key) recombine(w *scratch) {
	f := &k.size.pair
	p, q := f.part(k.pq.mem, 0), f.part(k.pq.mem, 1)
	f.mul(w.x, w.x, k.unit, k.pq)
	m1, m2 := f.part(w.x, 0), f.part(w.x, 1)
	subtractOnce(m1, p)
	subtractOnce(m2, q)
	words(w.m, m2)
	for i := range m1 {
		m1[i] += 2*p[i] - m2[i] // m2 < q < 2p, as both have the same length
	}
	carry(m1)
	f.mul(w.x, w.x, k.qInv, k.pq)
	subtractOnce(m1, p)
	words(w.h, m1)
	multiplyAdd(w.s, k.q, w.h, w.m)
}

// check tells whether s^e mod n = c, from s as it is about to leave.
func (k *Key) check(w *scratch, c []uint64) bool {
	f := &k.size.whole
	v := f.part(w.v, 0)
	digits(v, w.s)
	if less(v, k.modulus()) == 0 {
		return false
	}
	x := w.table[:f.len()] // the powers are no longer needed
	clear(x)
	f.mul(x, w.v, k.n.r2, k.n)
	copy(w.acc, x)
	for i := bits.Len(k.e) - 2; i > 0; i-- {
		f.square(w.acc, w.acc, k.n, 1)
		if k.e>>i&1 == 1 {
			f.mul(w.acc, w.acc, x, k.n)
		}
	}
	f.square(w.acc, w.acc, k.n, 1)
	f.mul(w.acc, w.acc, w.v, k.n) // e is odd; v without R takes the other R away
	result := f.part(w.acc, 0)
	subtractOnce(result, k.modulus())
	return equal(result, c) == 1
}

// trim takes the zeros before a number away.
func trim(b []byte) []byte { return bytes.TrimLeft(b, "\x00") }

// bitLen is the length of a trimmed number.
func bitLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return 8*(len(b)-1) + bits.Len8(b[0])
}
