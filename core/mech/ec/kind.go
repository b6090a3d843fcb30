package ec

import (
	"crypto/ed25519"
	"errors"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// kind is one of the three key types. What it does with a key is done by the arithmetic of the key's curve.
type kind struct{ keyType pkcs11.KeyType }

var kinds = []*kind{&weierstrass, &twistedEdwards, &montgomeryForm}

var (
	weierstrass    = kind{pkcs11.CKK_EC}
	twistedEdwards = kind{pkcs11.CKK_EC_EDWARDS}
	montgomeryForm = kind{pkcs11.CKK_EC_MONTGOMERY}
)

// arithmetic is what computes on a curve. Private and public keys are of its own types; a key of another arithmetic is refused.
type arithmetic struct {
	generate func(c *curve) (private any, err error)
	// private takes a private value of c.scalarLen bytes, public a bare point of c.pointLen bytes, which it may keep. Both
	// refuse what is no key of the curve.
	private func(c *curve, scalar []byte) (any, error)
	public  func(c *curve, point []byte) (any, error)
	// take is the reverse. The scalar, of c.scalarLen bytes, is the caller's to wipe.
	take func(c *curve, private any) (scalar, point []byte, err error)
	// decompress gives the uncompressed form of a compressed point (SEC 1, 2.3.4) of the right length, nil for one that is
	// none; CKK_EC only.
	decompress func(c *curve, point []byte) []byte

	// sign makes a signature of c.signatureLen() bytes, of a digest (ECDSA) or of the data (EdDSA); nil where keys agree only.
	sign   func(key *privateKey, o scheme, data []byte) ([]byte, error)
	verify func(key *publicKey, o scheme, data, signature []byte) (bool, error)
	// agree returns the secret that is shared with the holder of a bare point of the curve; nil where keys sign only. It
	// refuses points of low order. The secret is the caller's to wipe.
	agree func(k mech.Key, key *privateKey, point []byte) ([]byte, error)
}

var errLowOrder = errors.New("a point of low order")

func wrongKey(key any) error {
	return pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T does not go with the mechanism", key)
}

// wiper is a private key that can be wiped.
type wiper interface{ Wipe() }

// Wipe ends the key's life in memory, as far as the arithmetic lets it.
func (k *privateKey) Wipe() {
	switch key := k.key.(type) {
	case wiper:
		key.Wipe()
	case ed25519.PrivateKey:
		secret.Wipe(key)
	}
}

// take gives the normal private value and the bare point of a private key. The value is the caller's to wipe.
func (k *privateKey) take() (scalar, point []byte, err error) { return k.arith.take(k.curve, k.key) }

// point is the bare point of a private key.
func (k *privateKey) point() ([]byte, error) {
	scalar, point, err := k.take()
	secret.Wipe(scalar)
	return point, err
}
