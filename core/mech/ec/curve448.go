package ec

import (
	"crypto/rand"

	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/sign/ed448"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
)

// ed448Private is the seed and the public point.
type ed448Private ed448.PrivateKey

// Wipe zeroes the seed.
func (k ed448Private) Wipe() { secret.Wipe(k) }

// x448Private is a private key of X448 and its point.
type x448Private struct{ scalar, point x448.Key }

// Wipe zeroes the scalar.
func (k *x448Private) Wipe() { secret.Wipe(k.scalar[:]) }

// ed448Arithmetic and x448Arithmetic are Cloudflare's circl, for the standard library has neither curve.
var (
	ed448Arithmetic = arithmetic{
		generate: func(*curve) (any, error) {
			_, key, err := ed448.GenerateKey(rand.Reader)
			return ed448Private(key), err
		},
		private: func(_ *curve, seed []byte) (any, error) { return ed448Private(ed448.NewKeyFromSeed(seed)), nil },
		public: func(_ *curve, point []byte) (any, error) {
			if err := edwards448.check(point); err != nil {
				return nil, err
			}
			return ed448.PublicKey(point), nil
		},
		take: func(_ *curve, private any) (seed, point []byte, err error) {
			key, ok := private.(ed448Private)
			if !ok {
				return nil, nil, wrongKey(private)
			}
			return append([]byte{}, key[:ed448.SeedSize]...), append([]byte{}, key[ed448.SeedSize:]...), nil
		},
		sign:   signEd448,
		verify: verifyEd448,
	}
	x448Arithmetic = arithmetic{
		generate: func(*curve) (any, error) {
			k := new(x448Private)
			if _, err := rand.Read(k.scalar[:]); err != nil {
				return nil, err
			}
			x448.KeyGen(&k.point, &k.scalar)
			return k, nil
		},
		private: func(_ *curve, scalar []byte) (any, error) {
			k := new(x448Private)
			copy(k.scalar[:], scalar)
			x448.KeyGen(&k.point, &k.scalar)
			return k, nil
		},
		public: func(_ *curve, point []byte) (any, error) {
			// An agreement with any private value tells the points of low order.
			_, err := agreeX448(nil, &privateKey{key: new(x448Private)}, point)
			return append([]byte{}, point...), err
		},
		take: func(_ *curve, private any) (scalar, point []byte, err error) {
			key, ok := private.(*x448Private)
			if !ok {
				return nil, nil, wrongKey(private)
			}
			return append([]byte{}, key.scalar[:]...), append([]byte{}, key.point[:]...), nil
		},
		agree: agreeX448,
	}
)

func signEd448(priv *privateKey, o scheme, data []byte) ([]byte, error) {
	key, ok := priv.key.(ed448Private)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	if o.prehash {
		return ed448.SignPh(ed448.PrivateKey(key), data, o.context), nil
	}
	return ed448.Sign(ed448.PrivateKey(key), data, o.context), nil
}

func verifyEd448(pub *publicKey, o scheme, data, sig []byte) (bool, error) {
	key, ok := pub.key.(ed448.PublicKey)
	if !ok {
		return false, wrongKey(pub.key)
	}
	if o.prehash {
		return ed448.VerifyPh(key, data, sig, o.context), nil
	}
	return ed448.Verify(key, data, sig, o.context), nil
}

// agreeX448 refuses a result of zero, as RFC 7748, 6.2 wants it.
func agreeX448(_ mech.Key, priv *privateKey, point []byte) ([]byte, error) {
	key, ok := priv.key.(*x448Private)
	if !ok {
		return nil, wrongKey(priv.key)
	}
	var shared, peer x448.Key
	copy(peer[:], point)
	defer secret.Wipe(shared[:])
	if !x448.Shared(&shared, &key.scalar, &peer) {
		return nil, errLowOrder
	}
	return append([]byte{}, shared[:]...), nil
}
