package modes

import (
	"crypto/cipher"
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// OFB is a row of output feedback, SP 800-38A, 6.4. Feedback modes take data of any length and do not wrap keys: whoever
// flips a bit of the wrapped key flips it in the key.
func (c *Cipher) OFB(t pkcs11.MechanismType) mech.Mechanism {
	create := c.feedback(func(b cipher.Block, iv []byte) feedback { return newSegments(b, iv, c.Size, output) })
	return c.Row(mech.Mechanism{Type: t, Encrypt: create, Decrypt: create})
}

// OFBBytes is a row of output feedback of 8 bits, FIPS 81: of each block of output one byte is used and fed back.
func (c *Cipher) OFBBytes(t pkcs11.MechanismType) mech.Mechanism {
	create := c.feedback(func(b cipher.Block, iv []byte) feedback { return newSegments(b, iv, 1, output) })
	return c.Row(mech.Mechanism{Type: t, Encrypt: create, Decrypt: create})
}

// CFB is a row of cipher feedback with segments of some bytes, SP 800-38A, 6.3. What is less than a segment at the end
// takes as much of the key stream as it needs.
func (c *Cipher) CFB(t pkcs11.MechanismType, segment int) mech.Mechanism {
	way := func(feed fed) Constructor {
		return c.feedback(func(b cipher.Block, iv []byte) feedback { return newSegments(b, iv, segment, feed) })
	}
	return c.Row(mech.Mechanism{Type: t, Encrypt: way(ciphertextOut), Decrypt: way(ciphertextIn)})
}

// CFBBits is a row of cipher feedback with segments of one bit, the first of a byte the highest.
func (c *Cipher) CFBBits(t pkcs11.MechanismType) mech.Mechanism {
	way := func(decrypt bool) Constructor {
		return c.feedback(func(b cipher.Block, iv []byte) feedback { return newBits(b, iv, decrypt) })
	}
	return c.Row(mech.Mechanism{Type: t, Encrypt: way(false), Decrypt: way(true)})
}

// feedback is what the modes differ in.
type feedback interface {
	crypt(dst, src []byte)
	form() byte
	// register is what the next block is made of, and held what of the segment is fed back already.
	register() (register, held []byte)
	// restore is the inverse: false for what register cannot have returned.
	restore(register, held []byte) bool
	most() int // bytes held
	wipe()
}

func (c *Cipher) feedback(create func(b cipher.Block, iv []byte) feedback) Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		iv, err := IVParam(param, c.Size)
		if err != nil {
			return nil, err
		}
		b, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		return &fedStream{mode: create(b, iv), size: c.Size}, nil
	}
}

// fedStream is one operation of a feedback mode.
type fedStream struct {
	mode  feedback // nil once the operation has ended
	size  int      // of a block
	begun bool
}

func (s *fedStream) UpdateLen(n int) int         { return n }
func (s *fedStream) FinishLen(n int) (int, bool) { return n, true }

func (s *fedStream) Shape() mech.Shape { return Stream }

// Stream is the shape of a cipher of which as much comes out as goes in.
var Stream = mech.Shape{Block: 1, Align: 1, Exact: true}

func (s *fedStream) Update(dst, src []byte) ([]byte, error) {
	s.begun = s.begun || len(src) > 0
	dst, out := Extend(dst, len(src))
	s.mode.crypt(out, src)
	return dst, nil
}

func (s *fedStream) Finish(dst, src []byte) ([]byte, error) { return s.Update(dst, src) }

func (s *fedStream) Close() {
	if s.mode != nil {
		s.mode.wipe()
	}
	s.mode = nil
}

// State implements mech.Resumable.
func (s *fedStream) State() ([]byte, error) {
	if s.mode == nil {
		return nil, ErrEnded
	}
	register, held := s.mode.register()
	return appendHeld(s.mode.form(), held, register), nil
}

// Resume implements mech.Resumable.
func (s *fedStream) Resume(state []byte) error {
	if err := CheckFresh(s.mode == nil, s.begun); err != nil {
		return err
	}
	held, register, err := cutHeld(state, s.mode.form(), s.mode.most(), s.size)
	if err != nil {
		return err
	}
	if !s.mode.restore(register, held) {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the register is not what the mode gives")
	}
	s.begun = true
	return nil
}

// fed says what goes back into the register.
type fed byte

const (
	output        fed = iota // the key stream
	ciphertextOut            // what was encrypted
	ciphertextIn             // what is decrypted
)

// segments is a mode that feeds back whole bytes.
type segments struct {
	block   cipher.Block
	feed    fed
	segment int // bytes that are fed back at once
	size    int // of a block
	done    int // bytes of the segment that are processed; 0 means that the key stream is still to be made
	reg     [MaxBlock]byte
	stream  [MaxBlock]byte
	back    [MaxBlock]byte // of the segment, what will be fed back
}

func newSegments(b cipher.Block, iv []byte, segment int, feed fed) *segments {
	s := &segments{block: b, feed: feed, segment: segment, size: b.BlockSize()}
	copy(s.reg[:], iv)
	return s
}

func (s *segments) crypt(dst, src []byte) {
	for len(src) > 0 {
		if s.done == 0 {
			s.block.Encrypt(s.stream[:s.size], s.reg[:s.size])
		}
		n := min(s.segment-s.done, len(src))
		// src and dst do not overlap, so what is fed back can be read from either afterwards.
		subtle.XORBytes(dst[:n], src[:n], s.stream[s.done:s.done+n])
		switch s.feed {
		case output:
			copy(s.back[s.done:], s.stream[s.done:s.done+n])
		case ciphertextOut:
			copy(s.back[s.done:], dst[:n])
		case ciphertextIn:
			copy(s.back[s.done:], src[:n])
		}
		dst, src = dst[n:], src[n:]
		if s.done += n; s.done == s.segment {
			copy(s.reg[:], s.reg[s.segment:s.size])
			copy(s.reg[s.size-s.segment:s.size], s.back[:s.segment])
			s.done = 0
		}
	}
}

// form tells the modes, their segments and CFB's directions apart.
func (s *segments) form() byte {
	return map[int]byte{1: stateBytes, 8: stateHalves, 16: stateWhole}[s.segment] | byte(s.feed)<<4
}

func (s *segments) register() (register, held []byte) { return s.reg[:s.size], s.back[:s.done] }

func (s *segments) most() int { return s.segment - 1 }

func (s *segments) restore(register, held []byte) bool {
	if len(held) > 0 {
		s.block.Encrypt(s.stream[:s.size], register)
		if s.feed == output && subtle.ConstantTimeCompare(held, s.stream[:len(held)]) != 1 {
			return false
		}
	}
	copy(s.reg[:], register)
	s.done = copy(s.back[:], held)
	return true
}

func (s *segments) wipe() {
	clear(s.reg[:])
	clear(s.stream[:])
	clear(s.back[:])
	s.done = 0
}

// bitwise feeds back one bit at a time.
type bitwise struct {
	block   cipher.Block
	decrypt bool
	size    int
	reg     [MaxBlock]byte
	stream  [MaxBlock]byte
}

func newBits(b cipher.Block, iv []byte, decrypt bool) *bitwise {
	s := &bitwise{block: b, decrypt: decrypt, size: b.BlockSize()}
	copy(s.reg[:], iv)
	return s
}

func (s *bitwise) crypt(dst, src []byte) {
	for i, in := range src {
		var out byte
		for bit := 7; bit >= 0; bit-- {
			s.block.Encrypt(s.stream[:s.size], s.reg[:s.size])
			from := in >> bit & 1
			to := from ^ s.stream[0]>>7
			out |= to << bit
			s.shift(pick(s.decrypt, from, to))
		}
		dst[i] = out
	}
}

// shift moves the register one bit to the left.
func (s *bitwise) shift(in byte) {
	for i := range s.size - 1 {
		s.reg[i] = s.reg[i]<<1 | s.reg[i+1]>>7
	}
	s.reg[s.size-1] = s.reg[s.size-1]<<1 | in
}

func (s *bitwise) form() byte { return stateBits | pick[byte](s.decrypt, 1<<4, 0) }

func (s *bitwise) register() (register, held []byte) { return s.reg[:s.size], nil }

func (s *bitwise) most() int { return 0 }

func (s *bitwise) restore(register, _ []byte) bool {
	copy(s.reg[:], register)
	return true
}

func (s *bitwise) wipe() {
	clear(s.reg[:])
	clear(s.stream[:])
}
