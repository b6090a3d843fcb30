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

// TestWideAgreesWithMathBig: every lane is a*b/R modulo its own modulus, below twice that, for operands at the ends of what
// is allowed and in between.
func TestWideAgreesWithMathBig(t *testing.T) {
	r := mathrand.New(source(t))
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		f, one := s.wide, form{digits: s.wide.digits, count: 1}
		R := power2(digitBits * f.digits)
		for range max(*cases/200, 20) {
			mod, a, b, out := make([]uint64, f.len()+lanes), make([]uint64, f.len()), make([]uint64, f.len()), make([]uint64, f.len())
			var n, x, y [lanes]*big.Int
			for l := range lanes {
				n[l] = dense(r, s.bits)
				n[l].SetBit(n[l], 0, 1).SetBit(n[l], s.bits-1, 1)
				operand := func() *big.Int {
					switch r.IntN(6) {
					case 0:
						return new(big.Int)
					case 1:
						return plus(n[l], -1)
					case 2:
						return plus(new(big.Int).Lsh(n[l], 2), -1)
					}
					return new(big.Int).Mod(dense(r, s.bits+2), new(big.Int).Lsh(n[l], 2))
				}
				x[l], y[l] = operand(), operand()
				for _, put := range []struct {
					to    []uint64
					value *big.Int
				}{{mod, n[l]}, {a, x[l]}, {b, y[l]}} {
					number := make([]uint64, f.digits)
					setBytes(number, put.value.Bytes())
					spread(put.to, l, number)
				}
				inverse := new(big.Int).ModInverse(n[l], power2(digitBits))
				mod[f.len()+l] = new(big.Int).Sub(power2(digitBits), inverse).Uint64()
			}
			times := 1 + r.IntN(3)
			f.asm(&out[0], &a[0], &b[0], &mod[0], times)
			for l := range lanes {
				inverse := new(big.Int).ModInverse(R, n[l])
				want := new(big.Int).Mul(x[l], y[l])
				want.Mul(want, inverse).Mod(want, n[l])
				for range times - 1 {
					want.Mul(want, want).Mul(want, inverse).Mod(want, n[l])
				}
				number := make([]uint64, one.digits)
				collect(number, out, l)
				got := bigOf(number)
				if slices.ContainsFunc(number, func(d uint64) bool { return d > digitMask }) || got.Cmp(new(big.Int).Lsh(n[l], 1)) >= 0 ||
					got.Mod(got, n[l]).Cmp(want) != 0 {
					t.Fatalf("lane %d, %d times: a %x, b %x, n %x: %x, expected %x", l, times, x[l], y[l], n[l], number, want)
				}
			}
		}
	})
}

func bigOf(number []uint64) *big.Int {
	x := new(big.Int)
	for i := len(number) - 1; i >= 0; i-- {
		x.Lsh(x, digitBits).Add(x, new(big.Int).SetUint64(number[i]))
	}
	return x
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
