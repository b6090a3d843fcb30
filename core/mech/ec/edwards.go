package ec

import (
	"errors"
	"math/big"
	"slices"
)

// edwards is a curve a x^2 + y^2 = 1 + d x^2 y^2 of RFC 8032, for looking at public keys. They are no secrets, so math/big
// will do.
type edwards struct {
	p, a, d *big.Int
	size    int // of an encoded point in bytes
}

var (
	// RFC 8032, 5.1.
	edwards25519 = func() *edwards {
		p := new(big.Int).Lsh(big.NewInt(1), 255)
		p.Sub(p, big.NewInt(19))
		d := new(big.Int).ModInverse(big.NewInt(121666), p)
		d.Mul(d, big.NewInt(-121665))
		return &edwards{p: p, a: big.NewInt(-1), d: d.Mod(d, p), size: 32}
	}()
	// RFC 8032, 5.2.
	edwards448 = func() *edwards {
		p := new(big.Int).Lsh(big.NewInt(1), 448)
		p.Sub(p, new(big.Int).Lsh(big.NewInt(1), 224))
		p.Sub(p, big.NewInt(1))
		return &edwards{p: p, a: big.NewInt(1), d: big.NewInt(-39081), size: 57}
	}()
)

// check refuses bytes that are no public key: a y that is not below p, one that no x belongs to, and the points of order
// 1, 2, 4 and 8, for which anybody can make signatures. The implementations of EdDSA look at a key when they verify, too
// late to refuse it.
func (e *edwards) check(point []byte) error {
	if len(point) != e.size {
		return errors.New("not of the curve's length")
	}
	b := slices.Clone(point)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(b)
	if y.Cmp(e.p) >= 0 {
		return errors.New("y is not below the field's prime")
	}
	// x^2 = (y^2 - 1) / (d y^2 - a); d is no square times a, so the denominator is never 0.
	one := big.NewInt(1)
	y2 := new(big.Int).Mul(y, y)
	y2.Mod(y2, e.p)
	v := new(big.Int).Mul(e.d, y2)
	v.Sub(v, e.a).Mod(v, e.p)
	x2 := new(big.Int).Sub(y2, one)
	x2.Mul(x2, v.ModInverse(v, e.p)).Mod(x2, e.p)
	// Order 1 and 2: x = 0. Order 4: y = 0. Order 8, on Curve25519 alone: its double has y = 0, that is a x^2 = y^2.
	ax2 := new(big.Int).Mul(e.a, x2)
	ax2.Mod(ax2, e.p)
	if x2.Sign() == 0 || y.Sign() == 0 || ax2.Cmp(y2) == 0 {
		return errLowOrder
	}
	if big.Jacobi(x2, e.p) != 1 {
		return errors.New("not on the curve")
	}
	return nil
}
