package rsa

import (
	"bytes"
	"math/big"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// check completes and checks RSA material from outside. The arithmetic is that of math/big, whose time depends on the
// values: it runs once, when the caller holds the key in the clear anyway.
func check(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	switch class {
	case pkcs11.CKO_PUBLIC_KEY:
		return checkPublic(t)
	case pkcs11.CKO_PRIVATE_KEY:
		return checkPrivate(t)
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be an RSA key", class)
}

func checkPublic(t pkcs11.Template) (pkcs11.Template, error) {
	pub, err := standardPublicKey(t.Bytes(pkcs11.CKA_MODULUS), t.Bytes(pkcs11.CKA_PUBLIC_EXPONENT))
	if err != nil {
		return nil, err
	}
	bits := uint(pub.N.BitLen())
	if given, ok := t.Uint(pkcs11.CKA_MODULUS_BITS); ok && given != bits {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_MODULUS_BITS is %d, CKA_MODULUS has %d", given, bits)
	}
	return differing(t, pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_MODULUS, pub.N.Bytes()),
		pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, bits),
		pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(pub.E)).Bytes()),
	}), nil
}

// differing returns those attributes of all that t lacks or has in another form.
func differing(t, all pkcs11.Template) (add pkcs11.Template) {
	for _, a := range all {
		b, isBytes := a.Value.([]byte)
		if isBytes && bytes.Equal(t.Bytes(a.Type), b) || !isBytes && t.Has(a.Type) {
			continue
		}
		add = append(add, a)
	}
	return add
}

// material is a private key while it is being completed.
type material struct{ n, e, d, p, q, dP, dQ, qInv *big.Int }

func (m *material) wipe() { wipeNumbers(m.d, m.p, m.q, m.dP, m.dQ, m.qInv) }

func checkPrivate(t pkcs11.Template) (pkcs11.Template, error) {
	number := func(a pkcs11.AttributeType) *big.Int {
		if b := t.Bytes(a); len(b) > 0 {
			return new(big.Int).SetBytes(b)
		}
		return nil
	}
	m := &material{
		number(pkcs11.CKA_MODULUS), number(pkcs11.CKA_PUBLIC_EXPONENT), number(pkcs11.CKA_PRIVATE_EXPONENT),
		number(pkcs11.CKA_PRIME_1), number(pkcs11.CKA_PRIME_2),
		number(pkcs11.CKA_EXPONENT_1), number(pkcs11.CKA_EXPONENT_2), number(pkcs11.CKA_COEFFICIENT),
	}
	defer m.wipe()
	if err := m.complete(); err != nil {
		return nil, err
	}
	all := make(pkcs11.Template, len(privateAttributes))
	for i, v := range []*big.Int{m.n, m.e, m.d, m.p, m.q, m.dP, m.dQ, m.qInv} {
		all[i] = pkcs11.Attr(privateAttributes[i], v.Bytes())
	}
	std, err := standardPrivateKey(all.Bytes)
	if err != nil {
		return nil, err
	}
	defer wipeStandard(std)
	// Baillie-PSW, without further rounds: no composite number is known that passes.
	if !m.p.ProbablyPrime(0) || !m.q.ProbablyPrime(0) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME_1 or CKA_PRIME_2 is not prime")
	}
	return differing(t, all), nil
}

var (
	one          = big.NewInt(1)
	errBadPrimes = pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME_1 and CKA_PRIME_2 are not the factors of CKA_MODULUS")
	errBadD      = pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIVATE_EXPONENT does not fit CKA_MODULUS and CKA_PUBLIC_EXPONENT")
)

// complete fills in what is missing: the standard asks for modulus and private exponent only.
func (m *material) complete() error {
	if m.n == nil || m.d == nil {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_MODULUS and CKA_PRIVATE_EXPONENT are needed")
	}
	// The bounds of a public key, before any arithmetic that grows with the numbers.
	e := m.e
	if e == nil {
		e = big.NewInt(exponent)
	}
	if _, err := standardPublicKey(m.n.Bytes(), e.Bytes()); err != nil {
		return err
	}
	if m.d.Sign() <= 0 || m.d.Cmp(m.n) >= 0 {
		return errBadD
	}
	if err := m.completePrimes(); err != nil {
		return err
	}
	p1, q1 := new(big.Int).Sub(m.p, one), new(big.Int).Sub(m.q, one)
	if m.e == nil {
		if err := m.findExponent(p1, q1); err != nil {
			return err
		}
	}
	if m.dP == nil {
		m.dP = new(big.Int).Mod(m.d, p1)
	}
	if m.dQ == nil {
		m.dQ = new(big.Int).Mod(m.d, q1)
	}
	if m.qInv == nil {
		m.qInv = new(big.Int).ModInverse(m.q, m.p)
		if m.qInv == nil {
			return errBadPrimes
		}
	}
	return nil
}

// completePrimes finds one prime from the other, or both from the exponents. Afterwards p*q = n with odd p, q > 1.
func (m *material) completePrimes() error {
	if m.p == nil && m.q == nil {
		if err := m.factor(); err != nil {
			return err
		}
	}
	known := m.p
	if known == nil {
		known = m.q
	}
	// n is odd, so its divisors are.
	if known.Cmp(one) <= 0 || known.Cmp(m.n) >= 0 {
		return errBadPrimes
	}
	other, rest := new(big.Int).QuoRem(m.n, known, new(big.Int))
	if rest.Sign() != 0 {
		return errBadPrimes
	}
	switch {
	case m.q == nil:
		m.q = other
	case m.p == nil:
		m.p = other
	case m.q.Cmp(other) != 0:
		return errBadPrimes
	}
	return nil
}

// findExponent computes the public exponent from the private one.
func (m *material) findExponent(p1, q1 *big.Int) error {
	gcd := new(big.Int).GCD(nil, nil, p1, q1)
	lambda := new(big.Int).Mul(p1, new(big.Int).Quo(q1, gcd))
	m.e = new(big.Int).ModInverse(m.d, lambda)
	if m.e == nil {
		return errBadD
	}
	return nil
}

// factor finds the primes from n, e and d (SP 800-56B, C.2, with small bases in place of random ones). Without e it
// tries the exponents that are in use.
func (m *material) factor() error {
	if m.e != nil {
		if m.factorWith(m.e) {
			return nil
		}
		return errBadD
	}
	for _, e := range []int64{exponent, 3, 17, 5, 257} {
		if m.factorWith(big.NewInt(e)) {
			return nil
		}
	}
	return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PUBLIC_EXPONENT is needed: it is none of the usual ones")
}

func (m *material) factorWith(e *big.Int) bool {
	k := new(big.Int).Mul(e, m.d)
	k.Sub(k, one)
	if k.Sign() <= 0 || k.Bit(0) == 1 {
		return false
	}
	twos := k.TrailingZeroBits()
	r := new(big.Int).Rsh(k, twos)
	last := new(big.Int).Sub(m.n, one)
	for base := int64(2); base < 100; base++ { // each base finds them with probability 1/2 or more
		y := new(big.Int).Exp(big.NewInt(base), r, m.n)
		for range twos {
			if y.Cmp(one) == 0 || y.Cmp(last) == 0 {
				break
			}
			next := new(big.Int).Exp(y, big.NewInt(2), m.n)
			if next.Cmp(one) == 0 {
				m.p = new(big.Int).GCD(nil, nil, y.Sub(y, one), m.n)
				m.q = nil
				return true
			}
			y = next
		}
		if y.Cmp(one) != 0 && y.Cmp(last) != 0 {
			return false // base^(e*d) is not base: d does not belong to n and e
		}
	}
	return false
}
