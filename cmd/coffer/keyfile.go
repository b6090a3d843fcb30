package main

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// This file maps keys of crypto/x509 to attributes and back. PEM is keypem.go's business.

// stdCurves are the curves of CKK_EC that crypto/ecdsa knows, by their names in the table of curves.
var stdCurves = map[string]elliptic.Curve{
	"ec:p224": elliptic.P224(), "ec:p256": elliptic.P256(), "ec:p384": elliptic.P384(), "ec:p521": elliptic.P521(),
}

// known reports whether the standard library has keys over the curve, so that they can be read from files and written.
func (c curve) known() bool {
	return stdCurves[c.name] != nil || c.name == "ed25519" || c.name == "x25519"
}

func curveOfKey(c elliptic.Curve) (curve, error) {
	for name, std := range stdCurves {
		if std == c {
			row, _ := curveNamed(name)
			return row, nil
		}
	}
	return curve{}, fmt.Errorf("the elliptic curve %s is not supported", c.Params().Name)
}

// publicAttributes returns CKA_KEY_TYPE and the material of a public key.
func publicAttributes(key crypto.PublicKey) (pkcs11.Template, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
			pkcs11.Attr(pkcs11.CKA_MODULUS, key.N.Bytes()),
			pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(key.E)).Bytes()),
		}, nil
	case *ecdsa.PublicKey:
		c, err := curveOfKey(key.Curve)
		if err != nil {
			return nil, err
		}
		point, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		return ecPublic(c, point)
	case ed25519.PublicKey:
		c, _ := curveNamed("ed25519")
		return ecPublic(c, key)
	case *ecdh.PublicKey:
		if key.Curve() == ecdh.X25519() {
			c, _ := curveNamed("x25519")
			return ecPublic(c, key.Bytes())
		}
	case *setPublic:
		return key.attributes(), nil
	}
	return nil, fmt.Errorf("keys of type %T are not supported", key)
}

// ecPublic is a public key over a curve. CKA_EC_POINT is the DER of an OCTET STRING (PKCS#11 v3.2, 6.3.3).
func ecPublic(c curve, point []byte) (pkcs11.Template, error) {
	der, err := asn1.Marshal(point)
	if err != nil {
		return nil, err
	}
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, c.keyType),
		pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()),
		pkcs11.Attr(pkcs11.CKA_EC_POINT, der),
	}, nil
}

// privateAttributes returns CKA_KEY_TYPE and the material of a private key, and its public key.
func privateAttributes(key crypto.PrivateKey) (pkcs11.Template, crypto.PublicKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		tm, err := rsaPrivate(key)
		return tm, key.Public(), err
	case *ecdsa.PrivateKey:
		c, err := curveOfKey(key.Curve)
		if err != nil {
			return nil, nil, err
		}
		d, err := key.Bytes()
		if err != nil {
			return nil, nil, err
		}
		return ecPrivate(c, d), key.Public(), nil
	case ed25519.PrivateKey:
		c, _ := curveNamed("ed25519")
		return ecPrivate(c, key.Seed()), key.Public(), nil
	case *ecdh.PrivateKey:
		if key.Curve() == ecdh.X25519() {
			c, _ := curveNamed("x25519")
			return ecPrivate(c, key.Bytes()), key.Public(), nil
		}
	case *setPrivate:
		pub, err := key.public()
		return key.attributes(), pub, err
	}
	return nil, nil, fmt.Errorf("keys of type %T are not supported", key)
}

func ecPrivate(c curve, value []byte) pkcs11.Template {
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, c.keyType),
		pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()),
		pkcs11.Attr(pkcs11.CKA_VALUE, value),
	}
}

func rsaPrivate(key *rsa.PrivateKey) (pkcs11.Template, error) {
	if len(key.Primes) != 2 {
		return nil, fmt.Errorf("an RSA key with %d primes is not supported", len(key.Primes))
	}
	if err := key.Validate(); err != nil {
		return nil, err
	}
	key.Precompute()
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.Attr(pkcs11.CKA_MODULUS, key.N.Bytes()),
		pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(key.E)).Bytes()),
		pkcs11.Attr(pkcs11.CKA_PRIVATE_EXPONENT, key.D.Bytes()),
		pkcs11.Attr(pkcs11.CKA_PRIME_1, key.Primes[0].Bytes()),
		pkcs11.Attr(pkcs11.CKA_PRIME_2, key.Primes[1].Bytes()),
		pkcs11.Attr(pkcs11.CKA_EXPONENT_1, key.Precomputed.Dp.Bytes()),
		pkcs11.Attr(pkcs11.CKA_EXPONENT_2, key.Precomputed.Dq.Bytes()),
		pkcs11.Attr(pkcs11.CKA_COEFFICIENT, key.Precomputed.Qinv.Bytes()),
	}, nil
}

// certificateAttributes returns what a certificate object holds; label and id are the caller's.
func certificateAttributes(cert *x509.Certificate) (pkcs11.Template, error) {
	serial, err := asn1.Marshal(cert.SerialNumber)
	if err != nil {
		return nil, err
	}
	const date = "20060102"
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		pkcs11.Attr(pkcs11.CKA_SUBJECT, cert.RawSubject),
		pkcs11.Attr(pkcs11.CKA_ISSUER, cert.RawIssuer),
		pkcs11.Attr(pkcs11.CKA_SERIAL_NUMBER, serial),
		pkcs11.AttrString(pkcs11.CKA_START_DATE, cert.NotBefore.UTC().Format(date)),
		pkcs11.AttrString(pkcs11.CKA_END_DATE, cert.NotAfter.UTC().Format(date)),
		pkcs11.Attr(pkcs11.CKA_VALUE, cert.Raw),
	}, nil
}

// keyID is the usual CKA_ID of a key pair and its certificate: the SHA-1 of the public key's bits, as in the subject key
// identifier of RFC 5280, 4.2.1.2. It is a name, not a protection.
func keyID(key crypto.PublicKey) ([]byte, error) {
	der, err := marshalPublicInfo(key)
	if err != nil {
		return nil, err
	}
	return spkiID(der)
}

// encodedPublic is a public key that only the token can read: its SubjectPublicKeyInfo in DER.
type encodedPublic []byte

// publicDER is the SubjectPublicKeyInfo of a public key.
func publicDER(key crypto.PublicKey) ([]byte, error) {
	if der, ok := key.(encodedPublic); ok {
		return der, nil
	}
	return x509.MarshalPKIXPublicKey(key)
}

// spkiID is keyID for a SubjectPublicKeyInfo.
func spkiID(der []byte) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha1.Sum(info.Bits.Bytes)
	return sum[:], nil
}

var errIncomplete = errors.New("the token does not give all parts of the key")

// publicTypes are the attributes that publicKey needs; privateTypes those that privateKey needs.
var (
	publicTypes = []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT,
		pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT}
	privateTypes = []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT,
		pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_PARAMETER_SET, pkcs11.CKA_SEED, pkcs11.CKA_VALUE}
)

// publicKey makes a public key of attributes; a private key's attributes will do where they hold the public parts.
func publicKey(tm pkcs11.Template) (crypto.PublicKey, error) {
	if der := tm.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO); len(der) > 0 {
		if key, err := parsePublicInfo(der); err == nil {
			return key, nil
		}
		_, err := spkiID(der)
		return encodedPublic(der), err
	}
	if n, e := tm.Bytes(pkcs11.CKA_MODULUS), tm.Bytes(pkcs11.CKA_PUBLIC_EXPONENT); len(n) > 0 && len(e) > 0 {
		exponent := new(big.Int).SetBytes(e)
		if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
			return nil, errors.New("the public exponent is too large for this program")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	}
	params, point := tm.Bytes(pkcs11.CKA_EC_PARAMS), tm.Bytes(pkcs11.CKA_EC_POINT)
	if len(params) == 0 || len(point) == 0 {
		return nil, errIncomplete
	}
	c, ok := curveOf(params)
	if !ok || !c.known() {
		return nil, errors.New("the elliptic curve of the key is not one that this program can write")
	}
	raw := rawPoint(c, point)
	switch c.keyType {
	case pkcs11.CKK_EC_EDWARDS:
		if len(raw) != c.size {
			return nil, fmt.Errorf("the public key has %d bytes instead of %d", len(raw), c.size)
		}
		return ed25519.PublicKey(raw), nil
	case pkcs11.CKK_EC_MONTGOMERY:
		return ecdh.X25519().NewPublicKey(raw)
	}
	return ecdsa.ParseUncompressedPublicKey(stdCurves[c.name], raw)
}

// rawPoint takes the point out of its OCTET STRING; tokens differ in whether there is one.
func rawPoint(c curve, point []byte) []byte {
	bare := c.size
	if c.keyType == pkcs11.CKK_EC {
		bare = 1 + 2*c.size
	}
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); len(point) != bare && err == nil && len(rest) == 0 {
		return inner
	}
	return point
}

// privateKey makes a private key of attributes.
func privateKey(tm pkcs11.Template) (crypto.PrivateKey, error) {
	number := func(t pkcs11.AttributeType) *big.Int { return new(big.Int).SetBytes(tm.Bytes(t)) }
	if tm.Has(pkcs11.CKA_MODULUS) {
		for _, t := range []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2} {
			if len(tm.Bytes(t)) == 0 {
				return nil, errIncomplete
			}
		}
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: number(pkcs11.CKA_MODULUS), E: int(number(pkcs11.CKA_PUBLIC_EXPONENT).Int64())},
			D:         number(pkcs11.CKA_PRIVATE_EXPONENT),
			Primes:    []*big.Int{number(pkcs11.CKA_PRIME_1), number(pkcs11.CKA_PRIME_2)},
		}
		if err := key.Validate(); err != nil {
			return nil, err
		}
		key.Precompute()
		return key, nil
	}
	if s, ok := setOf(tm); ok {
		return privateOfSet(s, tm)
	}
	c, ok := curveOf(tm.Bytes(pkcs11.CKA_EC_PARAMS))
	value := tm.Bytes(pkcs11.CKA_VALUE)
	if !ok || len(value) == 0 || len(value) > c.size {
		return nil, errIncomplete
	}
	if !c.known() {
		return nil, fmt.Errorf("this program does not write private keys of type %s; wrap the key, or use another tool", c.name)
	}
	// Tokens may leave leading zeros out of the number; a key file has all of them.
	padded := append(make([]byte, c.size-len(value)), value...)
	switch c.keyType {
	case pkcs11.CKK_EC_EDWARDS:
		if len(value) != c.size {
			return nil, errIncomplete
		}
		return ed25519.NewKeyFromSeed(value), nil
	case pkcs11.CKK_EC_MONTGOMERY:
		return ecdh.X25519().NewPrivateKey(value)
	}
	return ecdsa.ParseRawPrivateKey(stdCurves[c.name], padded)
}
