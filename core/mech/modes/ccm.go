package modes

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math"
)

var errCCM = errors.New("modes: CCM: message authentication failed")

// ccm is counter with CBC-MAC, RFC 3610 and SP 800-38C, as a cipher.AEAD.
type ccm struct {
	block      cipher.Block
	nonce, tag int
}

// NewCCM returns CCM over a block cipher of 16 bytes. nonce is 7 to 13 bytes long, tag 4 to 16 in steps of two; false for
// others. Seal panics with more data than MaxCCM allows.
func NewCCM(block cipher.Block, nonce, tag int) (aead cipher.AEAD, ok bool) {
	if block.BlockSize() != MaxBlock || nonce < 7 || nonce > 13 || tag < 4 || tag > 16 || tag%2 != 0 {
		return nil, false
	}
	return &ccm{block, nonce, tag}, true
}

// MaxCCM is how many bytes CCM seals under a nonce of this length: the rest of the block counts them.
func MaxCCM(nonce int) uint64 {
	counts := 15 - nonce
	if counts >= 8 {
		return math.MaxUint64
	}
	return 1<<(8*counts) - 1
}

func (c *ccm) NonceSize() int { return c.nonce }
func (c *ccm) Overhead() int  { return c.tag }

func (c *ccm) Seal(dst, nonce, plain, aad []byte) []byte {
	c.check(nonce, len(plain))
	dst, out := Extend(dst, len(plain)+c.tag)
	tag := c.mac(nonce, plain, aad)
	c.crypt(nonce, tag[:], out[:len(plain)], plain)
	copy(out[len(plain):], tag[:c.tag])
	return dst
}

func (c *ccm) Open(dst, nonce, sealed, aad []byte) ([]byte, error) {
	n := len(sealed) - c.tag
	if n < 0 || uint64(n) > MaxCCM(c.nonce) {
		return nil, errCCM
	}
	c.check(nonce, n)
	dst, out := Extend(dst, n)
	var got [MaxBlock]byte
	copy(got[:], sealed[n:])
	c.crypt(nonce, got[:], out, sealed[:n])
	tag := c.mac(nonce, out, aad)
	if subtle.ConstantTimeCompare(tag[:c.tag], got[:c.tag]) != 1 {
		clear(out)
		return nil, errCCM
	}
	return dst, nil
}

func (c *ccm) check(nonce []byte, size int) {
	if len(nonce) != c.nonce || uint64(size) > MaxCCM(c.nonce) {
		panic("modes: CCM: a nonce or data of a length that was not agreed on")
	}
}

// crypt runs the key stream: its first block over the tag, the others over the data (RFC 3610, 2.3).
func (c *ccm) crypt(nonce, tag, dst, src []byte) {
	var counter [MaxBlock]byte
	counter[0] = byte(14 - c.nonce)
	copy(counter[1:], nonce)
	// The standard library counts in all 128 bits, but never further than the counter's own go.
	stream := cipher.NewCTR(c.block, counter[:])
	stream.XORKeyStream(tag, tag)
	stream.XORKeyStream(dst, src)
}

// mac is the CBC-MAC over the first block, which has the lengths, the associated data and the message (RFC 3610, 2.2).
func (c *ccm) mac(nonce, plain, aad []byte) (tag [MaxBlock]byte) {
	var first [MaxBlock]byte
	binary.BigEndian.PutUint64(first[8:], uint64(len(plain))) // the nonce goes over what is not needed
	first[0] = byte(14-c.nonce) | byte(c.tag-2)/2<<3
	if len(aad) > 0 {
		first[0] |= 0x40
	}
	copy(first[1:], nonce)
	m := chainer{block: c.block}
	m.write(first[:])
	if len(aad) > 0 {
		m.write(lengthOf(aad))
		m.write(aad)
		m.fill()
	}
	m.write(plain)
	m.fill()
	return m.chain
}

// lengthOf encodes the length of associated data.
func lengthOf(aad []byte) []byte {
	n := uint64(len(aad))
	switch {
	case n < 0xff00:
		return binary.BigEndian.AppendUint16(nil, uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32([]byte{0xff, 0xfe}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{0xff, 0xff}, n)
}

// chainer is a CBC-MAC over blocks of 16 bytes.
type chainer struct {
	block cipher.Block
	held  int // bytes that are in the chain, but not encrypted
	chain [MaxBlock]byte
}

func (c *chainer) write(b []byte) {
	for len(b) > 0 {
		n := min(MaxBlock-c.held, len(b))
		subtle.XORBytes(c.chain[c.held:], c.chain[c.held:c.held+n], b[:n])
		b = b[n:]
		if c.held += n; c.held == MaxBlock {
			c.block.Encrypt(c.chain[:], c.chain[:])
			c.held = 0
		}
	}
}

// fill ends a block that was begun: with zeros, which leave the chain as it is.
func (c *chainer) fill() {
	if c.held > 0 {
		c.block.Encrypt(c.chain[:], c.chain[:])
		c.held = 0
	}
}
