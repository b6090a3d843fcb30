package short

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"math/big"
	"slices"
	"testing"
)

// p256 is a curve that the standard library has too.
var p256 = parameters{
	name: "P-256",
	p:    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
	a:    "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
	b:    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
	x:    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
	y:    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
	n:    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
}

func each(t *testing.T, f func(t *testing.T, p parameters, c *Curve)) {
	for _, p := range append(slices.Clone(all), p256) {
		t.Run(p.name, func(t *testing.T) {
			c := p.curve()
			f(t, p, c)
		})
	}
}

// reference is the school's way to compute on a curve, with math/big.
type reference struct{ p, a, b, n *big.Int }

func number(s string) *big.Int { return new(big.Int).SetBytes(unhex(s)) }

func (p parameters) reference() reference {
	return reference{number(p.p), number(p.a), number(p.b), number(p.n)}
}

// add returns the sum of two points; nil is the point at infinity.
func (r reference) add(p, q []*big.Int) []*big.Int {
	switch {
	case p == nil:
		return q
	case q == nil:
		return p
	}
	up, down := new(big.Int).Sub(q[1], p[1]), new(big.Int).Sub(q[0], p[0])
	if p[0].Cmp(q[0]) == 0 {
		if p[1].Cmp(q[1]) != 0 {
			return nil
		}
		up.Mul(p[0], p[0]).Mul(up, big.NewInt(3)).Add(up, r.a)
		down.Lsh(p[1], 1)
	}
	slope := up.Mul(up, down.ModInverse(down.Mod(down, r.p), r.p))
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, p[0]).Sub(x, q[0]).Mod(x, r.p)
	y := new(big.Int).Sub(p[0], x)
	y.Mul(y, slope).Sub(y, p[1]).Mod(y, r.p)
	return []*big.Int{x, y}
}

func (r reference) multiply(p []*big.Int, k *big.Int) (sum []*big.Int) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = r.add(sum, sum)
		if k.Bit(i) == 1 {
			sum = r.add(sum, p)
		}
	}
	return sum
}

func (c *Curve) same(t *testing.T, what string, got point, want []*big.Int) {
	t.Helper()
	x, y, ok := c.affine(&got)
	if want == nil {
		if ok {
			t.Errorf("%s: %x, %x, want the point at infinity", what, x, y)
		}
		return
	}
	if !ok || new(big.Int).SetBytes(x).Cmp(want[0]) != 0 || new(big.Int).SetBytes(y).Cmp(want[1]) != 0 {
		t.Errorf("%s: %x, %x, want %x, %x", what, x, y, want[0], want[1])
	}
}

func TestMultiplicationAgreesWithMathBig(t *testing.T) {
	each(t, func(t *testing.T, p parameters, c *Curve) {
		r := p.reference()
		g := []*big.Int{number(p.x), number(p.y)}
		if sum := r.multiply(g, r.n); sum != nil || !r.n.ProbablyPrime(20) || !r.p.ProbablyPrime(20) {
			t.Fatal("the parameters are wrong")
		}
		scalars := []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), big.NewInt(15), big.NewInt(16), new(big.Int).Sub(r.n, big.NewInt(1)), r.n}
		for range 4 {
			k, err := rand.Int(rand.Reader, r.n)
			if err != nil {
				t.Fatal(err)
			}
			scalars = append(scalars, k)
		}
		other := r.multiply(g, big.NewInt(123456789))
		q, err := c.parse(slices.Concat([]byte{4}, other[0].FillBytes(make([]byte, c.size)), other[1].FillBytes(make([]byte, c.size))))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range scalars {
			scalar := k.FillBytes(make([]byte, c.size))
			c.same(t, "base by "+k.String(), c.multiplyBase(scalar), r.multiply(g, k))
			c.same(t, "point by "+k.String(), c.multiply(&q, scalar), r.multiply(other, k))
		}
	})
}

// TestAdditionIsComplete: the cases that other formulas need branches for.
func TestAdditionIsComplete(t *testing.T) {
	each(t, func(t *testing.T, p parameters, c *Curve) {
		r, w := p.reference(), c.work()
		g := []*big.Int{number(p.x), number(p.y)}
		minus := []*big.Int{g[0], new(big.Int).Sub(r.p, g[1])}
		known := map[string]struct {
			p    func() point
			want []*big.Int
		}{
			"infinity": {c.infinity, nil},
			"G":        {func() point { return point{c.number(p.x), c.number(p.y), c.one()} }, g},
			"-G":       {func() point { return point{c.number(p.x), c.zero().Sub(c.number(p.y), c.p), c.one()} }, minus},
			"2G":       {func() point { return c.multiply(&c.generator, append(make([]byte, c.size-1), 2)) }, r.add(g, g)},
		}
		for nameA, a := range known {
			for nameB, b := range known {
				x, y := a.p(), b.p()
				w.add(&x, &x, &y)
				c.same(t, nameA+" + "+nameB, x, r.add(a.want, b.want))
				x, y = a.p(), b.p()
				w.add(&y, &x, &y)
				c.same(t, nameA+" + "+nameB+" into the second", y, r.add(a.want, b.want))
			}
			x := a.p()
			w.add(&x, &x, &x)
			c.same(t, "twice "+nameA, x, r.add(a.want, a.want))
		}
	})
}

// RFC 6979, A.2.5: the nonces and signatures of P-256. No more randomness comes in there.
func TestDeterministicSignaturesOfRFC6979(t *testing.T) {
	c := p256.curve()
	k, err := c.NewPrivateKey(unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"; hex.EncodeToString(k.Point()[1:]) != want {
		t.Errorf("the public key is %x", k.Point())
	}
	for _, v := range []struct {
		h             func() hash.Hash
		message, r, s string
	}{
		{sha1.New, "sample", "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32", "6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb"},
		{sha256.New, "sample", "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716", "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
		{sha512.New, "sample", "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00", "2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe"},
		{sha256.New, "test", "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367", "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"},
	} {
		h := v.h()
		h.Write([]byte(v.message))
		sig, err := k.sign(h.Sum(nil), v.h, nil)
		if err != nil || hex.EncodeToString(sig) != v.r+v.s {
			t.Errorf("%s: %x, %v", v.message, sig, err)
		}
	}
}

func TestSignaturesAgreeWithTheStandardLibrary(t *testing.T) {
	c := p256.curve()
	k, err := c.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 70 {
		digest := bytes.Repeat([]byte{0xa5}, n)
		sig, err := k.Sign(digest)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && !ecdsa.Verify(&theirs.PublicKey, digest, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			t.Errorf("%d bytes: crypto/ecdsa does not take our signature", n)
		}
		r, s, err := ecdsa.Sign(rand.Reader, theirs, digest)
		if err != nil {
			t.Fatal(err)
		}
		if !k.Verify(digest, append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)) {
			t.Errorf("%d bytes: we do not take crypto/ecdsa's signature", n)
		}
	}
}

func TestSignaturesDifferAndVerify(t *testing.T) {
	each(t, func(t *testing.T, p parameters, c *Curve) {
		k, err := c.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		digest := []byte("a digest, of whatever length it may be, for it is cut or not")
		one, errOne := k.Sign(digest)
		two, errTwo := k.Sign(digest)
		if errOne != nil || errTwo != nil || bytes.Equal(one[:c.size], two[:c.size]) {
			t.Errorf("%x and %x, %v %v", one, two, errOne, errTwo)
		}
		n := number(p.n)
		for name, bad := range map[string][]byte{
			"another digest's": two,
			"zero":             make([]byte, 2*c.size),
			"r = 0":            slices.Concat(make([]byte, c.size), one[c.size:]),
			"s = 0":            slices.Concat(one[:c.size], make([]byte, c.size)),
			"s = n":            slices.Concat(one[:c.size], unhex(p.n)),
			"r = n":            slices.Concat(unhex(p.n), one[c.size:]),
			"short":            one[1:],
			"long":             append(slices.Clone(one), 0),
		} {
			d := digest
			if name == "another digest's" {
				d = digest[1:]
			}
			if k.Verify(d, bad) {
				t.Errorf("%s: verified", name)
			}
		}
		// The other s of the same signature is valid too: ECDSA is malleable.
		s := new(big.Int).Sub(n, new(big.Int).SetBytes(one[c.size:]))
		if !k.Verify(digest, slices.Concat(one[:c.size], s.FillBytes(make([]byte, c.size)))) {
			t.Error("n - s is refused")
		}
	})
}

func TestBadKeysAreRefused(t *testing.T) {
	each(t, func(t *testing.T, p parameters, c *Curve) {
		n, prime := unhex(p.n), unhex(p.p)
		zero, one := make([]byte, c.size), append(make([]byte, c.size-1), 1)
		for name, d := range map[string][]byte{"zero": zero, "n": n, "all ones": bytes.Repeat([]byte{255}, c.size), "short": one[1:], "long": append(zero, 1)} {
			if _, err := c.NewPrivateKey(d); err == nil {
				t.Errorf("private value %s is taken", name)
			}
		}
		last, err := c.NewPrivateKey(minus(p.n, 1))
		if err != nil {
			t.Fatal("n - 1:", err)
		}
		if got := last.Point(); hex.EncodeToString(got[1:1+c.size]) != p.x || hex.EncodeToString(got[1+c.size:]) == p.y {
			t.Errorf("(n - 1) G is %x", got)
		}
		good := slices.Concat([]byte{4}, unhex(p.x), unhex(p.y))
		off := slices.Clone(good)
		off[len(off)-1] ^= 1
		for name, point := range map[string][]byte{
			"infinity": {0}, "off the curve": off, "x = p": slices.Concat([]byte{4}, prime, unhex(p.y)),
			"y = p": slices.Concat([]byte{4}, unhex(p.x), prime), "zeros": slices.Concat([]byte{4}, zero, zero),
			"hybrid": slices.Concat([]byte{6}, good[1:]), "empty": nil, "short": good[:len(good)-1], "long": append(slices.Clone(good), 0),
		} {
			if _, err := c.NewPublicKey(point); err == nil {
				t.Errorf("point %s is taken", name)
			}
		}
	})
}

func TestPointsSurviveCompression(t *testing.T) {
	each(t, func(t *testing.T, p parameters, c *Curve) {
		for range 8 {
			k, err := c.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			point := k.Point()
			small := append([]byte{2 + point[len(point)-1]&1}, point[1:1+c.size]...)
			if got := c.Decompress(small); !bytes.Equal(got, point) {
				t.Errorf("%x comes back as %x", point, got)
			}
			small[0] ^= 1
			if got := c.Decompress(small); bytes.Equal(got, point) || got == nil {
				t.Errorf("the other point of x is %x", got)
			}
		}
		none := 0
		for i := range byte(40) {
			if c.Decompress(append(append([]byte{2}, make([]byte, c.size-1)...), i)) == nil {
				none++
			}
		}
		if none < 5 || none > 35 {
			t.Errorf("%d of 40 numbers are no x of a point", none)
		}
		if c.Decompress(append([]byte{2}, unhex(p.p)...)) != nil || c.Decompress([]byte{2}) != nil || c.Decompress(nil) != nil {
			t.Error("what is no compressed point is taken")
		}
	})
}

func TestWipedKeyIsGone(t *testing.T) {
	k, err := Named("secp256k1").GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	k.Wipe()
	if !bytes.Equal(k.Bytes(), make([]byte, 32)) {
		t.Error("the private value is still there")
	}
	if _, err := k.Sign([]byte("digest")); err == nil {
		t.Error("a wiped key signs")
	}
}

func Benchmark(b *testing.B) {
	for _, name := range []string{"secp256k1", "brainpoolP256r1", "brainpoolP512r1"} {
		k, err := Named(name).GenerateKey()
		if err != nil {
			b.Fatal(err)
		}
		digest := bytes.Repeat([]byte{1}, 32)
		sig, err := k.Sign(digest)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/sign", func(b *testing.B) {
			for b.Loop() {
				k.Sign(digest) //nolint:errcheck // measured only
			}
		})
		b.Run(name+"/verify", func(b *testing.B) {
			for b.Loop() {
				k.Verify(digest, sig)
			}
		})
	}
}
