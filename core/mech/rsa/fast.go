package rsa

import (
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"errors"
	"math/big"

	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

// newFast expands the key for the kernel. It is nil, and crypto/rsa and bigmod do the work, on another processor, for a
// key that the kernel does not do, and in FIPS mode, where the validated module has to.
func newFast(std *rsa.PrivateKey) *kernel.Key {
	if fips140.Enabled() || !kernel.Available() {
		return nil
	}
	pre, size := std.Precomputed, (std.N.BitLen()+15)/16
	half := func(x *big.Int) []byte { return x.FillBytes(make([]byte, max(size, (x.BitLen()+7)/8))) }
	numbers := &kernel.Numbers{
		N: std.N.Bytes(), E: uint(std.E), P: half(std.Primes[0]), Q: half(std.Primes[1]),
		DP: half(pre.Dp), DQ: half(pre.Dq), QInv: half(pre.Qinv),
	}
	defer numbers.Wipe()
	key, err := kernel.NewKey(numbers)
	if err != nil {
		return nil
	}
	return key
}

// Wipe clears what can be reached; what crypto/rsa and bigmod have inside cannot.
func (k *privateKey) Wipe() {
	wipeStandard(k.std)
	if k.fast != nil {
		k.fast.Wipe()
	}
	clear(k.dP)
	clear(k.dQ)
}

// fastRaw is raw by the kernel.
func (k *privateKey) fastRaw(in []byte) (out []byte, ok bool, err error) {
	out, err = k.fast.Private(make([]byte, 0, k.size), in)
	switch {
	case err == nil:
		return out, true, nil
	case errors.Is(err, kernel.ErrRange):
		return nil, false, nil
	}
	return nil, true, errFault
}

// encodePKCS1 is EMSA-PKCS1-v1_5 (RFC 8017, 9.2) for what pkcs1Fits has seen; ok is false for a hash without a name here.
func (k *publicKey) encodePKCS1(h crypto.Hash, data []byte) (em []byte, ok bool) {
	info, ok := digestInfo(h)
	if !ok {
		return nil, false
	}
	em = make([]byte, k.size)
	em[1] = 1
	end := k.size - len(info) - len(data)
	for i := 2; i < end-1; i++ {
		em[i] = 0xff
	}
	copy(em[end:], info)
	copy(em[end+len(info):], data)
	return em, true
}

// nistHashes are the last arcs of the hashes below 2.16.840.1.101.3.4.2.
var nistHashes = map[crypto.Hash]byte{
	crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3, crypto.SHA224: 4,
	crypto.SHA3_224: 7, crypto.SHA3_256: 8, crypto.SHA3_384: 9, crypto.SHA3_512: 10,
}

// otherNames are the names of hashes that are not NIST's: 1.3.14.3.2.26, 1.2.840.113549.2.5, 1.3.36.3.2.1.
var otherNames = map[crypto.Hash][]byte{
	crypto.SHA1:      {0x2b, 0x0e, 0x03, 0x02, 0x1a},
	crypto.MD5:       {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05},
	crypto.RIPEMD160: {0x2b, 0x24, 0x03, 0x02, 0x01},
}

// named puts the DigestInfo before a digest of RIPEMD-160, for which crypto/rsa has another name than the rest of the world,
// and takes the hash away; crypto/rsa then pads what it gets.
func named(h crypto.Hash, digest []byte) (crypto.Hash, []byte) {
	if h != crypto.RIPEMD160 {
		return h, digest
	}
	info, _ := digestInfo(h)
	return 0, append(info, digest...)
}

// digestInfo returns the DER of a DigestInfo up to the digest (RFC 8017, 9.2, note 1); without a hash there is none.
func digestInfo(h crypto.Hash) (der []byte, ok bool) {
	arc, nist := nistHashes[h]
	var name []byte
	var room [9]byte
	switch {
	case h == 0:
		return nil, true
	case otherNames[h] != nil:
		name = otherNames[h]
	case nist:
		name = append(room[:0], 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, arc)
	default:
		return nil, false
	}
	n := byte(len(name))
	der = append(make([]byte, 0, 10+len(name)), 0x30, n+8+byte(h.Size()), 0x30, n+4, 0x06, n)
	der = append(der, name...)
	return append(der, 0x05, 0, 0x04, byte(h.Size())), true
}
