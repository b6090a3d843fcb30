package rsa

import (
	"crypto/subtle"

	"filippo.io/bigmod"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// raw is the public operation in^e mod n; ok is false for a number that is not below the modulus. Its time depends on
// public values only.
func (k *publicKey) raw(in []byte) (out []byte, ok bool) {
	m, err := bigmod.NewNat().SetBytes(in, k.n)
	if err != nil {
		return nil, false
	}
	return bigmod.NewNat().ExpShortVarTime(m, uint(k.std.E), k.n).Bytes(k.n), true
}

// raw is the private operation in^d mod n by the Chinese remainder theorem (RFC 8017, 5.1.2), constant in time for a
// given key length. The result is checked with the public key. The kernel does the same where it can.
func (k *privateKey) raw(in []byte) (out []byte, ok bool, err error) {
	if k.fast != nil {
		return k.fastRaw(in)
	}
	c, err := bigmod.NewNat().SetBytes(in, k.n)
	if err != nil {
		return nil, false, nil
	}
	t := bigmod.NewNat()
	m := bigmod.NewNat().Exp(t.Mod(c, k.p), k.dP, k.p)  // c^dP mod p
	m2 := bigmod.NewNat().Exp(t.Mod(c, k.q), k.dQ, k.q) // c^dQ mod q
	m.Sub(t.Mod(m2, k.p), k.p).Mul(k.qInv, k.p)         // h = (m - m2) * qInv mod p
	m.ExpandFor(k.n).Mul(t.Mod(k.q.Nat(), k.n), k.n)    // h * q
	m.Add(m2.ExpandFor(k.n), k.n)                       // m2 + h * q
	if bigmod.NewNat().ExpShortVarTime(m, uint(k.publicKey.std.E), k.n).Equal(c) != 1 {
		return nil, true, errFault
	}
	return m.Bytes(k.n), true, nil
}

// errFault means that the processor or the memory failed, or the key was changed under us.
var errFault = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "an RSA result failed its check with the public key")

// pad puts zeros before data up to the modulus' length. PKCS#11 v3.2, X.509 (raw) RSA.
func (k *publicKey) pad(data []byte) ([]byte, error) {
	if len(data) > k.size {
		return nil, dataTooLong(len(data), k.size)
	}
	out := make([]byte, k.size)
	copy(out[k.size-len(data):], data)
	return out, nil
}

func dataTooLong(n, limit int) error {
	return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "%d bytes of data, at most %d fit", n, limit)
}

var errNotBelowModulus = pkcs11.Errorf(pkcs11.CKR_DATA_INVALID, "the data is a number that is not below the modulus")

// rawScheme is CKM_RSA_X_509 as encryption. Decryption gives back as many bytes as the modulus has.
type rawScheme struct{}

func newRaw(param any) (scheme, error) { return rawScheme{}, noParam(param) }

func (rawScheme) fits(*publicKey) error     { return nil }
func (rawScheme) plainLen(k *publicKey) int { return k.size }
func (rawScheme) plainExact() bool          { return true }

func (rawScheme) encrypt(k *publicKey, plain []byte) ([]byte, error) {
	m, err := k.pad(plain)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(m)
	out, ok := k.raw(m)
	if !ok {
		return nil, errNotBelowModulus
	}
	return out, nil
}

func (rawScheme) decrypt(k *privateKey, ciphertext []byte) ([]byte, error) {
	out, ok, err := k.raw(ciphertext)
	if !ok {
		return nil, errDecrypt
	}
	return out, err
}

func (k *privateKey) signRaw(data []byte) ([]byte, error) {
	if len(data) > k.size {
		return nil, dataTooLong(len(data), k.size)
	}
	out, ok, err := k.raw(data) // a number: zeros before it change nothing
	if !ok {
		return nil, errNotBelowModulus
	}
	return out, err
}

func (k *publicKey) verifyRaw(data, signature []byte) error {
	m, err := k.pad(data)
	if err != nil {
		return err
	}
	got, err := k.open(signature)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(m, got) != 1 {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

// open is the public operation on a signature.
func (k *publicKey) open(signature []byte) ([]byte, error) {
	if len(signature) != k.size {
		return nil, pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a signature of %d bytes, expected %d", len(signature), k.size)
	}
	out, ok := k.raw(signature)
	if !ok {
		return nil, pkcs11.CKR_SIGNATURE_INVALID
	}
	return out, nil
}

func rawSign(k mech.Key, param any) (mech.Signer, error) {
	key, err := plainPrivate(k, param)
	if err != nil {
		return nil, err
	}
	return hashes.NewSigner(nil, key.size, key.signRaw), nil
}

func rawVerify(k mech.Key, param any) (mech.Verifier, error) {
	key, err := plainPublic(k, param)
	if err != nil {
		return nil, err
	}
	return hashes.NewVerifier(nil, key.verifyRaw), nil
}

func rawSignRecover(k mech.Key, param any) (mech.Cipher, error) {
	key, err := plainPrivate(k, param)
	if err != nil {
		return nil, err
	}
	return &onePart{size: key.size, exact: true, run: key.signRaw}, nil
}

func rawVerifyRecover(k mech.Key, param any) (mech.Cipher, error) {
	key, err := plainPublic(k, param)
	if err != nil {
		return nil, err
	}
	return &onePart{size: key.size, exact: true, run: key.open}, nil
}

// plainPrivate and plainPublic expand the key for a mechanism without parameters.
func plainPrivate(k mech.Key, param any) (*privateKey, error) {
	if err := noParam(param); err != nil {
		return nil, err
	}
	return privateOf(k)
}

func plainPublic(k mech.Key, param any) (*publicKey, error) {
	if err := noParam(param); err != nil {
		return nil, err
	}
	return publicOf(k)
}
