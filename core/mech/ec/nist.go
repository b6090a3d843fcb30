package ec

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// nistArithmetic is the standard library's, for P-224 to P-521.
var nistArithmetic = arithmetic{
	generate: func(c *curve) (any, error) { return ecdsa.GenerateKey(c.nist, rand.Reader) },
	// Both check that the number is in range, the point on the curve and not at infinity.
	private: func(c *curve, scalar []byte) (any, error) { return ecdsa.ParseRawPrivateKey(c.nist, scalar) },
	public:  func(c *curve, point []byte) (any, error) { return ecdsa.ParseUncompressedPublicKey(c.nist, point) },
	take: func(_ *curve, private any) (scalar, point []byte, err error) {
		key, ok := private.(*ecdsa.PrivateKey)
		if !ok {
			return nil, nil, wrongKey(private)
		}
		if point, err = key.PublicKey.Bytes(); err != nil {
			return nil, nil, err
		}
		scalar, err = key.Bytes()
		return scalar, point, err
	},
	decompress: decompressNIST,
	sign:       signNIST,
	verify:     verifyNIST,
	agree:      agreeNIST,
}

func decompressNIST(c *curve, point []byte) []byte {
	x, y := elliptic.UnmarshalCompressed(c.nist, point)
	if x == nil {
		return nil
	}
	out := make([]byte, c.pointLen)
	out[0] = 4
	x.FillBytes(out[1 : 1+c.pointLen/2])
	y.FillBytes(out[1+c.pointLen/2:])
	return out
}

func signNIST(priv *privateKey, _ scheme, digest []byte) ([]byte, error) {
	key, ok := priv.key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDSA: %w", err)
	}
	out := make([]byte, priv.signatureLen())
	r.FillBytes(out[:len(out)/2])
	s.FillBytes(out[len(out)/2:])
	return out, nil
}

func verifyNIST(pub *publicKey, _ scheme, digest, sig []byte) (bool, error) {
	key, ok := pub.key.(*ecdsa.PublicKey)
	if !ok {
		return false, wrongKey(pub.key)
	}
	r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
	return ecdsa.Verify(key, digest, r, s), nil
}

// agreeNIST uses crypto/ecdh, whose form of the key is kept beside the other.
func agreeNIST(k mech.Key, priv *privateKey, point []byte) ([]byte, error) {
	key, ok := priv.key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	if key.Curve == elliptic.P224() {
		return agreeP224(key, point)
	}
	x, err := k.Expanded(mech.SlotECDH, func() (any, error) { return key.ECDH() })
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "ECDH: %w", err)
	}
	own, ok := x.(*ecdh.PrivateKey)
	if !ok {
		return nil, wrongKey(x)
	}
	peer, err := own.Curve().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	return own.ECDH(peer)
}

// agreeP224 multiplies with the deprecated interface of crypto/elliptic, for crypto/ecdh does not have the curve. For a
// scalar of full length that one does nothing but call the same constant-time code that crypto/ecdsa uses for this curve;
// the point is checked before, and since the order is prime and the scalar below it, the result is not the point at
// infinity.
func agreeP224(own *ecdsa.PrivateKey, point []byte) ([]byte, error) {
	peer, err := ecdsa.ParseUncompressedPublicKey(elliptic.P224(), point)
	if err != nil {
		return nil, err
	}
	scalar, err := own.Bytes()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(scalar)
	x, _ := elliptic.P224().ScalarMult(peer.X, peer.Y, scalar) //nolint:staticcheck // see above
	return x.FillBytes(make([]byte, len(scalar))), nil
}
