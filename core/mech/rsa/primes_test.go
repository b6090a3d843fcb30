package rsa

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

// TestGeneratedKeys looks at what FIPS 186-5, A.1.1 and A.1.3 ask of a key, by math/big.
func TestGeneratedKeys(t *testing.T) {
	if _, err := kernel.NewTester(1024); err != nil {
		t.Skip("crypto/rsa generates: this processor has no AVX-512 IFMA")
	}
	for _, size := range []int{2048, 2048, 2048, 3072, 4096} {
		if testing.Short() && size > 2048 {
			continue
		}
		key, err := generateKey(size)
		if err != nil {
			t.Fatal(err)
		}
		p, q, one := key.Primes[0], key.Primes[1], big.NewInt(1)
		least := new(big.Int).Lsh(one, uint(size-1)) // of a prime squared: 2*2^(size-2)
		for _, n := range key.Primes {
			if n.BitLen() != size/2 || !n.ProbablyPrime(32) || new(big.Int).Mul(n, n).Cmp(least) < 0 {
				t.Errorf("%d bits: %x is no prime for it", size, n)
			}
			if e := big.NewInt(exponent); new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(n, one)).Cmp(one) != 0 {
				t.Errorf("%d bits: %d and p-1 have a common divisor", size, exponent)
			}
		}
		if apart := new(big.Int).Sub(p, q); apart.BitLen() <= size/2-100 {
			t.Errorf("%d bits: the primes differ in %d bits only", size, apart.BitLen())
		}
		if key.N.BitLen() != size || new(big.Int).Mul(p, q).Cmp(key.N) != 0 || key.D.BitLen() <= size/2 {
			t.Errorf("%d bits: a modulus of %d, a private exponent of %d", size, key.N.BitLen(), key.D.BitLen())
		}
		if err := consistent(key); err != nil {
			t.Error(err)
		}
	}
}

// TestSieveThrowsNoPrimeAway, and lets nothing pass that a small prime divides.
func TestSieveThrowsNoPrimeAway(t *testing.T) {
	known := map[uint32]bool{}
	for _, s := range sieve {
		product := new(big.Int).SetUint64(1)
		for _, p := range s.primes {
			if !big.NewInt(int64(p)).ProbablyPrime(10) || known[p] {
				t.Errorf("%d is no prime, or twice in the sieve", p)
			}
			known[p] = true
			product.Mul(product, big.NewInt(int64(p)))
		}
		if !product.IsUint64() || product.Uint64() != s.product {
			t.Errorf("the product of %v is not %d", s.primes, s.product)
		}
	}
	for n := int64(3); n < sieveTo; n++ {
		if big.NewInt(n).ProbablyPrime(10) != known[uint32(n)] {
			t.Errorf("%d: in the sieve %v", n, known[uint32(n)])
		}
	}
	for range 500 {
		w := make([]byte, 128)
		rand.Read(w)
		w[0], w[127] = w[0]|0xc0, w[127]|1
		n, want := new(big.Int).SetBytes(w), true
		for p := range known {
			want = want && new(big.Int).Mod(n, big.NewInt(int64(p))).Sign() != 0
		}
		want = want && new(big.Int).Mod(n, big.NewInt(exponent)).Cmp(big.NewInt(1)) != 0
		if got := sifted(w); got != want {
			t.Errorf("%x: %v, want %v", w, got, want)
		}
	}
	prime, err := rand.Prime(rand.Reader, 1024)
	if err != nil || !sifted(prime.Bytes()) {
		t.Errorf("%x is sifted out, %v", prime, err)
	}
}

// TestAssembleRefuses what is no key: crypto/rsa has the last word.
func TestAssembleRefuses(t *testing.T) {
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	q, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := assemble(p, q); err != nil {
		t.Fatal(err)
	}
	close := new(big.Int).Add(p, big.NewInt(2))
	for !close.ProbablyPrime(10) {
		close.Add(close, big.NewInt(2))
	}
	withE := new(big.Int) // p-1 a multiple of the public exponent
	for k := new(big.Int).Div(p, big.NewInt(exponent)); ; k.Add(k, big.NewInt(1)) {
		if withE.Mul(k, big.NewInt(exponent)).Add(withE, big.NewInt(1)); withE.ProbablyPrime(10) {
			break
		}
	}
	for name, pair := range map[string][2]*big.Int{"twice the same": {p, p}, "too close": {p, close}, "with the exponent": {withE, q}} {
		if _, err := assemble(pair[0], pair[1]); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func BenchmarkGenerate2048(b *testing.B) {
	for name, f := range map[string]func(int) (*rsa.PrivateKey, error){
		"kernel": generateKey,
		"crypto": func(size int) (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, size) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f(2048); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
