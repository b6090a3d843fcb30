package kernel

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	cases = flag.Int("cases", 5000, "how many cases of each differential test")
	seed  = flag.Uint64("seed", 0, "of the random cases; 0 takes the time")
)

// source is a reproducible generator; its seed is printed.
func source(t testing.TB) *rand.ChaCha8 {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d -cases %d", s, *cases)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], s)
	return rand.NewChaCha8(key)
}

func needKernel(t testing.TB) {
	if !Available() {
		t.Skip("this processor or build has no AVX-512 IFMA")
	}
}

func eachForm[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, f func(T, *form)) {
	needKernel(t)
	for i := range sizes {
		for _, form := range []*form{&sizes[i].pair, &sizes[i].whole} {
			t.Run(fmt.Sprintf("%dx%d", form.count, form.digits), func(t T) { f(t, form) })
		}
	}
}

// modulusBits is the length of the moduli that a form is for.
func modulusBits(f *form) int { return f.digits * digitBits / 512 * 512 }

func power2(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }

func plus(x *big.Int, n int64) *big.Int { return new(big.Int).Add(x, big.NewInt(n)) }

func put(x []uint64, v *big.Int) {
	v = new(big.Int).Set(v)
	for i := range x {
		x[i] = new(big.Int).And(v, big.NewInt(digitMask)).Uint64()
		v.Rsh(v, digitBits)
	}
	if v.Sign() != 0 {
		panic("a number that does not fit")
	}
}

// get also sees that every digit is in its range.
func get(t testing.TB, x []uint64) *big.Int {
	v := new(big.Int)
	for i := len(x) - 1; i >= 0; i-- {
		if x[i] > digitMask {
			t.Fatalf("digit %d is %#x", i, x[i])
		}
		v.Lsh(v, digitBits).Or(v, new(big.Int).SetUint64(x[i]))
	}
	return v
}

// dense draws numbers below 2^n among which long runs of ones and zeros are common.
func dense(r *rand.Rand, n int) *big.Int {
	v := new(big.Int)
	for at := 0; at < n; {
		run := 1 + r.IntN(64)
		if r.IntN(8) == 0 {
			run = 1 + r.IntN(n)
		}
		run = min(run, n-at)
		switch r.IntN(4) {
		case 0: // zeros
		case 1:
			v.Or(v, new(big.Int).Lsh(plus(power2(run), -1), uint(at)))
		default:
			for i := range run {
				v.SetBit(v, at+i, uint(r.IntN(2)))
			}
		}
		at += run
	}
	return v
}

func drawModulus(r *rand.Rand, f *form) *big.Int {
	bits := modulusBits(f)
	switch r.IntN(16) {
	case 0:
		return plus(power2(bits), -1)
	case 1:
		return plus(power2(bits-1), 1)
	}
	n := dense(r, bits)
	return n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
}

// operands draws two operands within the bounds that form states.
func operands(r *rand.Rand, f *form, n *big.Int) (a, b *big.Int) {
	four := new(big.Int).Lsh(n, 2)
	below := func(limit *big.Int) *big.Int {
		switch r.IntN(12) {
		case 0:
			return big.NewInt(int64(r.IntN(3)))
		case 1:
			return plus(limit, -1-int64(r.IntN(2)))
		case 2:
			return plus(n, int64(r.IntN(3))-1)
		case 3:
			if two := plus(new(big.Int).Lsh(n, 1), int64(r.IntN(3))-1); two.Cmp(limit) < 0 {
				return two
			}
		case 4: // all digits full, as many as there is room for
			return plus(power2(limit.BitLen()-1), -1)
		case 5:
			return power2(r.IntN(limit.BitLen() - 1))
		}
		v := dense(r, limit.BitLen())
		return v.Mod(v, limit)
	}
	if r.IntN(3) == 0 {
		return below(power2(digitBits * f.digits)), below(n)
	}
	return below(four), below(four)
}

// reference is the same multiplication by its definition: exact, not only modulo n.
type reference struct{ r, n, minusInverse *big.Int }

func newReference(f *form, n *big.Int) *reference {
	r := power2(digitBits * f.digits)
	i := new(big.Int).ModInverse(n, r)
	return &reference{r, n, i.Sub(r, i)}
}

func (x *reference) mul(a, b *big.Int) *big.Int {
	v := new(big.Int).Mul(a, b)
	m := new(big.Int).And(v, plus(x.r, -1))
	m.Mul(m, x.minusInverse).And(m, plus(x.r, -1))
	return v.Add(v, m.Mul(m, x.n)).Rsh(v, uint(x.r.BitLen()-1))
}

// moduli draws the moduli of a form.
func moduli(t testing.TB, r *rand.Rand, f *form) (*modulus, []*reference) {
	var refs []*reference
	var numbers [][]byte
	for range f.count {
		n := drawModulus(r, f)
		numbers = append(numbers, n.Bytes())
		refs = append(refs, newReference(f, n))
	}
	m := newModulus(f, modulusBits(f), numbers...)
	for i, ref := range refs {
		want := new(big.Int).Mul(ref.r, ref.r)
		if got := get(t, f.part(m.r2, i)); got.Cmp(want.Mod(want, ref.n)) != 0 {
			t.Fatalf("R^2 mod %x is %x", ref.n, got)
		}
	}
	return m, refs
}

func randomCase(t testing.TB, f *form) (x []uint64, m *modulus) {
	r := rand.New(source(t))
	m, refs := moduli(t, r, f)
	x = f.new()
	for i, ref := range refs {
		put(f.part(x, i), dense(r, ref.n.BitLen()-1))
	}
	return x, m
}

// TestFormIsExact compares multiplications and squarings with their definition: not modulo n alone, but to the bit.
func TestFormIsExact(t *testing.T) {
	eachForm(t, func(t *testing.T, f *form) {
		r := rand.New(source(t))
		a, b, out := f.new(), f.new(), f.new()
		var m *modulus
		var refs []*reference
		for i := range *cases {
			if i%16 == 0 { // a modulus costs more than its use
				m, refs = moduli(t, r, f)
			}
			x, y, times, squares := make([]*big.Int, 2), make([]*big.Int, 2), 1+i%3, true
			for h, ref := range refs {
				x[h], y[h] = operands(r, f, ref.n)
				put(f.part(a, h), x[h])
				put(f.part(b, h), y[h])
				squares = squares && x[h].Cmp(new(big.Int).Lsh(ref.n, 2)) < 0
			}
			f.mul(out, a, b, m)
			check(t, f, refs, out, func(h int) *big.Int { return refs[h].mul(x[h], y[h]) })
			f.mul(b, a, b, m) // in place
			check(t, f, refs, b, func(h int) *big.Int { return refs[h].mul(x[h], y[h]) })
			if squares {
				f.square(a, a, m, times)
				check(t, f, refs, a, func(h int) *big.Int {
					v := x[h]
					for range times {
						v = refs[h].mul(v, v)
					}
					return v
				})
			}
			if t.Failed() {
				t.Fatalf("case %d: %x, %x", i, x, y)
			}
		}
	})
}

func FuzzForm(f *testing.F) {
	needKernel(f)
	ones := bytes.Repeat([]byte{0xff}, 512)
	f.Add(uint8(0), ones, ones, ones)
	f.Add(uint8(3), []byte{1}, ones, []byte{})
	f.Fuzz(func(t *testing.T, which uint8, modulus, first, second []byte) {
		s := &sizes[int(which)/2%len(sizes)]
		f := []*form{&s.pair, &s.whole}[which%2]
		bits := modulusBits(f)
		n := new(big.Int).SetBytes(modulus)
		n.And(n, plus(power2(bits), -1)).SetBit(n, bits-1, 1).SetBit(n, 0, 1)
		four := new(big.Int).Lsh(n, 2)
		x, y := new(big.Int).SetBytes(first), new(big.Int).SetBytes(second)
		x.Mod(x, four)
		y.Mod(y, four)
		// In a pair the second number has the operands the other way round.
		ref, numbers := newReference(f, n), [][]byte{n.Bytes(), n.Bytes()}[:f.count]
		m, a, b, refs := newModulus(f, bits, numbers...), f.new(), f.new(), []*reference{ref, ref}[:f.count]
		for i := range f.count {
			put(f.part(a, i), []*big.Int{x, y}[i])
			put(f.part(b, i), []*big.Int{y, x}[i])
		}
		f.mul(a, a, b, m)
		check(t, f, refs, a, func(int) *big.Int { return ref.mul(x, y) })
	})
}

func check(t *testing.T, f *form, refs []*reference, out []uint64, want func(h int) *big.Int) {
	t.Helper()
	for h, ref := range refs {
		got, want := get(t, f.part(out, h)), want(h)
		if got.Cmp(want) != 0 {
			t.Errorf("number %d modulo %x: got %x, expected %x", h, ref.n, got, want)
		}
		if want.Cmp(new(big.Int).Lsh(ref.n, 1)) >= 0 {
			t.Errorf("number %d modulo %x: the result %x is not below 2n", h, ref.n, want)
		}
		for _, v := range out[h*f.stride()+f.digits : (h+1)*f.stride()] {
			if v != 0 {
				t.Errorf("number %d: the digits after it are %x", h, v)
			}
		}
	}
}

func TestPickReadsTheEntriesAsked(t *testing.T) {
	needKernel(t)
	for i := range sizes {
		s := &sizes[i]
		f := &s.pair
		table, out := make([]uint64, powers*f.len()), f.new()
		for j := range table {
			table[j] = uint64(j) * 0x9e3779b97f4a7c15
		}
		for p := range powers {
			for q := range powers {
				s.pick(out, table, uint8(p), uint8(q))
				for h, index := range []int{p, q} {
					for j, v := range f.part(out, h) {
						if v != table[index*f.len()+h*f.stride()+j] {
							t.Fatalf("%d bits, entries %d and %d, half %d: digit %d is %#x", s.bits, p, q, h, j, v)
						}
					}
				}
			}
		}
	}
}
