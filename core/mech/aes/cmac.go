package aes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// cmac is one operation of CMAC, SP 800-38B. It is Signer and Verifier.
type cmac struct {
	block cipher.Block // nil once the operation has ended
	size  int          // of the tag
	held  int          // bytes in rest: the last block is treated apart, so a full one is held back
	rest  [aes.BlockSize]byte
	chain [aes.BlockSize]byte
}

func (c *cmac) Size() int { return c.size }

func (c *cmac) Update(part []byte) error {
	for len(part) > 0 {
		if c.held == aes.BlockSize {
			c.mix()
			c.held = 0
		}
		n := copy(c.rest[c.held:], part)
		c.held += n
		part = part[n:]
	}
	return nil
}

// mix takes the block in rest into the chain.
func (c *cmac) mix() {
	subtle.XORBytes(c.chain[:], c.chain[:], c.rest[:])
	c.block.Encrypt(c.chain[:], c.chain[:])
}

// sum returns the tag (SP 800-38B, 6.2). It ends the operation.
func (c *cmac) sum(part []byte) ([]byte, error) {
	if err := c.Update(part); err != nil {
		return nil, err
	}
	subkey := make([]byte, aes.BlockSize)
	c.block.Encrypt(subkey, subkey)
	double(subkey)
	if c.held < aes.BlockSize {
		double(subkey)
		c.rest[c.held] = 0x80
		clear(c.rest[c.held+1:])
	}
	subtle.XORBytes(c.rest[:], c.rest[:], subkey)
	c.mix()
	c.held = 0
	clear(subkey)
	return c.chain[:c.size], nil
}

func (c *cmac) Finish(dst, part []byte) ([]byte, error) {
	tag, err := c.sum(part)
	return append(dst, tag...), err
}

func (c *cmac) Verify(part, signature []byte) error {
	if len(signature) != c.size {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a tag of %d bytes, want %d", len(signature), c.size)
	}
	tag, err := c.sum(part)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(tag, signature) != 1 {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func (c *cmac) Close() {
	clear(c.rest[:])
	clear(c.chain[:])
	c.held = 0
	c.block = nil
}

// double multiplies by x in GF(2^128), in constant time (SP 800-38B, 6.1).
func double(b []byte) {
	carry := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ carry*0x87
}
