package kernel

import (
	"bytes"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// eachWide runs f for each size that has a wide form.
func eachWide[T testing.TB](t T, run func(string, func(T)) bool, f func(t T, s *size)) {
	needKernel(t)
	for i := range sizes {
		if sizes[i].wide != nil {
			run(fmt.Sprint(2*sizes[i].bits), func(t T) { f(t, &sizes[i]) })
		}
	}
}

// wideCase is eight moduli and two operands for each.
type wideCase struct {
	f         *wide
	one       form // a lane
	refs      [lanes]*reference
	a, b      [lanes]*big.Int
	mod, x, y []uint64
}

func newWideCase(f *wide) *wideCase {
	n := f.len()
	return &wideCase{f: f, one: form{digits: f.digits, count: 1}, mod: make([]uint64, n+lanes), x: make([]uint64, n), y: make([]uint64, n)}
}

func (c *wideCase) setModulus(l int, n *big.Int) {
	c.refs[l] = newReference(&c.one, n)
	c.spread(c.mod, l, n)
	c.mod[c.f.len()+l] = new(big.Int).And(c.refs[l].minusInverse, big.NewInt(digitMask)).Uint64()
}

func (c *wideCase) setOperands(l int, a, b *big.Int) {
	c.a[l], c.b[l] = a, b
	c.spread(c.x, l, a)
	c.spread(c.y, l, b)
}

func (c *wideCase) spread(to []uint64, l int, v *big.Int) {
	number := make([]uint64, c.f.digits)
	put(number, v)
	spread(to, l, number)
}

// check has the product computed, in another place and in its operand's, and squared; each lane is to be exact.
func (c *wideCase) check(t *testing.T, times int) {
	t.Helper()
	out := make([]uint64, len(c.x))
	c.f.mul(out, c.x, c.y, c.mod)
	c.f.mul(c.y, c.x, c.y, c.mod)
	squared := slices.Clone(out)
	c.f.square(squared, squared, c.mod, times)
	for l, ref := range c.refs {
		want := ref.mul(c.a[l], c.b[l])
		twice := want
		for range times {
			twice = ref.mul(twice, twice)
		}
		number := make([]uint64, c.f.digits)
		for i, got := range [][]uint64{out, c.y, squared} {
			collect(number, got, l)
			if want := []*big.Int{want, want, twice}[i]; get(t, number).Cmp(want) != 0 || want.Cmp(new(big.Int).Lsh(ref.n, 1)) >= 0 {
				t.Fatalf("result %d, lane %d: a %x, b %x, n %x, squared %d times: %x, expected %x", i, l, c.a[l], c.b[l], ref.n, times, number, want)
			}
		}
	}
}

// TestWideIsExact compares every lane with its definition, for operands at the ends of what is allowed and in between.
func TestWideIsExact(t *testing.T) {
	r := mathrand.New(source(t))
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		c := newWideCase(s.wide)
		for i := range *cases / lanes {
			for l := range lanes {
				if i%16 == 0 { // a modulus costs more than its use
					c.setModulus(l, drawModulus(r, &c.one))
				}
				a, b := operands(r, &c.one, c.refs[l].n)
				c.setOperands(l, a, b)
			}
			c.check(t, 1+i%3)
		}
	})
}

func FuzzWide(f *testing.F) {
	needKernel(f)
	ones := bytes.Repeat([]byte{0xff}, 512)
	f.Add(uint8(0), ones, ones, ones)
	f.Add(uint8(5), []byte{1}, ones, []byte{})
	f.Fuzz(func(t *testing.T, which uint8, modulus, first, second []byte) {
		s := &sizes[which%2]
		c := newWideCase(s.wide)
		inputs := []*big.Int{new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(first), new(big.Int).SetBytes(second)}
		for l := range lanes { // each lane has another order of the three
			n := new(big.Int).And(inputs[l%3], plus(power2(s.bits), -1))
			c.setModulus(l, n.SetBit(n, s.bits-1, 1).SetBit(n, 0, 1))
			four := new(big.Int).Lsh(n, 2)
			c.setOperands(l, new(big.Int).Mod(inputs[(l+1)%3], four), new(big.Int).Mod(inputs[(l/3+2)%3], four))
		}
		c.check(t, 1+int(which/2)%3)
	})
}

// TestPickWide: each lane gets its own entry.
func TestPickWide(t *testing.T) {
	r := mathrand.New(source(t))
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		f := s.wide
		b := f.get()
		for i := range b.table {
			b.table[i] = r.Uint64() & digitMask
		}
		for range 200 {
			for l := range lanes {
				b.index[l] = r.Uint64N(powers)
			}
			f.pick(b.x, b)
			for i, v := range b.x {
				if want := f.entry(b, int(b.index[i%lanes]))[i]; v != want {
					t.Fatalf("index %v, word %d: %x, expected %x", b.index, i, v, want)
				}
			}
		}
	})
}

// TestBatches: keys of one size, several or the same, one to four at once.
func TestBatches(t *testing.T) {
	r := mathrand.New(source(t))
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		std := testKey(t, 2*s.bits)
		swapped := newKeyWith(t, std.Primes[1], std.Primes[0], 65537)
		stds := append(slices.Clone(testKeys(t, 2*s.bits)), swapped)
		for _, in := range testInputs(r, std, *cases/2000) {
			var members []member
			var wants [][]byte
			for range 1 + r.IntN(perBatch) {
				std := stds[r.IntN(len(stds))]
				v := new(big.Int).Mod(in, std.N)
				k := newTestKey(t, std)
				w := k.scratch.Get().(*scratch)
				setBytes(w.number(s), v.Bytes())
				k.reduce(w, w.number(s))
				members, wants = append(members, member{k, w}), append(wants, slow(std, v))
			}
			s.wide.power(members)
			for i, m := range members {
				m.key.recombine(m.w)
				if got := appendWords(nil, m.w.s); !bytes.Equal(got, wants[i]) || !m.key.check(m.w, m.w.number(s)) {
					t.Fatalf("%d of %d: in %x: %x, expected %x", i, len(members), in, got, wants[i])
				}
			}
		}
	})
}

// TestManyAtOnce: goroutines, and threads, with several keys find together, and each gets its own result.
func TestManyAtOnce(t *testing.T) {
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		for _, crowd := range []int{0, 4} {
			find(t, s, func() time.Duration { runtime.Gosched(); return 0 }, crowd)
			var wg sync.WaitGroup
			for g := range 16 {
				std := testKeys(t, 2*s.bits)[g%2]
				k := newTestKey(t, std)
				wg.Go(func() {
					if crowd > 0 {
						runtime.LockOSThread()
						defer runtime.UnlockOSThread()
					}
					for i := range 20 {
						in := big.NewInt(int64(1 + 100*g + i))
						out, err := k.Private(nil, in.Bytes())
						if err != nil || !bytes.Equal(out, slow(std, in)) {
							t.Errorf("%d, %d: %x, %v", g, i, out, err)
						}
					}
				})
			}
			wg.Wait()
		}
	})
}

func BenchmarkWide(b *testing.B) {
	eachWide(b, b.Run, func(b *testing.B, s *size) {
		f := s.wide
		x := f.get()
		const times = 100
		for b.Loop() {
			f.square(x.x, x.x, x.mod, times)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/times, "ns/each")
	})
}

// BenchmarkBatch is a full batch, its check among it, for each signature.
func BenchmarkBatch(b *testing.B) {
	eachWide(b, b.Run, func(b *testing.B, s *size) {
		k := newTestKey(b, testKey(b, 2*s.bits))
		var members []member
		for range perBatch {
			w := newScratch(s)
			w.c[0] = 2
			members = append(members, member{k, w})
		}
		for b.Loop() {
			for _, m := range members {
				k.reduce(m.w, m.w.number(s))
			}
			s.wide.power(members)
			for _, m := range members {
				k.recombine(m.w)
				if !k.check(m.w, m.w.number(s)) {
					b.Fatal("wrong")
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perBatch, "ns/signature")
	})
}
