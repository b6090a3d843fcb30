// Package ff computes in the multiplicative group of a prime field, for Diffie-Hellman and DSA: which domain parameters
// and public values are taken, and exponentiation in constant time, for which it uses filippo.io/bigmod. math/big sees
// public numbers only.
//
// Groups do not change once they are made and may be used by many goroutines at once.
package ff

import (
	"crypto/rand"
	"math/big"
	"sync"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MinBits and MaxBits bound the prime. A prime that is none of the known ones is looked at for what it is up to
// maxUnknown bits: beyond, that would take seconds.
const (
	MinBits    = 1024
	MaxBits    = 8192
	maxUnknown = 4096
)

// Group is a prime, a base and, where it is known, the prime order of the subgroup that the base generates.
type Group struct {
	P, G, Q *big.Int // Q is nil where nobody said it
	Bits    uint     // of the prime
	// PrivateBits is how long a private value is if nobody asks for another length.
	PrivateBits uint
	safe        bool // Q, said or not, is (P - 1) / 2
	p           *bigmod.Modulus
}

var one = big.NewInt(1)

// known are the safe primes by their bytes.
var known = sync.OnceValue(func() map[string]uint {
	m := map[string]uint{}
	for _, s := range safePrimes {
		p, _ := new(big.Int).SetString(s.p, 16)
		m[string(p.Bytes())] = s.bits
	}
	return m
})

// Named returns the group of RFC 7919 with a prime of that many bits, nil if there is none. Q is set.
func Named(bits uint) *Group {
	for _, s := range safePrimes {
		p, _ := new(big.Int).SetString(s.p, 16)
		if uint(p.BitLen()) != bits || s.name[0] != 'f' {
			continue
		}
		g, err := New(p.Bytes(), new(big.Int).Rsh(p, 1).Bytes(), []byte{2})
		if err != nil {
			panic("ff: " + s.name + ": " + err.Error())
		}
		return g
	}
	return nil
}

func invalid(format string, args ...any) error {
	return pkcs11.Errorf(pkcs11.CKR_DOMAIN_PARAMS_INVALID, format, args...)
}

// New checks domain parameters; q is nil where it is not known. CKR_DOMAIN_PARAMS_INVALID for those that are none, and
// CKR_KEY_SIZE_RANGE for a prime that is too short or too long.
func New(p, q, g []byte) (*Group, error) {
	if len(p) > MaxBits/8+8 || len(q) > MaxBits/8+8 || len(g) > MaxBits/8+8 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "domain parameters of more than %d bits", MaxBits)
	}
	group := &Group{P: new(big.Int).SetBytes(p), G: new(big.Int).SetBytes(g)}
	bits := group.P.BitLen()
	group.Bits, group.PrivateBits = uint(bits), uint(max(bits-1, 0))
	if bits < MinBits || bits > MaxBits {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a prime of %d bits, expected %d to %d", bits, MinBits, MaxBits)
	}
	half := new(big.Int).Rsh(group.P, 1)
	private, isKnown := known()[string(group.P.Bytes())]
	switch {
	case isKnown:
		group.safe, group.PrivateBits = true, private
	case bits > maxUnknown:
		return nil, invalid("a prime of %d bits that is not of RFC 3526 or RFC 7919; others may have %d", bits, maxUnknown)
	case group.P.Bit(0) == 0 || !group.P.ProbablyPrime(8):
		return nil, invalid("the prime is none")
	}
	least := new(big.Int).Sub(group.P, one)
	if group.G.Cmp(one) <= 0 || group.G.Cmp(least) >= 0 {
		return nil, invalid("the base is not between 1 and p-1")
	}
	if q != nil {
		if err := group.setQ(q, half, least); err != nil {
			return nil, err
		}
	}
	var err error
	if group.p, err = bigmod.NewModulus(group.P.Bytes()); err != nil {
		return nil, invalid("the prime: %w", err)
	}
	return group, nil
}

// setQ checks the order of the subgroup.
func (g *Group) setQ(q []byte, half, least *big.Int) error {
	g.Q = new(big.Int).SetBytes(q)
	if g.Q.BitLen() < 160 || new(big.Int).Mod(least, g.Q).Sign() != 0 {
		return invalid("the subprime does not divide p-1, or has less than 160 bits")
	}
	switch {
	case g.Q.Cmp(half) == 0 && g.safe:
	case !g.Q.ProbablyPrime(8):
		return invalid("the subprime is no prime")
	}
	if new(big.Int).Exp(g.G, g.Q, g.P).Cmp(one) != 0 {
		return invalid("the base does not generate the subgroup")
	}
	if !g.safe {
		g.PrivateBits = uint(g.Q.BitLen())
	}
	return nil
}

// Size is the length of the prime in bytes.
func (g *Group) Size() int { return g.p.Size() }

// Public checks a public value: above 1, below p-1 and, where the order of the subgroup is known, in it (SP 800-56A,
// 5.6.2.3.1). CKR_ATTRIBUTE_VALUE_INVALID for one that is none.
func (g *Group) Public(y []byte) (*big.Int, error) {
	n := new(big.Int).SetBytes(y[:min(len(y), MaxBits/8+8)])
	if len(y) > MaxBits/8+8 || n.Cmp(one) <= 0 || n.Cmp(new(big.Int).Sub(g.P, one)) >= 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the public value is not between 1 and p-1")
	}
	in := true
	switch {
	case g.safe: // the squares are the subgroup
		in = big.Jacobi(n, g.P) == 1
	case g.Q != nil:
		in = new(big.Int).Exp(n, g.Q, g.P).Cmp(one) == 0
	}
	if !in {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the public value is not in the subgroup")
	}
	return n, nil
}

// limit is what a private value is below: the order of the subgroup, or p-1.
func (g *Group) limit() *big.Int {
	if g.Q != nil {
		return g.Q
	}
	return new(big.Int).Sub(g.P, one)
}

// Private checks a private value and returns a copy, the caller's to wipe, without zeros that make it longer than the
// limit; its length is no secret. CKR_ATTRIBUTE_VALUE_INVALID for 0, and for what is not below the subgroup's order (p-1
// where that is not known).
func (g *Group) Private(x []byte) ([]byte, error) {
	limit := g.limit().Bytes()
	for len(x) > len(limit) && x[0] == 0 {
		x = x[1:]
	}
	if len(x) > len(limit) {
		return nil, errPrivate
	}
	padded := append(make([]byte, len(limit)-len(x), len(limit)), x...)
	defer secret.Wipe(padded)
	if !inRange(padded, limit) {
		return nil, errPrivate
	}
	return append([]byte{}, x...), nil
}

var errPrivate = pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the private value is not between 0 and the order of the group")

// inRange reports whether 0 < x < limit, both of one length. It takes the same time for every x.
func inRange(x, limit []byte) bool {
	var borrow, any uint
	for i := len(x) - 1; i >= 0; i-- {
		borrow = (uint(x[i]) - uint(limit[i]) - borrow) >> 63 & 1
		any |= uint(x[i])
	}
	return borrow == 1 && any != 0
}

// Generate makes a private value of at most bits bits, 0 for the group's own length, in whole bytes, and the public value
// in Size bytes. The private one is the caller's to wipe.
func (g *Group) Generate(bits uint) (x, y []byte, err error) {
	limit := g.limit().Bytes()
	if bits == 0 {
		bits = g.PrivateBits
	}
	bits = min(bits, uint(g.limit().BitLen()))
	padded := make([]byte, len(limit))
	defer secret.Wipe(padded)
	low := padded[uint(len(padded))-(bits+7)/8:]
	for {
		if _, err := rand.Read(low); err != nil {
			return nil, nil, err
		}
		if r := bits % 8; r != 0 {
			low[0] &= 1<<r - 1
		}
		if !inRange(padded, limit) {
			continue
		}
		if y, err = g.Exp(g.G.Bytes(), low); err != nil {
			return nil, nil, err
		}
		return append([]byte{}, low...), y, nil
	}
}

// Exp returns base to the power of a secret exponent, in Size bytes. How long it takes depends on the exponent's length,
// and not on its value.
func (g *Group) Exp(base, exponent []byte) ([]byte, error) {
	b, err := bigmod.NewNat().SetBytes(base, g.p)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "a number that is not below the prime")
	}
	r := bigmod.NewNat().Exp(b, exponent, g.p)
	defer clear(r.Bits())
	return r.Bytes(g.p), nil
}

// Agree returns the secret that the holders of x and y share, in Size bytes, the caller's to wipe (SP 800-56A, 5.7.1.1).
func (g *Group) Agree(x, y []byte) ([]byte, error) {
	n, err := g.Public(y)
	if err != nil {
		return nil, err
	}
	z, err := g.Exp(n.Bytes(), x)
	if err != nil {
		return nil, err
	}
	if !inRange(z, new(big.Int).Sub(g.P, one).Bytes()) || isOne(z) {
		secret.Wipe(z)
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the shared secret is in a small subgroup")
	}
	return z, nil
}

func isOne(z []byte) bool {
	v := z[len(z)-1] ^ 1
	for _, b := range z[:len(z)-1] {
		v |= b
	}
	return v == 0
}
