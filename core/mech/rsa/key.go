package rsa

import (
	"crypto/rsa"
	"errors"
	"math/big"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// publicKey is the expanded form of a public key (mech.SlotMain).
type publicKey struct {
	std  *rsa.PublicKey
	n    *bigmod.Modulus
	size int // of the modulus in bytes
}

// privateKey is the expanded form of a private key (mech.SlotMain).
type privateKey struct {
	publicKey
	std    *rsa.PrivateKey
	p, q   *bigmod.Modulus
	dP, dQ []byte
	qInv   *bigmod.Nat
	fast   *kernel.Key // nil if the kernel does not do this key here
}

func publicOf(k mech.Key) (*publicKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) {
		return newPublicKey(k.Bytes(pkcs11.CKA_MODULUS), k.Bytes(pkcs11.CKA_PUBLIC_EXPONENT))
	})
	if err != nil {
		return nil, err
	}
	pub, ok := x.(*publicKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where an RSA public key is needed", x)
	}
	return pub, nil
}

func privateOf(k mech.Key) (*privateKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return newPrivateKey(k.Bytes) })
	if err != nil {
		return nil, err
	}
	priv, ok := x.(*privateKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where an RSA private key is needed", x)
	}
	return priv, nil
}

func newPublicKey(modulus, exponent []byte) (*publicKey, error) {
	std, err := standardPublicKey(modulus, exponent)
	if err != nil {
		return nil, err
	}
	n, err := bigmod.NewModulus(std.N.Bytes())
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_MODULUS: %w", err)
	}
	return &publicKey{std, n, std.Size()}, nil
}

// standardPublicKey checks what can be seen of a public key from outside.
func standardPublicKey(modulus, exponent []byte) (*rsa.PublicKey, error) {
	if modulus == nil || exponent == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_MODULUS and CKA_PUBLIC_EXPONENT are needed")
	}
	n := new(big.Int).SetBytes(modulus)
	if bits := n.BitLen(); bits < minBits || bits > maxBits || n.Bit(0) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID,
			"CKA_MODULUS: %d bits, expected an odd number of %d to %d bits", bits, minBits, maxBits)
	}
	e := new(big.Int).SetBytes(exponent)
	if e.BitLen() < 2 || e.BitLen() > 31 || e.Bit(0) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID,
			"CKA_PUBLIC_EXPONENT: %d bits, expected an odd number from 3 to 2^31-1", e.BitLen())
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// privateAttributes are the values that a private key always has once check has seen it.
var privateAttributes = []pkcs11.AttributeType{
	pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1,
	pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT,
}

// standardPrivateKey builds and validates a private key from complete material.
func standardPrivateKey(value func(pkcs11.AttributeType) []byte) (*rsa.PrivateKey, error) {
	pub, err := standardPublicKey(value(pkcs11.CKA_MODULUS), value(pkcs11.CKA_PUBLIC_EXPONENT))
	if err != nil {
		return nil, err
	}
	number := map[pkcs11.AttributeType]*big.Int{}
	for _, t := range privateAttributes[2:] {
		b := value(t)
		if b == nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is needed", t)
		}
		number[t] = new(big.Int).SetBytes(b)
	}
	key := &rsa.PrivateKey{
		PublicKey: *pub,
		D:         number[pkcs11.CKA_PRIVATE_EXPONENT],
		Primes:    []*big.Int{number[pkcs11.CKA_PRIME_1], number[pkcs11.CKA_PRIME_2]},
		Precomputed: rsa.PrecomputedValues{
			Dp:   number[pkcs11.CKA_EXPONENT_1],
			Dq:   number[pkcs11.CKA_EXPONENT_2],
			Qinv: number[pkcs11.CKA_COEFFICIENT],
		},
	}
	// Precompute swallows its error; Validate then finds it again. It checks p*q = n, the exponents against each other,
	// the coefficient, the distance of the primes and the size of d, but not that the primes are prime: see check.
	key.Precompute()
	if err := key.Validate(); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the RSA private key's values disagree: %w", err)
	}
	return key, nil
}

// wipeStandard clears the numbers of a key that is needed no more.
func wipeStandard(key *rsa.PrivateKey) {
	wipeNumbers(key.Primes...)
	wipeNumbers(key.D, key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv)
}

func wipeNumbers(list ...*big.Int) {
	for _, x := range list {
		if x != nil {
			clear(x.Bits())
		}
	}
}

func newPrivateKey(value func(pkcs11.AttributeType) []byte) (*privateKey, error) {
	std, err := standardPrivateKey(value)
	if err != nil {
		return nil, err
	}
	key := &privateKey{std: std}
	key.publicKey.std, key.size = &std.PublicKey, std.Size()
	var errN, errP, errQ, errC error
	key.n, errN = bigmod.NewModulus(std.N.Bytes())
	key.p, errP = bigmod.NewModulus(std.Primes[0].Bytes())
	key.q, errQ = bigmod.NewModulus(std.Primes[1].Bytes())
	if err := errors.Join(errN, errP, errQ); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "RSA primes: %w", err)
	}
	key.qInv, errC = bigmod.NewNat().SetBytes(std.Precomputed.Qinv.Bytes(), key.p)
	if errC != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_COEFFICIENT: %w", errC)
	}
	// Exponents at the full length of their prime: the time of Exp depends on the length.
	key.dP = std.Precomputed.Dp.FillBytes(make([]byte, key.p.Size()))
	key.dQ = std.Precomputed.Dq.FillBytes(make([]byte, key.q.Size()))
	key.fast = newFast(std)
	return key, nil
}
