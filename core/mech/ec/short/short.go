// Package short computes on elliptic curves in short Weierstrass form, y^2 = x^3 + ax + b, over a prime field and of prime
// order, that the standard library does not have: secp256k1 and the Brainpool curves.
//
// It is written to be looked over, not to be fast. Numbers are those of filippo.io/bigmod, which is what crypto/rsa
// computes with. Points are added with the complete formulas of Renes, Costello and Batina ("Complete addition formulas
// for prime order elliptic curves", 2016, section 3), which have no exceptional cases, so nothing branches on what the
// points are. Scalars are taken four bits at a time, and the multiple that goes with the bits is picked by reading all
// sixteen under a mask. No branch and no address depends on a private key, a nonce, or what is computed of them.
//
// Curves do not change once they are made. Keys may be used by many goroutines at once.
package short

import (
	"bytes"
	"encoding/hex"
	"errors"
	"sync"

	"filippo.io/bigmod"
)

// Curve is one curve.
type Curve struct {
	Name string
	size int // of a coordinate and of a scalar, in bytes

	p, n      *bigmod.Modulus
	pMinus2   []byte // exponents: inversion modulo p and n, a square root modulo p
	nMinus2   []byte
	root      []byte
	a, b3     *bigmod.Nat // 3b
	b         *bigmod.Nat
	aIsZero   bool
	generator point
	multiples func() *combs // of the generator
}

// parameters are a curve in the words of RFC 5639: hexadecimal numbers of one length.
type parameters struct{ name, p, a, b, x, y, n string }

func (p parameters) curve() *Curve {
	c := &Curve{Name: p.name, size: len(p.p) / 2, p: modulus(p.p), n: modulus(p.n)}
	if c.n.Size() != c.size || c.p.BitLen() != 8*c.size || c.n.BitLen() != 8*c.size {
		panic("short: the field and the order of " + p.name + " are not of one length in whole bytes")
	}
	c.pMinus2, c.nMinus2 = minus(p.p, 2), minus(p.n, 2)
	c.root = quarter(p.p)
	c.a, c.b = c.number(p.a), c.number(p.b)
	c.aIsZero = c.a.IsZero() == 1
	c.b3 = c.number(p.b).Add(c.b, c.p)
	c.b3.Add(c.b, c.p)
	c.generator = point{c.number(p.x), c.number(p.y), c.one()}
	c.multiples = sync.OnceValue(func() *combs { return c.newCombs() })
	return c
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("short: " + err.Error())
	}
	return b
}

func modulus(s string) *bigmod.Modulus {
	m, err := bigmod.NewModulus(unhex(s))
	if err != nil {
		panic("short: " + err.Error())
	}
	return m
}

// minus is a number less a small one that it does not have to borrow much for.
func minus(s string, small byte) []byte {
	b := unhex(s)
	for i := len(b) - 1; ; i-- {
		old := b[i]
		b[i] -= small
		if b[i] <= old {
			return b
		}
		small = 1
	}
}

// quarter is (p + 1) / 4: for p = 3 modulo 4 the exponent of a square root.
func quarter(s string) []byte {
	b := unhex(s)
	if b[len(b)-1]&3 != 3 {
		panic("short: p is not 3 modulo 4")
	}
	// (p + 1) / 4 = (p - 3) / 4 + 1, and the first is p shifted.
	for i := len(b) - 1; i >= 0; i-- {
		b[i] >>= 2
		if i > 0 {
			b[i] |= b[i-1] << 6
		}
	}
	for i := len(b) - 1; ; i-- {
		if b[i]++; b[i] != 0 {
			return b
		}
	}
}

// number is a constant of the field.
func (c *Curve) number(s string) *bigmod.Nat {
	x, err := bigmod.NewNat().SetBytes(unhex(s), c.p)
	if err != nil {
		panic("short: " + c.Name + ": " + err.Error())
	}
	return x
}

func (c *Curve) one() *bigmod.Nat {
	return c.number(hex.EncodeToString(append(make([]byte, c.size-1), 1)))
}

// Size is the length of a coordinate, of a private value and of half a signature in bytes.
func (c *Curve) Size() int { return c.size }

var errPoint = errors.New("no point of the curve")

// parse reads an uncompressed point (SEC 1, 2.3.4), whose coordinates must be below p. It is not at infinity.
func (c *Curve) parse(encoded []byte) (point, error) {
	if len(encoded) != 1+2*c.size || encoded[0] != 4 {
		return point{}, errPoint
	}
	x, errX := bigmod.NewNat().SetBytes(encoded[1:1+c.size], c.p)
	y, errY := bigmod.NewNat().SetBytes(encoded[1+c.size:], c.p)
	if errX != nil || errY != nil {
		return point{}, errPoint
	}
	square := c.copyOf(y).Mul(y, c.p)
	if square.Equal(c.right(x)) != 1 {
		return point{}, errPoint
	}
	return point{x, y, c.one()}, nil
}

// right is x^3 + ax + b.
func (c *Curve) right(x *bigmod.Nat) *bigmod.Nat {
	r := c.copyOf(x).Mul(x, c.p)
	r.Add(c.a, c.p)
	return r.Mul(x, c.p).Add(c.b, c.p)
}

// Decompress gives the uncompressed form of a compressed point (SEC 1, 2.3.4), or nil.
func (c *Curve) Decompress(compressed []byte) []byte {
	if len(compressed) != 1+c.size || compressed[0] != 2 && compressed[0] != 3 {
		return nil
	}
	x, err := bigmod.NewNat().SetBytes(compressed[1:], c.p)
	if err != nil {
		return nil
	}
	right := c.right(x)
	y := bigmod.NewNat().Exp(right, c.root, c.p)
	if c.copyOf(y).Mul(y, c.p).Equal(right) != 1 {
		return nil
	}
	if byte(y.IsOdd()) != compressed[0]&1 {
		y = c.zero().Sub(y, c.p)
		if byte(y.IsOdd()) != compressed[0]&1 { // y is 0
			return nil
		}
	}
	return bytes.Join([][]byte{{4}, x.Bytes(c.p), y.Bytes(c.p)}, nil)
}

func (c *Curve) zero() *bigmod.Nat { return bigmod.NewNat().ExpandFor(c.p) }

func (c *Curve) copyOf(x *bigmod.Nat) *bigmod.Nat {
	z := c.zero()
	copy(z.Bits(), x.Bits())
	return z
}
