package hashes

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// A hash's state between two parts is what its encoding.BinaryAppender gives, at most 213 bytes:
//
//	MD5, SHA-1, SHA-2: 4 bytes of magic, the chaining value, the block begun (zeros after it), 8 bytes: the bytes hashed
//	SHA-3, SHAKE: 4 bytes of magic, 1 byte: the rate, 200 bytes of sponge, 1 byte: the bytes begun, 1 byte: 0, absorbing
//	BLAKE2b:      3 bytes of magic, 64 bytes of chaining value, 16 bytes: the bytes compressed, 1 byte: the digest's length, the
//	              block begun (older bytes after it), 1 byte: the bytes begun, none only at the beginning
//
// RIPEMD-160 has no state that could be given out.
//
// The magic, the rate and the length tell all hashes of the table apart.
const (
	magicLen = 4
	countLen = 8
	// countMost is what SHA-1 and SHA-256 can count: 2^64 bits (FIPS 180-4, 5.1.1). Nobody hashes as much with the others.
	countMost  = 1<<61 - 1
	magicSHA3  = "sha\x08"
	magicSHAKE = "sha\x09"
	magicB2b   = "b2b"
	absorbing  = 0
)

// AppendState appends the state of a hash of the table, or of a SHAKE that is used as one. It is as secret as what was hashed.
func AppendState(dst []byte, h hash.Hash) ([]byte, error) {
	a, ok := h.(encoding.BinaryAppender)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "a %T does not give its state out", h)
	}
	out, err := a.AppendBinary(dst)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the hash's state: %w", err)
	}
	return out, nil
}

// Resume makes h, a hash of the table, go on from state. CKR_SAVED_STATE_INVALID, and h as it was, for a state that no
// hashing of this kind reaches. The standard library's UnmarshalBinary alone also takes some of those, and panics later.
func Resume(h hash.Hash, state []byte) error {
	if err := checkState(h, state); err != nil {
		return err
	}
	u, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a %T does not take a state", h)
	}
	if err := u.UnmarshalBinary(state); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the hash's state: %w", err)
	}
	return nil
}

// Hashed returns how many bytes a state has taken in; -1 for SHA-3 and SHAKE, which does not count, and BLAKE2b. state is one that Resume takes.
func Hashed(state []byte) int64 {
	if isSponge(state) || isBLAKE2b(state) {
		return -1
	}
	return int64(binary.BigEndian.Uint64(state[len(state)-countLen:])) //nolint:gosec // at most countMost
}

func isSponge(state []byte) bool {
	return bytes.HasPrefix(state, []byte(magicSHA3)) || bytes.HasPrefix(state, []byte(magicSHAKE))
}

func isBLAKE2b(state []byte) bool { return bytes.HasPrefix(state, []byte(magicB2b)) }

// HasState reports whether AppendState can give out the state of h.
func HasState(h hash.Hash) bool {
	_, ok := h.(encoding.BinaryAppender)
	return ok
}

// checkBLAKE2b looks at what UnmarshalBinary takes as it comes.
func checkBLAKE2b(state []byte, size, block int) error {
	counts := state[len(magicB2b)+64:]
	low, high := binary.BigEndian.Uint64(counts), binary.BigEndian.Uint64(counts[8:])
	begun := int(state[len(state)-1])
	if high != 0 || low > countMost || low%uint64(block) != 0 || int(counts[16]) != size || begun > block || begun == 0 && low > 0 {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a BLAKE2b of %d bytes with %d compressed and %d begun; want %d", counts[16], low, begun, size)
	}
	return nil
}

func checkState(h hash.Hash, state []byte) error {
	own, err := AppendState(nil, h)
	if err != nil {
		return err
	}
	defer clear(own)
	block := h.BlockSize()
	switch {
	case len(state) != len(own):
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a hash's state of %d bytes, want %d", len(state), len(own))
	case isBLAKE2b(own) && isBLAKE2b(state):
		return checkBLAKE2b(state, h.Size(), block)
	case !bytes.Equal(state[:magicLen], own[:magicLen]):
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the state of another hash")
	case isSponge(state):
		if rate, begun, phase := state[magicLen], state[len(state)-2], state[len(state)-1]; int(rate) != block || int(begun) >= block || phase != absorbing {
			return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a sponge of rate %d with %d bytes begun in phase %d; want rate %d", rate, begun, phase, block)
		}
		return nil
	}
	count := binary.BigEndian.Uint64(state[len(state)-countLen:])
	begun := state[len(state)-countLen-block : len(state)-countLen]
	if count > countMost || len(bytes.Trim(begun[count%uint64(block):], "\x00")) != 0 {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a hash's state of %d bytes with more begun than counted", count)
	}
	return nil
}
