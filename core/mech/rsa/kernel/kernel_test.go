package kernel

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"sync"
	"testing"
)

var keySizes = []int{2048, 3072, 4096}

var made sync.Map

// testKey is one key a size, the same in all tests.
func testKey(t testing.TB, bits int) *rsa.PrivateKey {
	if k, ok := made.Load(bits); ok {
		return k.(*rsa.PrivateKey)
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	made.Store(bits, k)
	return k
}

// testKeys are two keys of a size.
func testKeys(t testing.TB, bits int) []*rsa.PrivateKey {
	other, ok := made.Load(-bits)
	if !ok {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		other, _ = made.LoadOrStore(-bits, k)
	}
	return []*rsa.PrivateKey{testKey(t, bits), other.(*rsa.PrivateKey)}
}

func numbersOf(k *rsa.PrivateKey) *Numbers {
	return &Numbers{
		N: k.N.Bytes(), E: uint(k.E), P: k.Primes[0].Bytes(), Q: k.Primes[1].Bytes(),
		DP: k.Precomputed.Dp.Bytes(), DQ: k.Precomputed.Dq.Bytes(), QInv: k.Precomputed.Qinv.Bytes(),
	}
}

func newTestKey(t testing.TB, std *rsa.PrivateKey) *Key {
	needKernel(t)
	k, err := NewKey(numbersOf(std))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// slow is in^d mod n as math/big does it, without the primes.
func slow(std *rsa.PrivateKey, in *big.Int) []byte {
	return new(big.Int).Exp(in, std.D, std.N).FillBytes(make([]byte, std.Size()))
}

// newKeyWith makes a key with other primes than crypto/rsa would: swapped, and with another exponent.
func newKeyWith(t testing.TB, p, q *big.Int, e int64) *rsa.PrivateKey {
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e)}, Primes: []*big.Int{p, q}}
	k.D = new(big.Int).ModInverse(big.NewInt(e), new(big.Int).Mul(p1, q1))
	if k.D == nil {
		return nil
	}
	k.Precomputed.Dp = new(big.Int).Mod(k.D, p1)
	k.Precomputed.Dq = new(big.Int).Mod(k.D, q1)
	k.Precomputed.Qinv = new(big.Int).ModInverse(q, p)
	return k
}

func testInputs(r *mathrand.Rand, std *rsa.PrivateKey, count int) []*big.Int {
	p, q, n := std.Primes[0], std.Primes[1], std.N
	in := []*big.Int{
		big.NewInt(0), big.NewInt(1), big.NewInt(2), plus(n, -1), plus(n, -2), p, q, plus(p, 1), plus(q, -1),
		plus(n, 0).Sub(n, p), plus(n, 0).Sub(n, q), new(big.Int).Sqrt(n), power2(n.BitLen() - 1),
		new(big.Int).Lsh(p, uint(n.BitLen()-p.BitLen()-1)),
	}
	for range count {
		v := dense(r, n.BitLen())
		in = append(in, v.Mod(v, n))
	}
	return in
}

func TestPrivateAgreesWithMathBig(t *testing.T) {
	r := mathrand.New(source(t))
	for _, bits := range keySizes {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			std := testKey(t, bits)
			p, q := std.Primes[0], std.Primes[1]
			keys := []*rsa.PrivateKey{std, newKeyWith(t, p, q, 65537), newKeyWith(t, q, p, 65537)}
			for _, e := range []int64{3, 5, 17, 257, 1<<31 - 1, 0x55555555} {
				keys = append(keys, newKeyWith(t, q, p, e))
			}
			for range *cases / 5000 {
				fresh, err := rsa.GenerateKey(rand.Reader, bits)
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, fresh)
			}
			for _, std := range keys {
				if std == nil {
					continue // the exponent has a divisor in common with a prime less one
				}
				k := newTestKey(t, std)
				for _, in := range testInputs(r, std, *cases/1000) {
					out, err := k.Private([]byte("before"), in.Bytes())
					if want := append([]byte("before"), slow(std, in)...); err != nil || !bytes.Equal(out, want) {
						t.Fatalf("n %x, e %d, in %x: %x, %v, expected %x", std.N, std.E, in, out, err, want)
					}
				}
			}
		})
	}
}

// Primes as close to the ends of their range as there are; dP and dQ follow.
func TestExtremePrimes(t *testing.T) {
	needKernel(t)
	r := mathrand.New(source(t))
	for i := range sizes {
		bits := sizes[i].bits
		prime := func(from *big.Int, step int64) *big.Int {
			for from = plus(from, 0); !from.ProbablyPrime(1) || new(big.Int).Mod(from, big.NewInt(65537)).Int64() == 1; {
				from = plus(from, step)
			}
			return from
		}
		high := prime(plus(power2(bits), -1), -2)
		low := prime(plus(new(big.Int).Rsh(new(big.Int).Mul(power2(bits), big.NewInt(0xb505)), 16), 1), 2) // 2^(bits-1/2)
		low.SetBit(low, 0, 1)
		for _, pair := range [][2]*big.Int{{high, low}, {low, high}} {
			std := newKeyWith(t, pair[0], pair[1], 65537)
			k := newTestKey(t, std)
			for _, in := range testInputs(r, std, 4) {
				out, err := k.Private(nil, in.Bytes())
				if err != nil || !bytes.Equal(out, slow(std, in)) {
					t.Fatalf("%d bits, in %x: %x, %v", bits, in, out, err)
				}
			}
		}
	}
}

func TestInputOutOfRange(t *testing.T) {
	std := testKey(t, 2048)
	k := newTestKey(t, std)
	long := make([]byte, k.Size()+1)
	for _, in := range [][]byte{std.N.Bytes(), plus(std.N, 1).Bytes(), bytes.Repeat([]byte{0xff}, k.Size()), long} {
		if out, err := k.Private(nil, in); !errors.Is(err, ErrRange) || out != nil {
			t.Errorf("in %x: %x, %v", in, out, err)
		}
	}
}

func TestKeysOfAnotherShape(t *testing.T) {
	needKernel(t)
	good := *numbersOf(testKey(t, 2048))
	for name, change := range map[string]func(*Numbers){
		"no prime":         func(n *Numbers) { n.P = nil },
		"unequal primes":   func(n *Numbers) { n.Q = numbersOf(testKey(t, 3072)).Q },
		"another modulus":  func(n *Numbers) { n.N = plus(new(big.Int).SetBytes(n.N), 2).Bytes() },
		"no modulus":       func(n *Numbers) { n.N = nil },
		"short modulus":    func(n *Numbers) { n.N = n.N[1:] },
		"even prime":       func(n *Numbers) { n.P = plus(new(big.Int).SetBytes(n.P), 1).Bytes() },
		"even exponent":    func(n *Numbers) { n.E = 65536 },
		"exponent 1":       func(n *Numbers) { n.E = 1 },
		"long dP":          func(n *Numbers) { n.DP = n.N },
		"long coefficient": func(n *Numbers) { n.QInv = n.N },
		"1024 bits": func(n *Numbers) {
			n.P, n.Q = n.P[64:], n.Q[64:]
		},
	} {
		n := good
		change(&n)
		if k, err := NewKey(&n); !errors.Is(err, ErrShape) || k != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoWrongResultLeaves flips bits in every value that an expanded key holds: what then comes out is the right result
// or none at all. A few values may change without harm to the result, as the multiplier beyond k0 that nobody reads.
func TestNoWrongResultLeaves(t *testing.T) {
	r := mathrand.New(source(t))
	for _, bits := range keySizes {
		std := testKey(t, bits)
		in := anyBelow(r, bits-1) // with digits everywhere: a value that meets a zero cannot do harm
		want := slow(std, in)
		for name, field := range map[string]func(*Key) []uint64{
			"p":             func(k *Key) []uint64 { return k.size.pair.part(k.pq.mem, 0) },
			"q":             func(k *Key) []uint64 { return k.size.pair.part(k.pq.mem, 1) },
			"-1/p and -1/q": func(k *Key) []uint64 { return k.pq.mem[k.size.pair.len():] },
			"R^2":           func(k *Key) []uint64 { return k.pq.r2 },
			"R^3":           func(k *Key) []uint64 { return k.r3 },
			"R":             func(k *Key) []uint64 { return k.one },
			"1":             func(k *Key) []uint64 { return k.unit },
			"qInv":          func(k *Key) []uint64 { return k.qInv },
			"q in words":    func(k *Key) []uint64 { return k.q },
			"n":             func(k *Key) []uint64 { return k.size.whole.part(k.n.mem, 0) },
			"-1/n":          func(k *Key) []uint64 { return k.n.mem[k.size.whole.len():] },
			"R^2 modulo n":  func(k *Key) []uint64 { return k.n.r2 },
		} {
			k := newTestKey(t, std)
			stopped := 0
			const tries = 12
			for i := range tries {
				x := field(k)
				at, bit := r.IntN(len(x)), uint64(1)<<r.IntN(digitBits)
				if i == 0 {
					at, bit = 0, 1<<20
				}
				x[at] ^= bit
				out, err := k.Private(nil, in.Bytes())
				x[at] ^= bit
				if err != nil {
					stopped++
				}
				if err == nil && !bytes.Equal(out, want) || err != nil && out != nil {
					t.Errorf("%d bits, %s, digit %d ^ %#x: %x, %v", bits, name, at, bit, out, err)
				}
			}
			t.Logf("%d bits, %s: %d of %d faults stopped a result, the others did no harm", bits, name, stopped, tries)
			if stopped == 0 && name != "R" { // R is power 0 and takes part only where a window is 0
				t.Errorf("%d bits: no fault in %s was seen", bits, name)
			}
		}
		for name, change := range map[string]func(*Key){
			"dP": func(k *Key) { k.dP[r.IntN(len(k.dP))] ^= 1 },
			"dQ": func(k *Key) { k.dQ[r.IntN(len(k.dQ))] ^= 16 },
			"e":  func(k *Key) { k.e += 2 },
		} {
			k := newTestKey(t, std)
			change(k)
			if out, err := k.Private(nil, in.Bytes()); !errors.Is(err, ErrFault) || out != nil {
				t.Errorf("%d bits, %s changed: %x, %v", bits, name, out, err)
			}
		}
	}
}

// anyBelow is a number of so many bits, each as likely 0 as 1.
func anyBelow(r *mathrand.Rand, bits int) *big.Int {
	b := make([]byte, bits/8)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return new(big.Int).SetBytes(b)
}

func TestKeyServesManyAtOnce(t *testing.T) {
	std := testKey(t, 2048)
	k := newTestKey(t, std)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				in := big.NewInt(int64(2 + i*1000 + j))
				out, err := k.Private(nil, in.Bytes())
				if err != nil || new(big.Int).Exp(new(big.Int).SetBytes(out), big.NewInt(int64(std.E)), std.N).Cmp(in) != 0 {
					t.Errorf("in %v: %x, %v", in, out, err)
				}
			}
		})
	}
	all.Wait()
}

func TestWipeLeavesNothing(t *testing.T) {
	k := newTestKey(t, testKey(t, 2048))
	if _, err := k.Private(nil, []byte{2}); err != nil {
		t.Fatal(err)
	}
	w := k.scratch.Get().(*scratch) // the one that was used, or with -race perhaps a new one
	for _, x := range [][]uint64{
		w.c, w.v, w.acc, w.x, w.t, w.table, w.h, w.m, w.s,
	} {
		wiped(t, x)
	}
	k.Wipe()
	for _, x := range [][]uint64{k.n.mem, k.n.r2, k.pq.mem, k.pq.r2, k.r3, k.one, k.qInv, k.q} {
		wiped(t, x)
	}
	wiped(t, k.dP)
	wiped(t, k.dQ)
	if out, err := k.Private(nil, []byte{2}); err == nil {
		t.Errorf("a wiped key gave %x", out)
	}
}

func wiped[T uint8 | uint64](t *testing.T, x []T) {
	t.Helper()
	for i, v := range x {
		if v != 0 {
			t.Fatalf("word %d of %d is %#x", i, len(x), v)
		}
	}
}

func TestPrivateDoesNotAllocate(t *testing.T) {
	k := newTestKey(t, testKey(t, 2048))
	out, in := make([]byte, 0, k.Size()), []byte{2}
	least := math.Inf(1) // of many runs: with -race the pool forgets some of what it was given
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, func() { k.Private(out, in) }))
	}
	if least > 0 {
		t.Errorf("%v allocations", least)
	}
}

func FuzzPrivate(f *testing.F) {
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{1})
	f.Add(uint8(2), bytes.Repeat([]byte{0xff}, 512))
	needKernel(f)
	var keys []*Key
	for _, bits := range keySizes {
		keys = append(keys, newTestKey(f, testKey(f, bits)))
	}
	f.Fuzz(func(t *testing.T, which uint8, in []byte) {
		i := int(which) % len(keys)
		std, c := testKey(t, keySizes[i]), new(big.Int).SetBytes(in)
		out, err := keys[i].Private(nil, in)
		if len(in) > keys[i].Size() || c.Cmp(std.N) >= 0 {
			if !errors.Is(err, ErrRange) {
				t.Fatalf("in %x: %x, %v", in, out, err)
			}
			return
		}
		// Below n there is one number only whose e-th power is c.
		s := new(big.Int).SetBytes(out)
		if err != nil || len(out) != std.Size() || s.Cmp(std.N) >= 0 || s.Exp(s, big.NewInt(int64(std.E)), std.N).Cmp(c) != 0 {
			t.Fatalf("in %x: %x, %v", in, out, err)
		}
	})
}
