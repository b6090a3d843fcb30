package kernel

import (
	"crypto/rand"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
)

// strong is a round of Miller-Rabin as FIPS 186-5, B.3.1 has it, over math/big.
func strong(w, b *big.Int) bool {
	one := big.NewInt(1)
	minusOne := new(big.Int).Sub(w, one)
	a := minusOne.TrailingZeroBits()
	z := new(big.Int).Exp(b, new(big.Int).Rsh(minusOne, a), w)
	if z.Cmp(one) == 0 || z.Cmp(minusOne) == 0 {
		return true
	}
	for range a - 1 {
		z.Mul(z, z).Mod(z, w)
		if z.Cmp(minusOne) == 0 {
			return true
		}
	}
	return false
}

func randomBelow(t testing.TB, n *big.Int) *big.Int {
	t.Helper()
	b, err := rand.Int(rand.Reader, new(big.Int).Sub(n, big.NewInt(3)))
	if err != nil {
		t.Fatal(err)
	}
	return b.Add(b, big.NewInt(2))
}

// withTwos is a random odd number of so many bits such that 2^twos is the power of 2 in n-1.
func withTwos(t testing.TB, bits, twos int) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	n.Rsh(n, uint(twos)).SetBit(n, 0, 1).Lsh(n, uint(twos))
	return n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
}

// liar is a composite of so many bits, and a base of order 3 that does not show it.
func liar(t testing.TB, bits int) (n, base *big.Int) {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	var p [2]*big.Int
	for i := range p {
		for p[i] == nil || new(big.Int).Mod(p[i], three).Cmp(one) != 0 {
			var err error
			if p[i], err = rand.Prime(rand.Reader, bits/2); err != nil {
				t.Fatal(err)
			}
		}
	}
	n = new(big.Int).Mul(p[0], p[1])
	a, b := new(big.Int).Sub(p[0], one), new(big.Int).Sub(p[1], one)
	third := new(big.Int).Mul(a, b) // of the largest order that there is
	third.Div(third, new(big.Int).GCD(nil, nil, a, b)).Div(third, three)
	for base == nil || base.Cmp(one) == 0 {
		base = new(big.Int).Exp(randomBelow(t, n), third, n)
	}
	return n, base
}

// TestRoundsAgreeWithMathBig: numbers with all powers of 2 that matter, primes, and composites that are hard to tell.
func TestRoundsAgreeWithMathBig(t *testing.T) {
	if !Available() {
		t.Skip("this processor has no AVX-512 IFMA")
	}
	for i := range sizes {
		bits := sizes[i].bits
		tester, err := NewTester(bits)
		if err != nil {
			t.Fatal(err)
		}
		prime, err := rand.Prime(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		numbers := []*big.Int{prime, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(bits)), big.NewInt(1))}
		for _, twos := range []int{1, 2, 3, 7, 8, 9, 16, 51, 52, 53, 64, 65, bits - 2} {
			numbers = append(numbers, withTwos(t, bits, twos))
		}
		composite, base := liar(t, bits)
		numbers = append(numbers, composite)
		count := map[bool]int{}
		for range 40 {
			var n, b [2]*big.Int
			for j := range n {
				n[j] = numbers[mathrand.IntN(len(numbers))]
				b[j] = randomBelow(t, n[j])
				switch mathrand.IntN(8) {
				case 0:
					b[j] = big.NewInt(2)
				case 1:
					b[j] = new(big.Int).Sub(n[j], big.NewInt(2))
				case 2:
					n[j], b[j] = composite, base
				case 3:
					n[j], b[j] = composite, new(big.Int).Sub(composite, base)
				}
			}
			got := tester.Round([2][]byte{n[0].Bytes(), n[1].Bytes()}, [2][]byte{b[0].Bytes(), b[1].Bytes()})
			for j := range n {
				want := strong(n[j], b[j])
				if count[want]++; got[j] != want {
					t.Fatalf("n = %x, b = %x: %v, want %v", n[j], b[j], got[j], want)
				}
			}
		}
		if count[true] == 0 || count[false] == 0 {
			t.Errorf("%d bits: %v", bits, count)
		}
	}
}

func TestTesterRefusesOtherSizes(t *testing.T) {
	for _, bits := range []int{0, 512, 1023, 1025, 4096} {
		if _, err := NewTester(bits); err == nil {
			t.Errorf("%d bits are taken", bits)
		}
	}
}

func TestHalve(t *testing.T) {
	for range 2000 {
		n := withTwos(t, 96, 1+mathrand.IntN(94))
		minusOne := new(big.Int).Sub(n, big.NewInt(1))
		b := n.FillBytes(make([]byte, 12))
		twos := halve(b)
		if want := minusOne.TrailingZeroBits(); uint(twos) != want || new(big.Int).Rsh(minusOne, want).Cmp(new(big.Int).SetBytes(b)) != 0 {
			t.Fatalf("%x: %d, %x", n, twos, b)
		}
	}
}

func BenchmarkRound(b *testing.B) {
	tester, err := NewTester(1024)
	if err != nil {
		b.Skip(err)
	}
	n := withTwos(b, 1024, 1)
	two := []byte{2}
	for b.Loop() {
		tester.Round([2][]byte{n.Bytes(), n.Bytes()}, [2][]byte{two, two})
	}
}
