package hashes

import (
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// SP 800-56A allows 2^32-1 blocks; nobody derives a key of more than this.
const maxDerived = 1 << 20

// DeriveX963 is the key derivation function of ANSI X9.63 (SEC 1, 3.6.1): blocks Hash(z || counter || info), the counter
// beginning with 1, cut to size bytes. The result is the caller's to wipe.
func (h *Hash) DeriveX963(z, info []byte, size int) ([]byte, error) {
	return h.derive(size, func(counter []byte) [][]byte { return [][]byte{z, counter, info} })
}

// DeriveSP800 is the one-step key derivation function of SP 800-56C, 4.1 with a hash: blocks Hash(counter || z || info).
func (h *Hash) DeriveSP800(z, info []byte, size int) ([]byte, error) {
	return h.derive(size, func(counter []byte) [][]byte { return [][]byte{counter, z, info} })
}

func (h *Hash) derive(size int, block func(counter []byte) [][]byte) ([]byte, error) {
	if size <= 0 || size > maxDerived {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bytes cannot be derived", size)
	}
	out := make([]byte, 0, size+h.Size())
	for i := uint32(1); len(out) < size; i++ {
		digest := h.Sum(block([]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})...)
		out = append(out, digest...)
		secret.Wipe(digest)
	}
	secret.Wipe(out[size:])
	return out[:size], nil
}

// XORMGF1 adds to each byte of out the mask that MGF1 over this hash makes from seed. RFC 8017, B.2.1.
func (h *Hash) XORMGF1(out, seed []byte) {
	for i := uint32(0); len(out) > 0; i++ {
		mask := h.Sum(seed, []byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		n := min(len(out), len(mask))
		for j := range n {
			out[j] ^= mask[j]
		}
		out = out[n:]
	}
}
