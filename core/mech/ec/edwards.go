package ec

import (
	"errors"
	"math/big"
	"slices"
)

// The field and the curve -x^2 + y^2 = 1 + d x^2 y^2 of RFC 8032, 5.1.
var (
	edwardsP = func() *big.Int {
		p := new(big.Int).Lsh(big.NewInt(1), 255)
		return p.Sub(p, big.NewInt(19))
	}()
	edwardsD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), edwardsP)
		d.Mul(d, big.NewInt(-121665))
		return d.Mod(d, edwardsP)
	}()
)

// checkEd25519 refuses 32 bytes that are no public key: a y that is not below p, one that no x belongs to, and the
// points of order 1, 2, 4 and 8, for which anybody can make signatures. A public key is no secret, so math/big will do.
// crypto/ed25519 looks at a key when it verifies, too late to refuse it.
func checkEd25519(point []byte) error {
	if len(point) != 32 {
		return errors.New("not 32 bytes")
	}
	b := slices.Clone(point)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(b)
	if y.Cmp(edwardsP) >= 0 {
		return errors.New("y is not below the field's prime")
	}
	// x^2 = (y^2 - 1) / (d y^2 + 1); the denominator is never 0.
	one := big.NewInt(1)
	y2 := new(big.Int).Mul(y, y)
	y2.Mod(y2, edwardsP)
	v := new(big.Int).Mul(edwardsD, y2)
	v.Add(v, one).ModInverse(v, edwardsP)
	x2 := new(big.Int).Sub(y2, one)
	x2.Mul(x2, v).Mod(x2, edwardsP)
	// Order 1 and 2: x = 0. Order 4: y = 0. Order 8: its double has y = 0, that is x^2 + y^2 = 0.
	sum := new(big.Int).Add(x2, y2)
	sum.Mod(sum, edwardsP)
	if x2.Sign() == 0 || y.Sign() == 0 || sum.Sign() == 0 {
		return errLowOrder
	}
	if big.Jacobi(x2, edwardsP) != 1 {
		return errors.New("not on the curve")
	}
	return nil
}
