package short

import (
	"crypto/rand"
	"errors"
	"slices"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/secret"
)

// PrivateKey is a number from 1 to n-1 and the point that belongs to it.
type PrivateKey struct {
	d []byte
	PublicKey
}

// PublicKey is a point that is not at infinity.
type PublicKey struct {
	curve   *Curve
	point   point
	encoded []byte
}

var errScalar = errors.New("no private value of the curve")

// NewPrivateKey takes a number of Size bytes, which it does not keep.
func (c *Curve) NewPrivateKey(d []byte) (*PrivateKey, error) {
	if len(d) != c.size {
		return nil, errScalar
	}
	x, err := bigmod.NewNat().SetBytes(d, c.n)
	if err != nil {
		return nil, errScalar
	}
	defer clear(x.Bits())
	if x.IsZero() == 1 {
		return nil, errScalar
	}
	p := c.multiplyBase(d)
	defer p.wipe()
	px, py, ok := c.affine(&p)
	if !ok {
		return nil, errScalar
	}
	public, err := c.NewPublicKey(slices.Concat([]byte{4}, px, py))
	if err != nil {
		return nil, err
	}
	return &PrivateKey{slices.Clone(d), *public}, nil
}

// GenerateKey makes a key: random numbers until one is in range (FIPS 186-5, A.2.2).
func (c *Curve) GenerateKey() (*PrivateKey, error) {
	d := make([]byte, c.size)
	defer secret.Wipe(d)
	for {
		if _, err := rand.Read(d); err != nil {
			return nil, err
		}
		if k, err := c.NewPrivateKey(d); err == nil {
			return k, nil
		}
	}
}

// Bytes is the private value, of Size bytes, the caller's to wipe.
func (k *PrivateKey) Bytes() []byte { return slices.Clone(k.d) }

// Wipe zeroes the private value. The key is of no use afterwards.
func (k *PrivateKey) Wipe() { secret.Wipe(k.d) }

// ECDH returns the x coordinate of the point that the key shares with the holder of another one (SEC 1, 3.3.1). The order
// is prime, so it is never at infinity.
func (k *PrivateKey) ECDH(peer *PublicKey) ([]byte, error) {
	if peer.curve != k.curve {
		return nil, errPoint
	}
	p := k.curve.multiply(&peer.point, k.d)
	defer p.wipe()
	x, y, ok := k.curve.affine(&p)
	secret.Wipe(y)
	if !ok {
		return nil, errPoint
	}
	return x, nil
}

// NewPublicKey reads an uncompressed point and checks that it is on the curve.
func (c *Curve) NewPublicKey(encoded []byte) (*PublicKey, error) {
	p, err := c.parse(encoded)
	if err != nil {
		return nil, err
	}
	return &PublicKey{c, p, slices.Clone(encoded)}, nil
}

// Point is the uncompressed point.
func (k *PublicKey) Point() []byte { return slices.Clone(k.encoded) }

// Order is the number of the curve's points, of Size bytes.
func (c *Curve) Order() []byte { return c.n.Nat().Bytes(c.n) }
