package aes

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// States of operations between two parts (mech.Resumable), 35 bytes at most:
//
//	ECB, CBC  version, form, 1 byte: how many bytes are held, those bytes; CBC: 16 bytes, the last block of ciphertext
//	CMAC      version, form, 1 byte: how many bytes are held, those bytes, 16 bytes of chaining value
//	CTR       version, form, 8 bytes, big-endian: how many bytes are processed
//
// The form keeps the state of one mode or direction from another's. The length of a CMAC's tag and the initial counter are
// the parameter's.
const (
	stateVersion = 1

	// The forms: CMAC, CTR, or the blocks of a mode, to which the other bits are added.
	stateCMAC    = 0x01
	stateCTR     = 0x02
	stateBlocks  = 0x10
	stateChained = 0x20 // CBC
	statePad     = 0x40
	stateDecrypt = 0x80
)

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
		return nil, errEnded
	}
	return appendHeld(b.stateForm(), b.rest[:b.held], b.chain()), nil
}

// chain is the part of the state that a mode with a chain has.
func (b *blocks) chain() []byte {
	if b.from == nil {
		return nil
	}
	return b.last[:]
}

// Resume implements mech.Resumable.
func (b *blocks) Resume(state []byte) error {
	if err := checkFresh(b.mode == nil, b.begun); err != nil {
		return err
	}
	holds := b.pad && b.decrypt // the last full block
	held, chain, err := cutHeld(state, b.stateForm(), pick(holds, aes.BlockSize, aes.BlockSize-1), len(b.chain()))
	if err != nil {
		return err
	}
	if holds && len(held) == 0 && b.last != [aes.BlockSize]byte(chain) {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a block is missing from the state")
	}
	b.begun = true
	b.held = copy(b.rest[:], held)
	if copy(b.chain(), chain) > 0 {
		b.mode.(*chained).SetIV(chain)
	}
	return nil
}

// State implements mech.Resumable.
func (c *cmac) State() ([]byte, error) {
	if c.block == nil {
		return nil, errEnded
	}
	return appendHeld(stateCMAC, c.rest[:c.held], c.chain[:]), nil
}

// Resume implements mech.Resumable.
func (c *cmac) Resume(state []byte) error {
	if err := checkFresh(c.block == nil, c.held > 0); err != nil {
		return err
	}
	held, chain, err := cutHeld(state, stateCMAC, aes.BlockSize, len(c.chain))
	if err != nil {
		return err
	}
	if len(held) == 0 && [aes.BlockSize]byte(chain) != [aes.BlockSize]byte{} {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a block is missing from the state")
	}
	c.held = copy(c.rest[:], held)
	copy(c.chain[:], chain)
	return nil
}

// State implements mech.Resumable.
func (c *counter) State() ([]byte, error) {
	if c.block == nil {
		return nil, errEnded
	}
	return binary.BigEndian.AppendUint64([]byte{stateVersion, stateCTR}, c.done), nil
}

// Resume implements mech.Resumable.
func (c *counter) Resume(state []byte) error {
	if err := checkFresh(c.block == nil, c.done > 0); err != nil {
		return err
	}
	body, err := cutHeader(state, stateCTR)
	if err != nil {
		return err
	}
	if len(body) != 8 {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a counter of %d bytes, want 8", len(body))
	}
	// No one operation gets further than an int counts, even where the counter bits allow it.
	done := binary.BigEndian.Uint64(body)
	if done > c.left || done > math.MaxInt64 {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%d bytes were processed, but the counter overflows after %d", done, c.left)
	}
	start := c.param.CB
	low, carry := bits.Add64(binary.BigEndian.Uint64(start[8:]), done/aes.BlockSize, 0)
	high, _ := bits.Add64(binary.BigEndian.Uint64(start[:8]), 0, carry)
	binary.BigEndian.PutUint64(start[8:], low)
	binary.BigEndian.PutUint64(start[:8], high)
	c.stream = cipher.NewCTR(c.block, start[:])
	var used [aes.BlockSize]byte // of the block of key stream that was begun
	c.stream.XORKeyStream(used[:done%aes.BlockSize], used[:done%aes.BlockSize])
	clear(used[:])
	c.done = done
	if c.left != math.MaxUint64 {
		c.left -= done
	}
	return nil
}

// appendHeld makes a state of bytes held back and a chaining value.
func appendHeld(form byte, held, chain []byte) []byte {
	state := make([]byte, 0, 3+len(held)+len(chain))
	state = append(state, stateVersion, form, byte(len(held)))
	return append(append(state, held...), chain...)
}

// cutHeld takes apart what appendHeld has made: at most most bytes held, chainLen bytes of chaining value.
func cutHeld(state []byte, form byte, most, chainLen int) (held, chain []byte, err error) {
	body, err := cutHeader(state, form)
	if err != nil {
		return nil, nil, err
	}
	if len(body) == 0 || int(body[0]) > most || len(body) != 1+int(body[0])+chainLen {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a state of %d bytes does not hold what it says", len(state))
	}
	n := 1 + int(body[0])
	return body[1:n], body[n:], nil
}

func cutHeader(state []byte, form byte) (body []byte, err error) {
	if len(state) < 2 || state[0] != stateVersion || state[1] != form {
		return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of this operation of version %d", stateVersion)
	}
	return state[2:], nil
}

// checkFresh says whether an operation can take a state.
func checkFresh(ended, begun bool) error {
	switch {
	case ended:
		return errEnded
	case begun:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a state goes into a fresh operation")
	}
	return nil
}

var errEnded = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
