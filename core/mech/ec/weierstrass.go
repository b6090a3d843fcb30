package ec

import (
	"encoding/asn1"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ec/short"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// shortArithmetic is package short's, for the curves of CKK_EC that the standard library does not have.
var shortArithmetic = arithmetic{
	generate: func(c *curve) (any, error) { return c.short().GenerateKey() },
	private:  func(c *curve, scalar []byte) (any, error) { return c.short().NewPrivateKey(scalar) },
	public:   func(c *curve, point []byte) (any, error) { return c.short().NewPublicKey(point) },
	take: func(_ *curve, private any) (scalar, point []byte, err error) {
		key, ok := private.(*short.PrivateKey)
		if !ok {
			return nil, nil, wrongKey(private)
		}
		return key.Bytes(), key.Point(), nil
	},
	decompress: func(c *curve, point []byte) []byte { return c.short().Decompress(point) },
	sign:       signShort,
	verify:     verifyShort,
	agree:      agreeShort,
}

// short is the curve in package short, where it has the first of its names.
func (c *curve) short() *short.Curve { return short.Named(c.names[0]) }

// shortCurve makes a row for a curve of package short.
func shortCurve(bits int, name string, oid ...int) *curve {
	return &curve{
		keyType: pkcs11.CKK_EC, arith: &shortArithmetic, scalarLen: bits / 8, pointLen: 1 + 2*bits/8,
		oids: []asn1.ObjectIdentifier{oid}, names: []string{name},
	}
}

// brainpool makes a row for a curve of RFC 5639 by the last number of its OID.
func brainpool(bits int, name string, last int) *curve {
	return shortCurve(bits, name, 1, 3, 36, 3, 3, 2, 8, 1, 1, last)
}

func signShort(priv *privateKey, _ scheme, digest []byte) ([]byte, error) {
	key, ok := priv.key.(*short.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	sig, err := key.Sign(digest)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDSA: %w", err)
	}
	return sig, nil
}

func verifyShort(pub *publicKey, _ scheme, digest, sig []byte) (bool, error) {
	key, ok := pub.key.(*short.PublicKey)
	if !ok {
		return false, wrongKey(pub.key)
	}
	whole := make([]byte, pub.signatureLen())
	half := len(sig) / 2
	copy(whole[len(whole)/2-half:], sig[:half])
	copy(whole[len(whole)-half:], sig[half:])
	return key.Verify(digest, whole), nil
}

func agreeShort(_ mech.Key, priv *privateKey, point []byte) ([]byte, error) {
	key, ok := priv.key.(*short.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	peer, err := priv.short().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	return key.ECDH(peer)
}
