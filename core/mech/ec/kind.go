package ec

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// kind is what differs between the three key types. Private and public keys are those of the standard library.
type kind struct {
	keyType pkcs11.KeyType
	// generate makes a private key.
	generate func(c *curve) (any, error)
	// parsePrivate takes a private value of c.scalarLen bytes, parsePublic a bare point of c.pointLen bytes. Both
	// refuse what is no key of the curve.
	parsePrivate func(c *curve, scalar []byte) (any, error)
	parsePublic  func(c *curve, point []byte) (any, error)
	// take is the reverse for any private key of the standard library; ok is false for one of another kind.
	take func(private any) (p parts, ok bool)
}

// parts is a private key taken apart. The scalar is the caller's to wipe.
type parts struct {
	curve         *curve
	scalar, point []byte
	public        any
}

var kinds = []*kind{&weierstrass, &twistedEdwards, &montgomeryForm}

var (
	weierstrass = kind{
		keyType: pkcs11.CKK_EC,
		generate: func(c *curve) (any, error) {
			return ecdsa.GenerateKey(c.nist, rand.Reader)
		},
		// Both check that the number is in range, the point on the curve and not at infinity.
		parsePrivate: func(c *curve, scalar []byte) (any, error) { return ecdsa.ParseRawPrivateKey(c.nist, scalar) },
		parsePublic:  func(c *curve, point []byte) (any, error) { return ecdsa.ParseUncompressedPublicKey(c.nist, point) },
		take:         takeNIST,
	}
	twistedEdwards = kind{
		keyType: pkcs11.CKK_EC_EDWARDS,
		generate: func(*curve) (any, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		},
		parsePrivate: func(_ *curve, seed []byte) (any, error) { return ed25519.NewKeyFromSeed(seed), nil },
		parsePublic: func(_ *curve, point []byte) (any, error) {
			if err := checkEd25519(point); err != nil {
				return nil, err
			}
			return ed25519.PublicKey(point), nil
		},
		take: takeEd25519,
	}
	montgomeryForm = kind{
		keyType: pkcs11.CKK_EC_MONTGOMERY,
		generate: func(*curve) (any, error) {
			return ecdh.X25519().GenerateKey(rand.Reader)
		},
		parsePrivate: func(_ *curve, scalar []byte) (any, error) { return ecdh.X25519().NewPrivateKey(scalar) },
		parsePublic:  parseX25519,
		take:         takeX25519,
	}
)

func takeNIST(private any) (p parts, ok bool) {
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return p, false
	}
	c := nistCurve(key.Curve)
	if c == nil {
		return p, false
	}
	scalar, errS := key.Bytes()
	point, errP := key.PublicKey.Bytes()
	return parts{c, scalar, point, &key.PublicKey}, errS == nil && errP == nil
}

func nistCurve(e elliptic.Curve) *curve {
	for _, c := range curves {
		if c.nist != nil && c.nist == e {
			return c
		}
	}
	return nil
}

// onlyCurve returns the curve of a key type that has one.
func onlyCurve(t pkcs11.KeyType) *curve {
	for _, c := range curves {
		if c.keyType == t {
			return c
		}
	}
	return nil
}

func takeEd25519(private any) (p parts, ok bool) {
	key, ok := private.(ed25519.PrivateKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return p, false
	}
	public := key.Public().(ed25519.PublicKey)
	return parts{onlyCurve(pkcs11.CKK_EC_EDWARDS), key.Seed(), public, public}, true
}

func takeX25519(private any) (p parts, ok bool) {
	key, ok := private.(*ecdh.PrivateKey)
	if !ok || key.Curve() != ecdh.X25519() {
		return p, false
	}
	return parts{onlyCurve(pkcs11.CKK_EC_MONTGOMERY), key.Bytes(), key.PublicKey().Bytes(), key.PublicKey()}, true
}

var errLowOrder = errors.New("a point of low order")

// parseX25519 refuses the few points with which every agreement ends in zero (RFC 7748, 6.1). crypto/ecdh notices them
// with whatever private key.
func parseX25519(_ *curve, point []byte) (any, error) {
	public, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	probe, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	if _, err := probe.ECDH(public); err != nil {
		return nil, errLowOrder
	}
	return public, nil
}
