package engine

import (
	"math/big"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// maxDomainBits bounds the numbers that a stranger can have us compute with.
const maxDomainBits = 1 << 14

// completeDomain checks the domain parameters of DSA and Diffie-Hellman as far as it can be done at once, and adds their sizes.
// Whether the numbers are prime is not looked at: who makes a key of them finds out. PKCS#11 v3.2, domain parameter objects.
func completeDomain(all, made pkcs11.Template) (pkcs11.Template, error) {
	number := func(t pkcs11.AttributeType) *big.Int { return new(big.Int).SetBytes(all.Bytes(t)) }
	p, g := number(pkcs11.CKA_PRIME), number(pkcs11.CKA_BASE)
	one := big.NewInt(1)
	last := new(big.Int).Sub(p, one)
	switch {
	case p.BitLen() > maxDomainBits:
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME has %d bits, at most %d", p.BitLen(), maxDomainBits)
	case p.BitLen() < 3 || p.Bit(0) == 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME is no odd prime")
	case g.Cmp(one) <= 0 || g.Cmp(last) >= 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_BASE is not between 1 and CKA_PRIME - 1")
	}
	made = made.Set(pkcs11.CKA_PRIME_BITS, uint(p.BitLen()))
	if !all.Has(pkcs11.CKA_SUBPRIME) {
		return made, nil
	}
	q := number(pkcs11.CKA_SUBPRIME)
	if q.Sign() == 0 || new(big.Int).Mod(last, q).Sign() != 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SUBPRIME does not divide CKA_PRIME - 1")
	}
	if new(big.Int).Exp(g, q, p).Cmp(one) != 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_BASE is not of order CKA_SUBPRIME")
	}
	return made.Set(pkcs11.CKA_SUBPRIME_BITS, uint(q.BitLen())), nil
}
