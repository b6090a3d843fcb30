package modes

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ECB is a row of the electronic codebook, which also wraps secret keys.
func (c *Cipher) ECB(t pkcs11.MechanismType) mech.Mechanism {
	return c.Wrapping(mech.Mechanism{Type: t, Encrypt: c.blocks(c.newECB, false, false), Decrypt: c.blocks(c.newECB, false, true)}, c.Size, 0)
}

// CBC is a row of cipher block chaining, which also wraps secret keys.
func (c *Cipher) CBC(t pkcs11.MechanismType) mech.Mechanism {
	return c.Wrapping(mech.Mechanism{Type: t, Encrypt: c.blocks(c.newCBC, false, false), Decrypt: c.blocks(c.newCBC, false, true)}, c.Size, 0)
}

// CBCPad is a row of cipher block chaining with PKCS padding, which also wraps keys.
func (c *Cipher) CBCPad(t pkcs11.MechanismType) mech.Mechanism {
	return c.Wrapping(mech.Mechanism{Type: t, Encrypt: c.blocks(c.newCBC, true, false), Decrypt: c.blocks(c.newCBC, true, true)}, 1, 0)
}

// newMode makes the mode of one operation; decrypt says which way. The second result keeps a chained mode, whose parameter
// is an IV, when the operation has ended; it is nil for a mode without a chain.
type newMode func(k *expanded, at spread.Seat, param any, decrypt bool) (cipher.BlockMode, *spread.Spares[chained], error)

func (c *Cipher) blocks(create newMode, pad, decrypt bool) Constructor {
	begin := func(b *blocks, k mech.Key, param any) error {
		x, err := c.expanded(k)
		if err != nil {
			return err
		}
		mode, from, err := create(x, b.at, param, decrypt)
		if err != nil {
			return err
		}
		b.mode, b.from, b.begun = mode, from, false
		if from != nil {
			copy(b.last[:], param.(pkcs11.IV)) // create has checked it
		}
		return nil
	}
	return func(k mech.Key, param any) (mech.Cipher, error) {
		b := &blocks{begin: begin, at: spread.Nowhere, size: c.Size, pad: pad, decrypt: decrypt}
		if err := begin(b, k, param); err != nil {
			return nil, err
		}
		return b, nil
	}
}

// Renew implements mech.Renewer.
func (b *blocks) Renew(k mech.Key, param any) error {
	b.at = places.Seated(b.at)
	return b.begin(b, k, param)
}

var places spread.Seats

// newECB needs no mode of its own: it has no state.
func (c *Cipher) newECB(k *expanded, _ spread.Seat, param any, decrypt bool) (cipher.BlockMode, *spread.Spares[chained], error) {
	return pick(decrypt, &k.ecb.decrypt, &k.ecb.encrypt), nil, NoParam(param)
}

func (c *Cipher) newCBC(k *expanded, at spread.Seat, param any, decrypt bool) (cipher.BlockMode, *spread.Spares[chained], error) {
	iv, err := IVParam(param, c.Size)
	if err != nil {
		return nil, nil, err
	}
	from := pick(decrypt, &k.cbc.decrypt, &k.cbc.encrypt)
	if mode := from.Take(at); mode != nil {
		mode.SetIV(iv)
		return mode, from, nil
	}
	return newChained(pick(decrypt, cipher.NewCBCDecrypter, cipher.NewCBCEncrypter), k.block, iv), from, nil
}

// blocks is a mode that works on whole blocks, with or without PKCS padding. It holds back what does not fill a block,
// and when padding will have to be taken off, the last full block.
type blocks struct {
	begin   func(b *blocks, k mech.Key, param any) error
	mode    cipher.BlockMode        // nil once the operation has ended
	size    int                     // of a block
	from    *spread.Spares[chained] // of a chained mode, else nil
	at      spread.Seat             // there
	pad     bool
	decrypt bool
	begun   bool // it has taken data or a state
	held    int  // bytes in rest
	rest    [MaxBlock]byte
	last    [MaxBlock]byte // the last block of ciphertext, at first the IV, of a chained mode
}

// InPlace implements mech.InPlacer. Decryption looks at the ciphertext once more, for the chain.
func (b *blocks) InPlace() bool { return b.held == 0 && !b.decrypt }

func (b *blocks) UpdateLen(n int) int {
	total := b.held + n
	if b.pad && b.decrypt && total > 0 {
		total--
	}
	return total - total%b.size
}

// Update never fails.
func (b *blocks) Update(dst, src []byte) ([]byte, error) {
	b.begun = b.begun || len(src) > 0
	dst, out := Extend(dst, b.UpdateLen(len(src)))
	if len(out) > 0 && b.held > 0 {
		src = src[copy(b.rest[b.held:b.size], src):]
		b.crypt(out[:b.size], b.rest[:b.size])
		out, b.held = out[b.size:], 0
	}
	b.crypt(out, src[:len(out)])
	b.held += copy(b.rest[b.held:b.size], src[len(out):])
	return dst, nil
}

// crypt runs the mode over whole blocks and remembers what the next will be chained to: no mode of the standard library
// tells.
func (b *blocks) crypt(dst, src []byte) {
	b.mode.CryptBlocks(dst, src)
	if b.from != nil && len(src) > 0 {
		sealed := pick(b.decrypt, src, dst)
		copy(b.last[:], sealed[len(src)-b.size:])
	}
}

func (b *blocks) FinishLen(n int) (int, bool) {
	total := b.held + n
	whole := total - total%b.size
	switch {
	case !b.pad:
		return whole, true
	case b.decrypt:
		return max(whole-1, 0), false
	}
	return whole + b.size, true
}

// Shape is whole blocks; the padding adds a block to the end, or takes 1 to a block from it.
func (b *blocks) Shape() mech.Shape {
	s := mech.Shape{Block: b.size, Align: b.size, Exact: true}
	switch {
	case b.pad && b.decrypt:
		s.Hold, s.Post, s.Exact = true, -1, false
	case b.pad:
		s.Post = b.size
	}
	return s
}

func (b *blocks) Finish(dst, src []byte) ([]byte, error) {
	total := b.held + len(src)
	if over := total % b.size; over != 0 && (b.decrypt || !b.pad) {
		return nil, b.lengthError(total)
	}
	if b.pad && b.decrypt && total == 0 {
		return nil, b.lengthError(total)
	}
	start := len(dst)
	size, _ := b.FinishLen(len(src))
	dst, _ = b.Update(slices.Grow(dst, size), src)
	if !b.pad {
		return dst, nil
	}
	if !b.decrypt {
		fill := byte(b.size - b.held)
		for i := b.held; i < b.size; i++ {
			b.rest[i] = fill
		}
	}
	b.mode.CryptBlocks(b.rest[:b.size], b.rest[:b.size])
	b.held = 0
	if !b.decrypt {
		return append(dst, b.rest[:b.size]...), nil
	}
	n, ok := Unpad(b.rest[:b.size])
	if !ok {
		clear(dst[start:])
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong")
	}
	return append(dst, b.rest[:b.size-n]...), nil
}

func (b *blocks) lengthError(total int) error {
	rv := pkcs11.CKR_DATA_LEN_RANGE
	if b.decrypt {
		rv = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	return pkcs11.Errorf(rv, "%d bytes are no whole number of blocks of %d", total, b.size)
}

func (b *blocks) Close() {
	clear(b.rest[:])
	clear(b.last[:])
	b.held = 0
	if mode, ok := b.mode.(*chained); ok {
		b.from.Put(b.at, mode)
	}
	b.mode, b.from = nil, nil // what is kept with the key goes with it
}

// Unpad returns how many bytes of the last block are PKCS padding (RFC 5652, 6.3). Its time does not depend on them.
func Unpad(last []byte) (n int, ok bool) {
	size := len(last)
	fill := last[size-1]
	good := subtle.ConstantTimeLessOrEq(1, int(fill)) & subtle.ConstantTimeLessOrEq(int(fill), size)
	for i := 1; i <= size; i++ {
		outside := subtle.ConstantTimeLessOrEq(int(fill)+1, i)
		good &= outside | subtle.ConstantTimeByteEq(last[size-i], fill)
	}
	return int(fill), good == 1
}

// ecb is the electronic codebook as a cipher.BlockMode.
type ecb struct {
	block   cipher.Block
	decrypt bool
}

func (e *ecb) BlockSize() int { return e.block.BlockSize() }

func (e *ecb) CryptBlocks(dst, src []byte) {
	for i, size := 0, e.block.BlockSize(); i < len(src); i += size {
		if e.decrypt {
			e.block.Decrypt(dst[i:], src[i:])
		} else {
			e.block.Encrypt(dst[i:], src[i:])
		}
	}
}

// stateForm is the form of a block mode's state.
func (b *blocks) stateForm() byte {
	form := byte(stateBlocks)
	for _, f := range []struct {
		has bool
		bit byte
	}{{b.from != nil, stateChained}, {b.pad, statePad}, {b.decrypt, stateDecrypt}} {
		if f.has {
			form |= f.bit
		}
	}
	return form
}

// State implements mech.Resumable.
func (b *blocks) State() ([]byte, error) {
	if b.mode == nil {
		return nil, ErrEnded
	}
	return appendHeld(b.stateForm(), b.rest[:b.held], b.chain()), nil
}

// chain is the part of the state that a mode with a chain has.
func (b *blocks) chain() []byte {
	if b.from == nil {
		return nil
	}
	return b.last[:b.size]
}

// Resume implements mech.Resumable.
func (b *blocks) Resume(state []byte) error {
	if err := CheckFresh(b.mode == nil, b.begun); err != nil {
		return err
	}
	holds := b.pad && b.decrypt // the last full block
	held, chain, err := cutHeld(state, b.stateForm(), pick(holds, b.size, b.size-1), len(b.chain()))
	if err != nil {
		return err
	}
	if holds && len(held) == 0 && !bytes.Equal(b.chain(), chain) {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a block is missing from the state")
	}
	b.begun = true
	b.held = copy(b.rest[:], held)
	if copy(b.chain(), chain) > 0 {
		b.mode.(*chained).SetIV(chain)
	}
	return nil
}
