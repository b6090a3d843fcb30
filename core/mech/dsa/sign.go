package dsa

import (
	"crypto/rand"
	"crypto/sha512"
	"math/big"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/nonce"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// sign makes signatures r || s, each as long as q (FIPS 186-4, 4.6); h is nil for CKM_DSA, whose data is the digest itself.
// Nonces are hedged as RFC 6979, 3.6 allows, and a signature is checked before it leaves.
func sign(h *hashes.Hash) func(mech.Key, any) (mech.Signer, error) {
	return func(k mech.Key, param any) (mech.Signer, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		key, err := privateOf(k)
		if err != nil {
			return nil, err
		}
		return hashes.NewSigner(h, 2*key.size(), func(digest []byte) ([]byte, error) {
			if len(digest) == 0 {
				return nil, pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "nothing to sign")
			}
			sig, err := key.sign(digest)
			if err != nil {
				return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "DSA: %w", err)
			}
			if !key.verify(digest, sig) {
				return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "DSA: the signature does not verify with the key's own public half")
			}
			return sig, nil
		}), nil
	}
}

func verify(h *hashes.Hash) func(mech.Key, any) (mech.Verifier, error) {
	return func(k mech.Key, param any) (mech.Verifier, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		key, err := publicOf(k)
		if err != nil {
			return nil, err
		}
		return hashes.NewVerifier(h, func(digest, sig []byte) error {
			if len(sig) != 2*key.size() {
				return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(sig), 2*key.size())
			}
			if len(digest) == 0 {
				return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "nothing to verify")
			}
			if !key.verify(digest, sig) {
				return pkcs11.CKR_SIGNATURE_INVALID
			}
			return nil
		}), nil
	}
}

// size is the length of q in bytes.
func (k *publicKey) size() int { return len(k.group.Q.Bytes()) }

// cut takes as many bits from a digest's left as q has.
func (k *publicKey) cut(digest []byte) []byte { return digest[:min(len(digest), k.size())] }

func (k *privateKey) sign(digest []byte) ([]byte, error) {
	z, err := bigmod.NewNat().SetOverflowingBytes(k.cut(digest), k.q)
	if err != nil {
		return nil, err
	}
	x, err := bigmod.NewNat().SetBytes(k.x, k.q)
	if err != nil {
		return nil, err
	}
	defer clear(x.Bits())
	fresh := make([]byte, 32)
	defer secret.Wipe(fresh)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	draw := nonce.New(sha512.New, k.x, z.Bytes(k.q), fresh)
	defer draw.Wipe()
	for {
		candidate := draw.Next(k.size())
		sig, err := k.signWith(candidate, x, z)
		secret.Wipe(candidate)
		if err != nil || sig != nil {
			return sig, err
		}
	}
}

// signWith makes a signature with a nonce; nil where that is out of range or gives a zero.
func (k *privateKey) signWith(candidate []byte, x, z *bigmod.Nat) ([]byte, error) {
	n, err := bigmod.NewNat().SetBytes(candidate, k.q)
	if err != nil || n.IsZero() == 1 {
		return nil, nil
	}
	defer clear(n.Bits())
	power, err := k.group.Exp(k.group.G.Bytes(), candidate)
	if err != nil {
		return nil, err
	}
	wide, err := bigmod.NewNat().SetBytes(power, k.p)
	if err != nil {
		return nil, err
	}
	r := bigmod.NewNat().Mod(wide, k.q)
	if r.IsZero() == 1 {
		return nil, nil
	}
	// s = (z + x r) / n
	s := bigmod.NewNat().Mod(wide, k.q)
	s.Mul(x, k.q).Add(z, k.q)
	less := new(big.Int).Sub(k.group.Q, big.NewInt(2)).Bytes()
	inverse := bigmod.NewNat().Exp(n, less, k.q)
	defer clear(inverse.Bits())
	s.Mul(inverse, k.q)
	if s.IsZero() == 1 {
		return nil, nil
	}
	return append(r.Bytes(k.q), s.Bytes(k.q)...), nil
}

// verify computes with public numbers only.
func (k *publicKey) verify(digest, sig []byte) bool {
	p, q, g := k.group.P, k.group.Q, k.group.G
	r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(q) >= 0 || s.Cmp(q) >= 0 {
		return false
	}
	w := s.ModInverse(s, q)
	if w == nil {
		return false
	}
	u1 := new(big.Int).SetBytes(k.cut(digest))
	u1.Mul(u1, w).Mod(u1, q)
	u2 := w.Mul(w, r).Mod(w, q)
	v := new(big.Int).Exp(g, u1, p)
	v.Mul(v, new(big.Int).Exp(k.y, u2, p)).Mod(v, p).Mod(v, q)
	return v.Cmp(r) == 0
}
