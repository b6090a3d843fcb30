// Package nonce draws the numbers that each signature of ECDSA and DSA uses up, by the generator of RFC 6979, 3.2: HMAC_DRBG
// over the key, the digest and, as 3.6 allows, something more.
package nonce

import (
	"crypto/hmac"
	"hash"

	"github.com/coffer-hsm/coffer/core/secret"
)

// Nonces is the generator.
type Nonces struct {
	hash func() hash.Hash
	k, v []byte
}

// New starts a generator for a key and the number that a digest stands for, both of the order's length. more is fresh
// randomness, nil for the deterministic signatures of 3.2.
func New(h func() hash.Hash, key, digest, more []byte) *Nonces {
	n := &Nonces{hash: h, k: make([]byte, h().Size()), v: make([]byte, h().Size())}
	for i := range n.v {
		n.v[i] = 1
	}
	n.mix(0, key, digest, more)
	n.mix(1, key, digest, more)
	return n
}

func (n *Nonces) mac(parts ...[]byte) []byte {
	m := hmac.New(n.hash, n.k)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func (n *Nonces) mix(round byte, parts ...[]byte) {
	k := n.mac(append([][]byte{n.v, {round}}, parts...)...)
	secret.Wipe(n.k)
	n.k = k
	n.step()
}

func (n *Nonces) step() {
	v := n.mac(n.v)
	secret.Wipe(n.v)
	n.v = v
}

// Next returns a candidate of size bytes, the caller's to wipe.
func (n *Nonces) Next(size int) []byte {
	out := make([]byte, 0, size+len(n.v))
	for len(out) < size {
		n.step()
		out = append(out, n.v...)
	}
	secret.Wipe(out[size:])
	n.mix(0)
	return out[:size]
}

// Wipe ends the generator.
func (n *Nonces) Wipe() {
	secret.Wipe(n.k)
	secret.Wipe(n.v)
}
