package ec

import (
	"bytes"
	"crypto/rand"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/secret"
)

// withExtraBits makes a private key on a curve of CKK_EC as FIPS 186-5, A.2.1 does: a random number that is 64 bits longer
// than the order n, modulo n - 1, and one.
func withExtraBits(c *curve) (any, error) {
	const extra = 8
	random := make([]byte, c.scalarLen+extra)
	defer secret.Wipe(random)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	scalar, err := reduced(random, c.order())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(scalar)
	return c.arith.private(c, scalar)
}

// order is the number of the points of a curve of CKK_EC, in c.scalarLen bytes.
func (c *curve) order() []byte {
	if c.nist != nil {
		return c.nist.Params().N.FillBytes(make([]byte, c.scalarLen))
	}
	return c.short().Order()
}

// reduced is random modulo n - 1, plus 1; n is odd.
func reduced(random, n []byte) ([]byte, error) {
	less := bytes.Clone(n)
	less[len(less)-1]--
	m, err := bigmod.NewModulus(less)
	if err != nil {
		return nil, err
	}
	// bigmod reads numbers below a modulus only. This one is above every random number.
	roof, err := bigmod.NewModulus(append([]byte{1}, make([]byte, len(random))...))
	if err != nil {
		return nil, err
	}
	wide, err := bigmod.NewNat().SetBytes(random, roof)
	if err != nil {
		return nil, err
	}
	defer clear(wide.Bits())
	d := bigmod.NewNat().Mod(wide, m)
	defer clear(d.Bits())
	out := append(make([]byte, len(n)-m.Size()), d.Bytes(m)...)
	carry := uint(1)
	for i := len(out) - 1; i >= 0; i-- {
		carry += uint(out[i])
		out[i] = byte(carry)
		carry >>= 8
	}
	return out, nil
}
