package modes

import (
	"crypto/cipher"
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MAC is a row of the MAC of FIPS 113 (CBC-MAC, ISO/IEC 9797-1 algorithm 1 with padding method 1), of half a block. It
// is safe for messages of one length only.
func (c *Cipher) MAC(t pkcs11.MechanismType) mech.Mechanism {
	return c.macRow(t, finishZeros, func(param any) (int, error) { return c.Size / 2, NoParam(param) })
}

// MACGeneral is MAC with a length of 1 byte to a block.
func (c *Cipher) MACGeneral(t pkcs11.MechanismType) mech.Mechanism {
	return c.macRow(t, finishZeros, func(param any) (int, error) { return MACSize(param, c.Size) })
}

// CMAC is a row of CMAC, SP 800-38B, of a whole block.
func (c *Cipher) CMAC(t pkcs11.MechanismType) mech.Mechanism {
	return c.macRow(t, finishCMAC, func(param any) (int, error) { return c.Size, NoParam(param) })
}

// CMACGeneral is CMAC with a length of 1 byte to a block.
func (c *Cipher) CMACGeneral(t pkcs11.MechanismType) mech.Mechanism {
	return c.macRow(t, finishCMAC, func(param any) (int, error) { return MACSize(param, c.Size) })
}

func (c *Cipher) macRow(t pkcs11.MechanismType, finish finisher, size func(param any) (int, error)) mech.Mechanism {
	return c.Row(MACRow(t, func(k mech.Key, param any) (*ChainedMAC, error) {
		n, err := size(param)
		if err != nil {
			return nil, err
		}
		b, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		return &ChainedMAC{block: b, blockSize: c.Size, size: n, finish: finish}, nil
	}))
}

// MACRow makes a row of a MAC whose one operation signs and verifies.
func MACRow[M interface {
	mech.Signer
	mech.Verifier
}](t pkcs11.MechanismType, create func(k mech.Key, param any) (M, error)) mech.Mechanism {
	return mech.Mechanism{
		Type: t,
		Sign: func(k mech.Key, param any) (mech.Signer, error) {
			m, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
		Verify: func(k mech.Key, param any) (mech.Verifier, error) {
			m, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	}
}

// finisher prepares the last block, rest, of which held bytes are taken, for its way into the chain. It is the whole of
// what tells the MACs over a chain apart; form marks their states.
type finisher struct {
	form byte
	pad  func(m *ChainedMAC, rest []byte, held int)
}

var (
	finishZeros = finisher{stateMAC, func(_ *ChainedMAC, rest []byte, held int) { clear(rest[held:]) }}
	finishCMAC  = finisher{stateCMAC, padCMAC}
)

// padCMAC is SP 800-38B, 6.1 and 6.2.
func padCMAC(m *ChainedMAC, rest []byte, held int) {
	var subkey [MaxBlock]byte
	k := subkey[:m.blockSize]
	m.block.Encrypt(k, k)
	double(k)
	if held < len(rest) {
		double(k)
		padOne(rest, held)
	}
	subtle.XORBytes(rest, rest, k)
	clear(k)
}

// padOne fills a block with a one bit and zeros.
func padOne(rest []byte, held int) {
	rest[held] = 0x80
	clear(rest[held+1:])
}

// ChainedMAC is one operation of a MAC over cipher block chaining. It is Signer, Verifier and Resumable.
type ChainedMAC struct {
	block     cipher.Block // nil once the operation has ended
	blockSize int
	size      int // of the tag
	finish    finisher
	held      int // bytes in rest: the last block is treated apart, so a full one is held back
	rest      [MaxBlock]byte
	chain     [MaxBlock]byte
	keys      [2][MaxBlock]byte // XCBC's K2 and K3
}

// Size is the tag's length.
func (c *ChainedMAC) Size() int { return c.size }

// Update takes a part.
func (c *ChainedMAC) Update(part []byte) error {
	for len(part) > 0 {
		if c.held == c.blockSize {
			c.mix()
			c.held = 0
		}
		n := copy(c.rest[c.held:c.blockSize], part)
		c.held += n
		part = part[n:]
	}
	return nil
}

// mix takes the block in rest into the chain.
func (c *ChainedMAC) mix() {
	chain := c.chain[:c.blockSize]
	subtle.XORBytes(chain, chain, c.rest[:c.blockSize])
	c.block.Encrypt(chain, chain)
}

// sum returns the tag. It ends the operation.
func (c *ChainedMAC) sum(part []byte) ([]byte, error) {
	if err := c.Update(part); err != nil {
		return nil, err
	}
	c.finish.pad(c, c.rest[:c.blockSize], c.held)
	c.mix()
	c.held = 0
	return c.chain[:c.size], nil
}

// Finish takes the last part and appends the tag.
func (c *ChainedMAC) Finish(dst, part []byte) ([]byte, error) {
	tag, err := c.sum(part)
	return append(dst, tag...), err
}

// Verify takes the last part and compares the tag.
func (c *ChainedMAC) Verify(part, signature []byte) error {
	return VerifyTag(c.size, signature, func() ([]byte, error) { return c.sum(part) })
}

// VerifyTag compares a signature with the tag of size bytes that sum makes, in constant time.
func VerifyTag(size int, signature []byte, sum func() ([]byte, error)) error {
	if len(signature) != size {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a tag of %d bytes, want %d", len(signature), size)
	}
	tag, err := sum()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(tag, signature) != 1 {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

// Close wipes the state.
func (c *ChainedMAC) Close() {
	clear(c.rest[:])
	clear(c.chain[:])
	clear(c.keys[0][:])
	clear(c.keys[1][:])
	c.held = 0
	c.block = nil
}

// double multiplies by x in GF(2^64) or GF(2^128), in constant time (SP 800-38B, 5.3 and 6.1).
func double(b []byte) {
	carry := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ carry*pick(len(b) == 8, byte(0x1b), 0x87)
}

// State implements mech.Resumable.
func (c *ChainedMAC) State() ([]byte, error) {
	if c.block == nil {
		return nil, ErrEnded
	}
	return appendHeld(c.finish.form, c.rest[:c.held], c.chain[:c.blockSize]), nil
}

// Resume implements mech.Resumable.
func (c *ChainedMAC) Resume(state []byte) error {
	if err := CheckFresh(c.block == nil, c.held > 0); err != nil {
		return err
	}
	held, chain, err := cutHeld(state, c.finish.form, c.blockSize, c.blockSize)
	if err != nil {
		return err
	}
	var fresh [MaxBlock]byte
	if len(held) == 0 && subtle.ConstantTimeCompare(chain, fresh[:c.blockSize]) != 1 {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a block is missing from the state")
	}
	c.held = copy(c.rest[:], held)
	copy(c.chain[:], chain)
	return nil
}
