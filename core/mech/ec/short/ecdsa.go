package short

import (
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/mech/nonce"
	"github.com/coffer-hsm/coffer/core/secret"
)

var errSign = errors.New("the signature does not verify with the key's own public half")

// Sign makes an ECDSA signature r || s of a digest (FIPS 186-5, 6.4.1), each half of Size bytes. The nonce is drawn as RFC
// 6979, 3.6 lays down, from the key, the digest and fresh randomness: a fault of the generator of random numbers does not
// give the key away, nor does signing the same digest twice while faults are induced. The signature is checked before it
// leaves.
func (k *PrivateKey) Sign(digest []byte) ([]byte, error) {
	fresh := make([]byte, 32)
	defer secret.Wipe(fresh)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	sig, err := k.sign(digest, sha512.New, fresh)
	if err != nil {
		return nil, err
	}
	if !k.Verify(digest, sig) {
		return nil, errSign
	}
	return sig, nil
}

func (k *PrivateKey) sign(digest []byte, h func() hash.Hash, fresh []byte) ([]byte, error) {
	c := k.curve
	e := c.fromDigest(digest)
	d, err := bigmod.NewNat().SetBytes(k.d, c.n)
	if err != nil {
		return nil, errScalar
	}
	defer clear(d.Bits())
	draw := nonce.New(h, k.d, e.Bytes(c.n), fresh)
	defer draw.Wipe()
	for {
		candidate := draw.Next(c.size)
		sig := c.signWith(candidate, d, e)
		secret.Wipe(candidate)
		if sig != nil {
			return sig, nil
		}
	}
}

// signWith makes a signature with a nonce; nil where that is out of range or gives a zero, which says nothing of those
// that are used.
func (c *Curve) signWith(candidate []byte, d, e *bigmod.Nat) []byte {
	k, err := bigmod.NewNat().SetBytes(candidate, c.n)
	if err != nil {
		return nil
	}
	defer clear(k.Bits())
	if k.IsZero() == 1 {
		return nil
	}
	p := c.multiplyBase(candidate)
	defer p.wipe()
	x, y, _ := c.affine(&p)
	secret.Wipe(y)
	r, err := bigmod.NewNat().SetOverflowingBytes(x, c.n)
	if err != nil || r.IsZero() == 1 {
		return nil
	}
	// s = (e + r d) / k
	s := bigmod.NewNat().ExpandFor(c.n)
	copy(s.Bits(), r.Bits())
	s.Mul(d, c.n).Add(e, c.n)
	inverse := bigmod.NewNat().Exp(k, c.nMinus2, c.n)
	defer clear(inverse.Bits())
	s.Mul(inverse, c.n)
	if s.IsZero() == 1 {
		return nil
	}
	return append(r.Bytes(c.n), s.Bytes(c.n)...)
}

// fromDigest is the number that a digest stands for: as many bits from its left as n has, modulo n.
func (c *Curve) fromDigest(digest []byte) *bigmod.Nat {
	e, err := bigmod.NewNat().SetOverflowingBytes(digest[:min(len(digest), c.size)], c.n)
	if err != nil {
		panic("short: a number of the order's length does not fit: " + err.Error())
	}
	return e
}

// Verify checks a signature r || s of 2 Size bytes (FIPS 186-5, 6.4.2).
func (k *PublicKey) Verify(digest, sig []byte) bool {
	c := k.curve
	if len(sig) != 2*c.size {
		return false
	}
	r, errR := bigmod.NewNat().SetBytes(sig[:c.size], c.n)
	s, errS := bigmod.NewNat().SetBytes(sig[c.size:], c.n)
	if errR != nil || errS != nil || r.IsZero() == 1 || s.IsZero() == 1 {
		return false
	}
	inverse, ok := bigmod.NewNat().InverseVarTime(s, c.n)
	if !ok {
		return false
	}
	u1 := c.fromDigest(digest).Mul(inverse, c.n).Bytes(c.n)
	u2 := inverse.Mul(r, c.n).Bytes(c.n)
	p, q := c.multiplyBase(u1), c.multiply(&k.point, u2)
	c.work().add(&p, &p, &q)
	x, _, ok := c.affine(&p)
	if !ok {
		return false
	}
	v, err := bigmod.NewNat().SetOverflowingBytes(x, c.n)
	return err == nil && subtle.ConstantTimeCompare(v.Bytes(c.n), sig[:c.size]) == 1
}
