// Package modes has the modes of operation of block ciphers, over any crypto/cipher.Block of 8 or 16 bytes, and what the
// families of symmetric ciphers share beside them: the checks of plain parameters, the gathering of parts, key wrapping
// by encryption.
//
// A family describes its cipher once, as a Cipher, and gets its rows from the methods. ECB, CBC, OFB, CFB, counter mode,
// CBC-MAC and CMAC are mech.Resumable (state.go has the states). Nothing branches or indexes on secret data.
//
// Parameters are kept, not copied, until their operation ends; whoever made them does not change them meanwhile.
package modes

import (
	"crypto/cipher"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MaxBlock is the longest block, in bytes.
const MaxBlock = 16

// Cipher is a block cipher as its rows need it. It does not change once rows are made of it.
type Cipher struct {
	KeyTypes []pkcs11.KeyType
	Min, Max uint // of the keys, in bytes
	Size     int  // of a block, in bytes: 8 or 16
	Legacy   bool

	// New makes the block cipher of a key: CKR_KEY_SIZE_RANGE if the key is none. It does not call the key's Expanded.
	New func(k mech.Key) (cipher.Block, error)
}

// Constructor is what Encrypt and Decrypt have in common.
type Constructor = func(k mech.Key, param any) (mech.Cipher, error)

// Row fills in what all rows of the cipher have in common.
func (c *Cipher) Row(m mech.Mechanism) mech.Mechanism {
	m.KeyTypes, m.Min, m.Max, m.Legacy = c.KeyTypes, c.Min, c.Max, c.Legacy
	return m
}

// Wrapping is Row for an encryption that also wraps keys. They are filled with zeros to a multiple of unit and to at
// least least bytes before; private keys only where the row says Filled.
func (c *Cipher) Wrapping(m mech.Mechanism, unit, least int) mech.Mechanism {
	m = c.Row(m)
	m.Wrap = WrapWith(m.Encrypt, unit, least)
	m.Unwrap = UnwrapWith(m.Decrypt)
	m.SecretOnly = !m.Filled && (unit > 1 || least > 1)
	return m
}

// expanded is what is kept with a key: its block cipher and what can be made of it once for many operations.
type expanded struct {
	block cipher.Block
	ecb   struct{ encrypt, decrypt ecb }
	cbc   struct{ encrypt, decrypt spread.Spares[chained] }
}

func (c *Cipher) expanded(k mech.Key) (*expanded, error) {
	v, err := k.Expanded(mech.SlotMain, func() (any, error) {
		b, err := c.New(k)
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

// Block returns the key's block cipher, which is kept with the key.
func (c *Cipher) Block(k mech.Key) (cipher.Block, error) {
	x, err := c.expanded(k)
	if err != nil {
		return nil, err
	}
	return x.block, nil
}

// chained is a mode that can begin anew. The standard library's have a copy of the round keys inside, half a kilobyte
// for AES, so those of operations that have ended are kept.
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

func pick[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

// Extend appends n bytes to dst, whose content is not defined, and returns them apart as well.
func Extend(dst []byte, n int) (whole, added []byte) {
	start := len(dst)
	whole = slices.Grow(dst, n)[:start+n]
	return whole, whole[start:]
}
