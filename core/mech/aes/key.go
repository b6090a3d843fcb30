package aes

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/spare"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// CheckValue returns the CKA_CHECK_VALUE of an AES key: the first three bytes of the encryption of a block of zeros.
// Nil if key is no AES key.
func CheckValue(key []byte) []byte {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, aes.BlockSize)
	b.Encrypt(out, out)
	return out[:3:3]
}

// lengths is the rule of AES keys.
var lengths = generic.Lengths{
	Valid:     func(n uint) bool { return n == 16 || n == 24 || n == 32 },
	Generated: 32,
	Text:      "16, 24 or 32",
}

// expanded is what is kept with a key: its block cipher and what can be made of it once for many operations.
type expanded struct {
	block cipher.Block
	ecb   struct{ encrypt, decrypt ecb }
	cbc   struct{ encrypt, decrypt spare.Set[chained] }
}

// chained is a mode that can begin anew. The standard library's have a copy of the round keys inside, half a kilobyte,
// so those of operations that have ended are kept.
type chained struct{ restartable }

type restartable interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// newChained makes a chained mode. One that cannot begin anew by itself is made anew each time.
func newChained(create func(cipher.Block, []byte) cipher.BlockMode, block cipher.Block, iv []byte) *chained {
	mode := create(block, iv)
	if m, ok := mode.(restartable); ok {
		return &chained{m}
	}
	return &chained{&remade{mode, create, block}}
}

type remade struct {
	cipher.BlockMode
	create func(cipher.Block, []byte) cipher.BlockMode
	block  cipher.Block
}

func (r *remade) SetIV(iv []byte) { r.BlockMode = r.create(r.block, iv) }

func keyExpanded(k mech.Key) (*expanded, error) {
	v, err := k.Expanded(mech.SlotMain, func() (any, error) {
		b, err := newBlock(k)
		if err != nil {
			return nil, err
		}
		x := &expanded{block: b}
		x.ecb.encrypt, x.ecb.decrypt = ecb{b, false}, ecb{b, true}
		return x, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*expanded), nil
}

// keyBlock returns the key's block cipher, which is kept with the key.
func keyBlock(k mech.Key) (cipher.Block, error) {
	x, err := keyExpanded(k)
	if err != nil {
		return nil, err
	}
	return x.block, nil
}

func newBlock(k mech.Key) (cipher.Block, error) {
	value := k.Bytes(pkcs11.CKA_VALUE)
	b, err := aes.NewCipher(value)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; an AES key has %s", len(value), lengths.Text)
	}
	return b, nil
}
