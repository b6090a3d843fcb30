package short

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"

	"filippo.io/bigmod"

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
	draw := newNonces(h, k.d, e.Bytes(c.n), fresh)
	defer draw.wipe()
	for {
		candidate := draw.next(c.size)
		sig := c.signWith(candidate, d, e)
		secret.Wipe(candidate)
		if sig != nil {
			return sig, nil
		}
	}
}

// signWith makes a signature with a nonce; nil where that is out of range or gives a zero, which says nothing of those
// that are used.
func (c *Curve) signWith(nonce []byte, d, e *bigmod.Nat) []byte {
	k, err := bigmod.NewNat().SetBytes(nonce, c.n)
	if err != nil {
		return nil
	}
	defer clear(k.Bits())
	if k.IsZero() == 1 {
		return nil
	}
	p := c.multiplyBase(nonce)
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

// nonces is the generator of RFC 6979, 3.2: HMAC_DRBG over the key, the digest and, as 3.6 allows, something more.
type nonces struct {
	hash func() hash.Hash
	k, v []byte
}

func newNonces(h func() hash.Hash, key, digest, more []byte) *nonces {
	n := &nonces{hash: h, k: make([]byte, h().Size()), v: make([]byte, h().Size())}
	for i := range n.v {
		n.v[i] = 1
	}
	n.mix(0, key, digest, more)
	n.mix(1, key, digest, more)
	return n
}

func (n *nonces) mac(parts ...[]byte) []byte {
	m := hmac.New(n.hash, n.k)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func (n *nonces) mix(round byte, parts ...[]byte) {
	k := n.mac(append([][]byte{n.v, {round}}, parts...)...)
	secret.Wipe(n.k)
	n.k = k
	n.step()
}

func (n *nonces) step() {
	v := n.mac(n.v)
	secret.Wipe(n.v)
	n.v = v
}

// next returns a candidate of size bytes, the caller's to wipe.
func (n *nonces) next(size int) []byte {
	out := make([]byte, 0, size+len(n.v))
	for len(out) < size {
		n.step()
		out = append(out, n.v...)
	}
	secret.Wipe(out[size:])
	n.mix(0)
	return out[:size]
}

func (n *nonces) wipe() {
	secret.Wipe(n.k)
	secret.Wipe(n.v)
}
