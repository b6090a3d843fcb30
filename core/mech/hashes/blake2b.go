package hashes

import (
	"encoding"
	"hash"

	"golang.org/x/crypto/blake2b"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// blake is a BLAKE2b (RFC 7693) that gives its state out as the hashes of the standard library do.
type blake struct{ hash.Hash }

func blake2bOf(size int) func() hash.Hash {
	return func() hash.Hash {
		h, err := blake2b.New(size, nil)
		if err != nil {
			panic(err) // the table has no other sizes
		}
		return blake{h}
	}
}

// blake2bKeyed is the keyed variant, RFC 7693, 2.9: keys of up to 64 bytes.
func blake2bKeyed(size int) func(key []byte) (hash.Hash, error) {
	return func(key []byte) (hash.Hash, error) {
		if len(key) == 0 || len(key) > blake2b.Size {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes; BLAKE2b takes 1 to %d", len(key), blake2b.Size)
		}
		return blake2b.New(size, key)
	}
}

func (b blake) MarshalBinary() ([]byte, error) {
	return b.Hash.(encoding.BinaryMarshaler).MarshalBinary()
}

func (b blake) AppendBinary(dst []byte) ([]byte, error) {
	state, err := b.MarshalBinary()
	defer clear(state)
	return append(dst, state...), err
}

func (b blake) UnmarshalBinary(state []byte) error {
	return b.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}
