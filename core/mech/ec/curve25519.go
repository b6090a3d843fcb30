package ec

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ed25519Arithmetic and x25519Arithmetic are the standard library's.
var (
	ed25519Arithmetic = arithmetic{
		generate: func(*curve) (any, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		},
		private: func(_ *curve, seed []byte) (any, error) { return ed25519.NewKeyFromSeed(seed), nil },
		public: func(_ *curve, point []byte) (any, error) {
			if err := edwards25519.check(point); err != nil {
				return nil, err
			}
			return ed25519.PublicKey(point), nil
		},
		take: func(_ *curve, private any) (seed, point []byte, err error) {
			key, ok := private.(ed25519.PrivateKey)
			if !ok {
				return nil, nil, wrongKey(private)
			}
			return key.Seed(), key.Public().(ed25519.PublicKey), nil
		},
		sign:   signEd25519,
		verify: verifyEd25519,
	}
	x25519Arithmetic = arithmetic{
		generate: func(*curve) (any, error) { return ecdh.X25519().GenerateKey(rand.Reader) },
		private:  func(_ *curve, scalar []byte) (any, error) { return ecdh.X25519().NewPrivateKey(scalar) },
		public:   parseX25519,
		take: func(_ *curve, private any) (scalar, point []byte, err error) {
			key, ok := private.(*ecdh.PrivateKey)
			if !ok {
				return nil, nil, wrongKey(private)
			}
			return key.Bytes(), key.PublicKey().Bytes(), nil
		},
		agree: agreeX25519,
	}
)

// ed25519Options turns a scheme of RFC 8032 into Go's words for it, and data into what they ask for.
func ed25519Options(o scheme, data []byte) (*ed25519.Options, []byte) {
	if !o.prehash {
		return &ed25519.Options{Context: o.context}, data
	}
	digest := sha512.Sum512(data)
	return &ed25519.Options{Context: o.context, Hash: crypto.SHA512}, digest[:]
}

func signEd25519(priv *privateKey, o scheme, data []byte) ([]byte, error) {
	key, ok := priv.key.(ed25519.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	options, message := ed25519Options(o, data)
	sig, err := key.Sign(nil, message, options)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "EdDSA: %w", err)
	}
	return sig, nil
}

func verifyEd25519(pub *publicKey, o scheme, data, sig []byte) (bool, error) {
	key, ok := pub.key.(ed25519.PublicKey)
	if !ok {
		return false, wrongKey(pub.key)
	}
	options, message := ed25519Options(o, data)
	return ed25519.VerifyWithOptions(key, message, sig, options) == nil, nil
}

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

func agreeX25519(_ mech.Key, priv *privateKey, point []byte) ([]byte, error) {
	key, ok := priv.key.(*ecdh.PrivateKey)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	peer, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	return key.ECDH(peer) // refuses a result of zero
}
