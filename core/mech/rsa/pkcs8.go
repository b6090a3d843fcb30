package rsa

import (
	"crypto/rsa"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/pkcs8"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func marshalPKCS8(k mech.Key) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	return pkcs8.Marshal(key.std)
}

// The longest PrivateKeyInfo: nine values that make up 4.5 moduli, names and attributes. Longer input is refused before
// anybody computes with its numbers.
const maxPKCS8 = 16 << 10

// parsePKCS8 takes a PrivateKeyInfo with rsaEncryption and an RSAPrivateKey (RFC 8017, A.1.2) of two primes.
func parsePKCS8(der []byte) (pkcs11.Template, error) {
	parsed, err := pkcs8.Parse(der, maxPKCS8)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a %T where an RSA key was expected", parsed)
	}
	defer wipeStandard(key)
	if len(key.Primes) != 2 {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "%d primes, only keys of 2 are supported", len(key.Primes))
	}
	return privateTemplate(key), nil
}

func publicKeyInfo(_ pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	pub, err := standardPublicKey(t.Bytes(pkcs11.CKA_MODULUS), t.Bytes(pkcs11.CKA_PUBLIC_EXPONENT))
	if err != nil {
		return nil, err
	}
	return pkcs8.PublicInfo(pub)
}
