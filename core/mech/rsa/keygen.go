package rsa

import (
	"crypto/rsa"
	"math/big"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// The only public exponent of keys that are made here.
const exponent = 65537

// generatePair makes a key of CKA_MODULUS_BITS bits (a multiple of 8). PKCS#11 v3.2, PKCS #1 RSA key pair generation.
//
// Deviation: CKA_PUBLIC_EXPONENT may be missing and may only be 65537, which is what crypto/rsa generates; FIPS 186-5
// forbids the small ones and nobody asks for larger ones. Other values: CKR_TEMPLATE_INCONSISTENT.
func generatePair(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := noParam(param); err != nil {
		return nil, nil, err
	}
	bits, ok := public.Uint(pkcs11.CKA_MODULUS_BITS)
	if !ok {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_MODULUS_BITS is needed in the public template")
	}
	if bits < minGenerateBits || bits > maxGenerateBits {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bits, expected %d to %d", bits, minGenerateBits, maxGenerateBits)
	}
	if bits%8 != 0 {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_MODULUS_BITS %d is no multiple of 8", bits)
	}
	if public.Has(pkcs11.CKA_PUBLIC_EXPONENT) {
		e := new(big.Int).SetBytes(public.Bytes(pkcs11.CKA_PUBLIC_EXPONENT))
		if e.Cmp(big.NewInt(exponent)) != 0 {
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_PUBLIC_EXPONENT: only %d is supported", exponent)
		}
	}
	key, err := generateKey(int(bits))
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "RSA key generation: %w", err)
	}
	defer wipeStandard(key)
	pub = pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_MODULUS, key.N.Bytes()),
		pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, uint(key.N.BitLen())),
		pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(exponent).Bytes()),
	}
	return pub, privateTemplate(key), nil
}

// privateTemplate lists the attributes of a private key that has been precomputed.
func privateTemplate(key *rsa.PrivateKey) pkcs11.Template {
	values := []*big.Int{
		key.N, big.NewInt(int64(key.E)), key.D, key.Primes[0], key.Primes[1],
		key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv,
	}
	out := make(pkcs11.Template, len(values))
	for i, t := range privateAttributes {
		out[i] = pkcs11.Attr(t, values[i].Bytes())
	}
	return out
}
