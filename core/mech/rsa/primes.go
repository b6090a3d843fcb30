package rsa

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"

	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

// generateKey makes a key as crypto/rsa does, by FIPS 186-5, A.1.3. Where the kernel can test numbers of half the length,
// the primes are found with it, which takes a fraction of the time; crypto/rsa then looks at what was found. In FIPS mode
// crypto/rsa does all.
func generateKey(size int) (*rsa.PrivateKey, error) {
	tester, err := kernel.NewTester(size / 2)
	if err != nil || size%2 != 0 || fips140.Enabled() {
		return rsa.GenerateKey(rand.Reader, size)
	}
	for range 8 { // a second time happens once in 2^15 keys, for the public exponent
		key, err := assemble(findPrimes(tester, size/2))
		if err == nil && key.N.BitLen() == size {
			return key, consistent(key)
		}
	}
	return nil, errors.New("no key came of eight pairs of primes: the random numbers are broken")
}

// assemble makes the key of two primes and has crypto/rsa look at it: that they differ, and in more than their low bits, that
// d is not small and that all values belong together (FIPS 186-5, A.1.1 and A.1.3).
func assemble(p, q *big.Int) (*rsa.PrivateKey, error) {
	one, e := big.NewInt(1), big.NewInt(exponent)
	a, b := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	lambda := new(big.Int).Mul(a, b)
	lambda.Div(lambda, new(big.Int).GCD(nil, nil, a, b))
	defer wipeNumbers(a, b, lambda)
	d := new(big.Int).ModInverse(e, lambda)
	if d == nil {
		return nil, errors.New("the public exponent divides p-1 or q-1")
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: exponent}, D: d, Primes: []*big.Int{p, q}}
	key.Precompute()
	return key, key.Validate()
}

// consistent signs and verifies, as SP 800-56B, 6.4.1.1 asks of a new pair. It is crypto/rsa that does, and no kernel.
func consistent(key *rsa.PrivateKey) error {
	digest := sha256.Sum256([]byte("a pair of keys"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return err
	}
	return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature)
}

// rounds is how many rounds of Miller-Rabin a prime of a key passes, with bases at random: as many as crypto/rsa runs. For
// numbers at random that leaves a composite with less than the key's strength (FIPS 186-5, table B.1).
func rounds(size int) int {
	if size >= 1345 {
		return 4
	}
	return 5
}

// findPrimes finds two primes of so many bits, each drawn anew for each try.
func findPrimes(t *kernel.Tester, size int) (p, q *big.Int) {
	var found [2]*big.Int
	for n := 0; n < 2; {
		pair := [2][]byte{candidate(size), candidate(size)}
		first := t.Round(pair, [2][]byte{base(pair[0]), base(pair[1])})
		for i, w := range pair {
			if n < 2 && first[i] && passes(t, w, rounds(size)-1) {
				found[n] = new(big.Int).SetBytes(w)
				n++
			}
			clear(w)
		}
	}
	return found[0], found[1]
}

// passes runs more rounds, two at a time.
func passes(t *kernel.Tester, w []byte, more int) bool {
	for ; more > 0; more -= 2 {
		if r := t.Round([2][]byte{w, w}, [2][]byte{base(w), base(w)}); !r[0] || !r[1] {
			return false
		}
	}
	return true
}

// candidate draws an odd number whose two highest bits are set, so that it is above sqrt(2)*2^(size-1) and the product of two
// has twice the bits, and that no small prime divides; p-1 is prime to the public exponent.
func candidate(size int) []byte {
	w := make([]byte, size/8)
	for {
		rand.Read(w)
		w[0] |= 0xc0
		w[len(w)-1] |= 1
		if sifted(w) {
			return w
		}
	}
}

// base draws a base for a round, from 2 to w-2 (FIPS 186-5, B.3.1, 4.1 and 4.2).
func base(w []byte) []byte {
	b := make([]byte, len(w))
	two := make([]byte, len(w))
	two[len(two)-1] = 2
	w = bytes.Clone(w)
	w[len(w)-1] &^= 1 // w-1, as w is odd
	defer clear(w)
	for {
		rand.Read(b)
		if bytes.Compare(b, two) >= 0 && bytes.Compare(b, w) < 0 {
			return b
		}
	}
}

// sieve are products of small odd primes that fit into a word, and their factors.
var sieve = newSieve(sieveTo)

// sieveTo is where dividing by another prime begins to cost more than the rounds that it saves.
const sieveTo = 4096

type sifter struct {
	product uint64
	primes  []uint32
}

func newSieve(to uint32) (list []sifter) {
	now := sifter{product: 1}
	composite := make([]bool, to)
	for n := uint32(3); n < to; n += 2 {
		if composite[n] {
			continue
		}
		for m := 3 * n; m < to; m += 2 * n {
			composite[m] = true
		}
		if high, _ := bits.Mul64(now.product, uint64(n)); high != 0 {
			list, now = append(list, now), sifter{product: 1}
		}
		now.product *= uint64(n)
		now.primes = append(now.primes, n)
	}
	return append(list, now)
}

// sifted tells whether no small prime divides w, and the public exponent does not divide w-1. How long it takes says what
// divides a number that is then thrown away; of one that is kept, nothing.
func sifted(w []byte) bool {
	for _, s := range sieve {
		rest := remainder(w, s.product)
		for _, p := range s.primes {
			if uint32(rest%uint64(p)) == 0 {
				return false
			}
		}
	}
	return remainder(w, exponent) != 1
}

// remainder is w mod m, of a big-endian number of whole words of 64 bits.
func remainder(w []byte, m uint64) (r uint64) {
	for i := 0; i < len(w); i += 8 {
		_, r = bits.Div64(r, binary.BigEndian.Uint64(w[i:]), m)
	}
	return r
}
