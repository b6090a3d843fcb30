package hashes

import (
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// SHA512T returns SHA-512/t (FIPS 180-4, 5.3.6 and 6.7) with a digest of t bits in whole bytes, the bits beyond t zero:
// 0 < t < 512, t not 384. CKR_MECHANISM_PARAM_INVALID for others. It has no numbers; the standard's belong to all t.
func SHA512T(t uint) (*Hash, error) {
	if t == 0 || t >= 512 || t == 384 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "SHA-512/t of %d bits; t is 1 to 511 and not 384", t)
	}
	size := int(t+7) / 8
	start := startOfT(t)
	return &Hash{Name: fmt.Sprintf("SHA-512/%d", t), size: size, new: func() hash.Hash {
		h := &sha512t{Hash: sha512.New(), start: start, size: size, last: 0xff << (7 - (t+7)%8)}
		h.Reset()
		return h
	}}, nil
}

// sha512t is a SHA-512 with another beginning and a shorter end. Its state is that of SHA-512; Reset makes it begin.
type sha512t struct {
	hash.Hash
	start []byte // the state that has taken nothing
	size  int
	last  byte // the bits of the last byte that belong to the digest
}

// stateOf is the state of a SHA-512 that has taken nothing, its chaining value changed.
func stateOf(change func(i int, word uint64) uint64) []byte {
	state, err := sha512.New().(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // it never fails
	}
	for i := range 8 {
		word := state[magicLen+8*i:]
		binary.BigEndian.PutUint64(word, change(i, binary.BigEndian.Uint64(word)))
	}
	return state
}

// startOfT hashes the name of the function with a SHA-512 of which each word of the chaining value is changed by the same
// constant; the digest is the chaining value for t (FIPS 180-4, 5.3.6).
func startOfT(t uint) []byte {
	generator := &sha512t{Hash: sha512.New(), start: stateOf(func(_ int, w uint64) uint64 { return w ^ 0xa5a5a5a5a5a5a5a5 })}
	generator.Reset()
	fmt.Fprintf(generator, "SHA-512/%d", t)
	words := generator.Hash.Sum(nil)
	return stateOf(func(i int, _ uint64) uint64 { return binary.BigEndian.Uint64(words[8*i:]) })
}

func (s *sha512t) Size() int { return s.size }

func (s *sha512t) Reset() {
	if err := s.UnmarshalBinary(s.start); err != nil {
		panic(err) // it is a state of SHA-512
	}
}

func (s *sha512t) Sum(dst []byte) []byte {
	start := len(dst)
	dst = s.Hash.Sum(dst)
	clear(dst[start+s.size:])
	dst = dst[:start+s.size]
	dst[len(dst)-1] &= s.last
	return dst
}

func (s *sha512t) AppendBinary(dst []byte) ([]byte, error) {
	return s.Hash.(encoding.BinaryAppender).AppendBinary(dst)
}

func (s *sha512t) UnmarshalBinary(state []byte) error {
	return s.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}
