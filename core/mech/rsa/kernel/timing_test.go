package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// The tests that measure do it as dudect does (Reparaz, Balasch, Verbauwhede): two classes in random order, Welch's t over
// the times below several percentiles. Noise of the machine can only hide a difference or, when it is worst, feign one, so
// they run on request. |t| beyond 5 in repeated runs is a leak; beyond tooFar a test fails.
const tooFar = 15

func needTiming(t *testing.T) {
	if os.Getenv("COFFER_TIMING") == "" {
		t.Skip("set COFFER_TIMING to measure")
	}
	needKernel(t)
}

// pairOfClasses prepares the one of two classes of secrets, each with the same work.
type pairOfClasses struct {
	name    string
	prepare [2]func()
}

// TestTimeDoesNotDependOnSecrets is about the whole operation.
//
// The input 0 was seen to be 0.05 to 0.1 % faster than others (|t| up to 8), as a processor that multiplies zeros draws
// less power. It says nothing about the key; the input p, which is 0 for one half, is not faster.
func TestTimeDoesNotDependOnSecrets(t *testing.T) {
	needTiming(t)
	r := rand.New(source(t))
	for _, bits := range keySizes {
		std := testKey(t, bits)
		k := newTestKey(t, std)
		in := make([]byte, k.Size())
		// Both classes do the same work before the clock starts: one of two inputs drawn or made is copied.
		fixed := func(v []byte) [2]func() {
			both := [2][]byte{slices.Clone(v), make([]byte, len(v))}
			prepare := func(class int) func() {
				return func() {
					for i := range both[1][1:] {
						both[1][1+i] = byte(r.Uint64())
					}
					copy(in, both[class])
				}
			}
			return [2]func(){prepare(0), prepare(1)}
		}
		drawn := fixed(in)[1]
		number := func(n *big.Int) [2]func() { return fixed(n.FillBytes(make([]byte, k.Size()))) }
		dP, dQ := slices.Clone(k.dP), slices.Clone(k.dQ)
		// Exponents that do not belong to the key make a result that the check stops; it runs to its end all the same.
		for _, c := range append([]pairOfClasses{
			{"input 0 and random input", number(big.NewInt(0))},
			{"input 1 and random input", number(big.NewInt(1))},
			{"input n-1 and random input", number(plus(std.N, -1))},
			{"input p and random input", number(std.Primes[0])},
			{"input n-q and random input", number(new(big.Int).Sub(std.N, std.Primes[1]))},
			{"random inputs (control)", [2]func(){drawn, drawn}},
		}, exponents(r, k)...) {
			copy(k.dP, dP)
			copy(k.dQ, dQ)
			compare(t, r, fmt.Sprintf("%d bits, %s", bits, c.name), 30000*2048/bits, c, func() { k.Private(nil, in) })
		}
	}
}

// TestTimeOfABatchDoesNotDependOnSecrets is about the exponentiation for several callers. One of them has the exponents of
// the classes, the others have their own.
func TestTimeOfABatchDoesNotDependOnSecrets(t *testing.T) {
	needTiming(t)
	r := rand.New(source(t))
	eachWide(t, t.Run, func(t *testing.T, s *size) {
		var members []member
		for i := range perBatch {
			k := newTestKey(t, testKeys(t, 2*s.bits)[i%2])
			w := newScratch(s)
			setBytes(w.number(s), anyBelow(r, 2*s.bits-8).Bytes())
			k.reduce(w, w.number(s))
			members = append(members, member{k, w})
		}
		for _, c := range exponents(r, members[1].key) {
			compare(t, r, c.name, 15000*1024/s.bits, c, func() { s.wide.power(members) })
		}
	})
}

// exponents are classes of exponents that k is given.
func exponents(r *rand.Rand, k *Key) (list []pairOfClasses) {
	for _, fixed := range []struct {
		name   string
		window uint8
	}{{"exponent 0 and random exponent", 0}, {"exponent of ones and random exponent", powers - 1}} {
		prepare := func(mask uint8) func() {
			return func() {
				for i := range k.dP {
					k.dP[i] = fixed.window&^mask | uint8(r.UintN(powers))&mask
					k.dQ[i] = fixed.window&^mask | uint8(r.UintN(powers))&mask
				}
			}
		}
		list = append(list, pairOfClasses{fixed.name, [2]func(){prepare(0), prepare(powers - 1)}})
	}
	return list
}

// TestTimeOfThePartsDoesNotDependOnSecrets is about what is written in Go and meets secrets a few times in an operation: by
// itself and many times over, as it would be lost in the time of the whole.
func TestTimeOfThePartsDoesNotDependOnSecrets(t *testing.T) {
	needTiming(t)
	r := rand.New(source(t))
	s := sizeFor(1024)
	k := newTestKey(t, testKey(t, 2048))
	p := s.pair.part(k.pq.mem, 0)
	small := anyBelow(r, 1016)
	x, work, b, count, sum := slices.Clone(p), slices.Clone(p), make([]byte, 128), len(k.dP), uint64(0)
	for _, c := range []struct {
		name  string
		run   func()
		other *big.Int // than small, and below 2p as that is
	}{
		{"less", func() { sum += less(x, p) }, plus(get(t, p), 1)},
		{"subtractOnce", func() { copy(work, x); subtractOnce(work, p) }, plus(get(t, p), 1)},
		{"equal", func() { sum += uint64(equal(x, p)) }, get(t, p)},
		{"split", func() { sum += uint64(split(b, count)[0]) }, big.NewInt(0)},
		{"setBytes", func() { setBytes(work, b) }, big.NewInt(0)},
	} {
		prepare := func(v *big.Int) func() {
			digits, bytes := make([]uint64, len(x)), v.FillBytes(make([]byte, len(b)))
			put(digits, v)
			return func() { copy(x, digits); copy(b, bytes) }
		}
		compare(t, r, c.name, 20000, pairOfClasses{c.name, [2]func(){prepare(small), prepare(c.other)}}, func() {
			for range 200 {
				c.run()
			}
		})
	}
	t.Log(sum) // so that nothing of it is left out
}

// compare fails if the times of the classes differ.
func compare(t *testing.T, r *rand.Rand, name string, count int, c pairOfClasses, operation func()) {
	t.Helper()
	worst := welch(measure(r, count, c.prepare, operation))
	t.Logf("%s: worst |t| %.2f of %d measurements", name, worst, count)
	if worst > tooFar {
		t.Errorf("%s: the times differ", name)
	}
}

// measure takes times of two classes in random order.
func measure(r *rand.Rand, count int, prepare [2]func(), operation func()) (class []int, times []float64) {
	class, times = make([]int, count), make([]float64, count)
	for i := range count {
		class[i] = r.IntN(2)
		prepare[class[i]]()
		start := time.Now()
		operation()
		times[i] = float64(time.Since(start))
	}
	return class, times
}

// welch is the largest |t| of the times below several percentiles and of all. Where hardly any of one class is among them, the
// classes are so far apart that there is nothing to compute: it is infinite.
func welch(class []int, times []float64) (worst float64) {
	sorted := slices.Sorted(slices.Values(times))
	for _, part := range []float64{0.25, 0.5, 0.75, 0.9, 1} {
		limit := sorted[int(part*float64(len(times)-1))]
		var n, mean, m2 [2]float64
		for i, v := range times {
			if c := class[i]; v <= limit {
				n[c]++
				d := v - mean[c]
				mean[c] += d / n[c]
				m2[c] += d * (v - mean[c])
			}
		}
		if few := n[0] + n[1]; min(n[0], n[1]) < few/10 {
			return math.Inf(1)
		}
		apart := math.Abs(mean[0] - mean[1])
		if v := m2[0]/(n[0]-1)/n[0] + m2[1]/(n[1]-1)/n[1]; apart > 0 {
			worst = max(worst, apart/math.Sqrt(v))
		}
	}
	return worst
}

// TestWelchTellsClassesApart: the measure itself, on times that are made up. It must see a difference of any size, and none
// where there is none.
func TestWelchTellsClassesApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	made := func(step, noise float64) float64 {
		class, times := make([]int, 10000), make([]float64, 10000)
		for i := range times {
			class[i] = r.IntN(2)
			times[i] = 250000 + step*float64(class[i]) + math.Round(noise*r.ExpFloat64())
		}
		return welch(class, times)
	}
	for _, c := range []struct{ step, noise float64 }{{300, 1000}, {1000, 1000}, {30000, 1000}, {-30000, 1000}, {1, 0}, {1e6, 0}} {
		if got := made(c.step, c.noise); !(got > tooFar) {
			t.Errorf("%v apart in a noise of %v: |t| is %v", c.step, c.noise, got)
		}
	}
	for _, noise := range []float64{0, 1, 1000} {
		if got := made(0, noise); !(got < 5) {
			t.Errorf("not apart in a noise of %v: |t| is %v", noise, got)
		}
	}
}
