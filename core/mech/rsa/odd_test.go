package rsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// values are a private key in the order of privateAttributes.
type values struct{ n, e, d, p, q, dP, dQ, qInv *big.Int }

// keyOf computes the key of two numbers, which need not be prime, and changes it.
func keyOf(p, q *big.Int, e int64, change func(v *values)) pkcs11.Template {
	a, b := less1(p), less1(q)
	lambda := new(big.Int).Mul(a, b)
	lambda.Div(lambda, new(big.Int).GCD(nil, nil, a, b))
	v := &values{new(big.Int).Mul(p, q), big.NewInt(e), new(big.Int).ModInverse(big.NewInt(e), lambda), p, q, nil, nil, new(big.Int)}
	v.dP, v.dQ = new(big.Int).Mod(v.d, a), new(big.Int).Mod(v.d, b)
	v.qInv.ModInverse(q, p)
	if change != nil {
		change(v)
	}
	var t pkcs11.Template
	for i, x := range []*big.Int{v.n, v.e, v.d, v.p, v.q, v.dP, v.dQ, v.qInv} {
		t = append(t, pkcs11.Attr(privateAttributes[i], x.Bytes()))
	}
	return t
}

func less1(x *big.Int) *big.Int   { return new(big.Int).Sub(x, one) }
func plus(x, y *big.Int) *big.Int { return new(big.Int).Add(x, y) }

// primeNear is the first prime from x on whose predecessor none of the exponents of the test divides.
func primeNear(x *big.Int) *big.Int {
	x = new(big.Int).SetBit(x, 0, 1)
	for ; ; x.Add(x, big.NewInt(2)) {
		good := x.ProbablyPrime(0)
		for _, e := range []int64{3, 65537, 1<<31 - 1} {
			good = good && new(big.Int).Mod(less1(x), big.NewInt(e)).Sign() != 0
		}
		if good {
			return x
		}
	}
}

// primeOf is a random prime of so many bits with two ones in front, or with one and a zero.
func primeOf(t *testing.T, bits int, second uint) *big.Int {
	x, err := rand.Int(rand.Reader, new(big.Int).Lsh(one, uint(bits-2)))
	if err != nil {
		t.Fatal(err)
	}
	return primeNear(x.SetBit(x, bits-1, 1).SetBit(x, bits-2, second))
}

// TestOddKeys: a key that is unusual gives what math/big gives, with the kernel and without; what is no key is refused, and gives
// no signature where that is found out by nobody but the signature's check.
func TestOddKeys(t *testing.T) {
	low, high := primeOf(t, 1024, 1), primeOf(t, 1024, 1)
	if low.Cmp(high) > 0 {
		low, high = high, low
	}
	power := func(n uint) *big.Int { return new(big.Int).Lsh(one, n) }
	for _, c := range []struct {
		name string
		key  pkcs11.Template
		fast bool // the kernel does it
	}{
		{"p < q", keyOf(low, high, 65537, nil), true},
		{"p > q", keyOf(high, low, 65537, nil), true},
		{"2047 bits", keyOf(primeOf(t, 1024, 0), primeNear(power(1023)), 65537, nil), true},
		{"e = 3", keyOf(low, high, 3, nil), true},
		{"e = 2^31-1", keyOf(low, high, 1<<31-1, nil), true},
		{"d of another multiple", keyOf(low, high, 65537, func(v *values) { v.d = plus(v.d, new(big.Int).Mul(less1(v.p), less1(v.q))).Mod(v.d, less1(v.n)) }), true},
		{"primes of 1056 and 992 bits", keyOf(primeOf(t, 1056, 1), primeOf(t, 992, 1), 65537, nil), false},
		{"primes of 1024 and 1025 bits", keyOf(low, primeOf(t, 1025, 0), 65537, nil), false},
		{"primes that differ by 2^950", keyOf(low, primeNear(plus(low, power(950))), 65537, nil), true},
	} {
		if _, err := check(pkcs11.CKO_PRIVATE_KEY, c.key); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		k, err := newPrivateKey(c.key.Bytes)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if c.fast = c.fast && newFast(k.std) != nil; (k.fast != nil) != c.fast {
			t.Errorf("%s: done by the kernel: %v", c.name, k.fast != nil)
		}
		slow := *k
		slow.fast = nil
		for _, x := range []*privateKey{k, &slow} {
			for _, in := range []*big.Int{{}, one, k.std.Primes[0], new(big.Int).Sub(k.std.N, k.std.Primes[1]), less1(k.std.N)} {
				want := new(big.Int).Exp(in, k.std.D, k.std.N).FillBytes(make([]byte, k.size))
				if out, ok, err := x.raw(in.Bytes()); !ok || err != nil || !bytes.Equal(out, want) {
					t.Errorf("%s, in %x: %x, %v, %v", c.name, in, out, ok, err)
				}
			}
			for _, in := range []*big.Int{k.std.N, plus(k.std.N, one), less1(power(uint(8 * k.size)))} {
				if out, ok, err := x.raw(in.Bytes()); ok || err != nil || out != nil {
					t.Errorf("%s, in %x, which is not below n: %x, %v, %v", c.name, in, out, ok, err)
				}
			}
			out, err := x.signPKCS1(crypto.SHA256, make([]byte, 32))
			if err != nil || rsa.VerifyPKCS1v15(k.publicKey.std, crypto.SHA256, make([]byte, 32), out) != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	for _, c := range []struct {
		name string
		key  pkcs11.Template
	}{
		{"p = q", keyOf(low, low, 65537, func(v *values) { v.qInv = one })},
		{"primes that differ by little", keyOf(low, primeNear(plus(low, power(800))), 65537, nil)},
		{"a huge exponent", keyOf(low, high, 65537, func(v *values) { v.e = plus(power(61), one) })},
		{"an even modulus", keyOf(low, high, 65537, func(v *values) { v.n = plus(v.n, one) })},
		{"dP above p", keyOf(low, high, 65537, func(v *values) { v.dP = plus(v.dP, less1(v.p)) })},
		{"dQ above q", keyOf(low, high, 65537, func(v *values) { v.dQ = plus(v.dQ, less1(v.q)) })},
		{"dP off by half of p-1", keyOf(low, high, 65537, func(v *values) { v.dP = plus(v.dP, new(big.Int).Rsh(v.p, 1)) })},
		{"dP and dQ changed", keyOf(low, high, 65537, func(v *values) { v.dP, v.dQ = v.dQ, v.dP })},
		{"d changed alone", keyOf(low, high, 65537, func(v *values) { v.d = plus(v.d, big.NewInt(2)) })},
		{"d of another exponent", keyOf(low, high, 65537, func(v *values) { v.d, v.dP, v.dQ = big.NewInt(3), big.NewInt(3), big.NewInt(3) })},
		{"qInv above p", keyOf(low, high, 65537, func(v *values) { v.qInv = plus(v.qInv, v.p) })},
		{"p's inverse for q's", keyOf(low, high, 65537, func(v *values) { v.qInv = new(big.Int).ModInverse(v.p, v.q) })},
		{"p of two primes", keyOf(new(big.Int).Mul(primeOf(t, 512, 1), primeOf(t, 512, 1)), high, 65537, nil)},
	} {
		if _, err := check(pkcs11.CKO_PRIVATE_KEY, c.key); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			t.Errorf("%s: %v", c.name, err)
		}
		k, err := newPrivateKey(c.key.Bytes)
		if err != nil {
			continue
		}
		slow := *k
		slow.fast = nil
		for _, x := range []*privateKey{k, &slow} {
			if out, _, err := x.raw([]byte{2}); err == nil || out != nil {
				t.Errorf("%s: %x", c.name, out)
			}
			if out, err := x.signPKCS1(crypto.SHA256, make([]byte, 32)); err == nil || out != nil {
				t.Errorf("%s: %x", c.name, out)
			}
		}
	}
}
