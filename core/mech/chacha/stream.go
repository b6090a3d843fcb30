package chacha

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
	"slices"

	"golang.org/x/crypto/chacha20"
	salsa20 "golang.org/x/crypto/salsa20/salsa"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const blockSize = 64

// The forms of states (modes.AppendCount).
const (
	stateChaCha = 0x41
	stateSalsa  = 0x42
)

// keyStream XORs to src, from its beginning, the key stream from a block on. The block's number does not wrap around before
// the end of src.
type keyStream func(dst, src []byte, block uint64)

// stream is one operation of a stream cipher with a block counter. It is Resumable: the state says how many bytes are
// processed.
type stream struct {
	xor   keyStream // nil once the operation has ended
	key   [keySize]byte
	form  byte
	first uint64 // block
	done  uint64 // bytes
	left  uint64 // bytes until the counter overflows; no limit that matters if MaxUint64
}

// newStream begins with block first of those that a counter of some bits has.
func newStream(form byte, key *[keySize]byte, first uint64, bits uint) *stream {
	s := &stream{key: *key, form: form, first: first, left: math.MaxUint64}
	blocks := -first // all that are left of 2^64; 0 is all of them
	if bits < 64 {
		blocks = 1<<bits - first
	}
	if blocks != 0 && blocks <= math.MaxUint64/blockSize {
		s.left = blocks * blockSize
	}
	return s
}

func (s *stream) UpdateLen(n int) int         { return n }
func (s *stream) FinishLen(n int) (int, bool) { return n, true }
func (s *stream) Shape() mech.Shape           { return modes.Stream }

func (s *stream) Update(dst, src []byte) ([]byte, error) {
	if uint64(len(src)) > s.left {
		return nil, pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "%d bytes, but the counter overflows after %d", len(src), s.left)
	}
	dst, out := modes.Extend(dst, len(src))
	n := len(src)
	if over := s.done % blockSize; over != 0 {
		var block [blockSize]byte
		s.xor(block[:], block[:], s.block())
		n := subtle.XORBytes(out, src, block[over:])
		clear(block[:])
		out, src = out[n:], src[n:]
		s.done += uint64(n)
	}
	if len(src) > 0 {
		s.xor(out, src, s.block())
		s.done += uint64(len(src))
	}
	if s.left != math.MaxUint64 {
		s.left -= uint64(n)
	}
	return dst, nil
}

func (s *stream) block() uint64 { return s.first + s.done/blockSize }

func (s *stream) Finish(dst, src []byte) ([]byte, error) { return s.Update(dst, src) }

func (s *stream) Close() {
	clear(s.key[:])
	s.xor = nil
}

// State implements mech.Resumable.
func (s *stream) State() ([]byte, error) {
	if s.xor == nil {
		return nil, modes.ErrEnded
	}
	return modes.AppendCount(s.form, s.done), nil
}

// Resume implements mech.Resumable.
func (s *stream) Resume(state []byte) error {
	if err := modes.CheckFresh(s.xor == nil, s.done > 0); err != nil {
		return err
	}
	done, err := modes.CutCount(state, s.form, s.left)
	if err != nil {
		return err
	}
	s.done = done
	if s.left != math.MaxUint64 {
		s.left -= done
	}
	return nil
}

// counterOf reads a block counter, whose lowest byte comes first.
func counterOf(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:])
}

// newChaCha reads CK_CHACHA20_PARAMS. The nonce says which variant it is (PKCS#11 v3.2, ChaCha20): 8 bytes the original, 12
// RFC 8439, 24 XChaCha20. Where blocks are counted in 64 bits, the first may be given in 32.
func newChaCha(k mech.Key, param any) (mech.Cipher, error) {
	p, err := modes.StructParam[pkcs11.ChaCha20Params](param)
	if err != nil {
		return nil, err
	}
	bits := uint(64)
	if len(p.Nonce) == chacha20.NonceSize {
		bits = 32
	}
	if !slices.Contains([]int{8, chacha20.NonceSize, chacha20.NonceSizeX}, len(p.Nonce)) ||
		len(p.BlockCounter) != 4 && (len(p.BlockCounter) != 8 || bits == 32) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID,
			"a nonce of %d bytes and a block counter of %d; want 8 or 24 and 4 or 8, or 12 and 4", len(p.Nonce), len(p.BlockCounter))
	}
	key, err := keyOf(k)
	if err != nil {
		return nil, err
	}
	s := newStream(stateChaCha, key, counterOf(p.BlockCounter), bits)
	nonce := p.Nonce
	if len(nonce) == chacha20.NonceSizeX {
		sub, err := chacha20.HChaCha20(key[:], nonce[:16])
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "HChaCha20: %w", err)
		}
		copy(s.key[:], sub)
		clear(sub)
		nonce = nonce[16:]
	}
	s.xor = func(dst, src []byte, block uint64) { s.chacha(nonce, dst, src, block) }
	return s, nil
}

// chacha is a key stream. The library counts blocks in 32 bits; the upper half of a counter of 64 bits is, in the original
// layout, where RFC 8439 has the beginning of its nonce.
func (s *stream) chacha(nonce, dst, src []byte, block uint64) {
	var full [chacha20.NonceSize]byte
	copy(full[chacha20.NonceSize-len(nonce):], nonce)
	for len(src) > 0 {
		if len(nonce) == 8 {
			binary.LittleEndian.PutUint32(full[:], uint32(block>>32))
		}
		c, err := chacha20.NewUnauthenticatedCipher(s.key[:], full[:])
		if err != nil {
			panic(err) // both lengths are right
		}
		c.SetCounter(uint32(block))
		n := uint64(len(src))
		if room := (1<<32 - block&math.MaxUint32) * blockSize; n > room {
			n = room
		}
		c.XORKeyStream(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
		block += n / blockSize
	}
}

// newSalsa reads CK_SALSA20_PARAMS: a nonce of 8 bytes, or of 24 for XSalsa20.
func newSalsa(k mech.Key, param any) (mech.Cipher, error) {
	p, err := modes.StructParam[pkcs11.Salsa20Params](param)
	if err != nil {
		return nil, err
	}
	if len(p.Nonce) != 8 && len(p.Nonce) != 24 || len(p.BlockCounter) != 8 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a nonce of %d bytes and a block counter of %d; want 8 or 24, and 8",
			len(p.Nonce), len(p.BlockCounter))
	}
	key, err := keyOf(k)
	if err != nil {
		return nil, err
	}
	s := newStream(stateSalsa, key, counterOf(p.BlockCounter), 64)
	nonce := p.Nonce
	if len(nonce) == 24 {
		salsa20.HSalsa20(&s.key, (*[16]byte)(nonce), key, &salsa20.Sigma)
		nonce = nonce[16:]
	}
	s.xor = func(dst, src []byte, block uint64) {
		var counter [16]byte
		binary.LittleEndian.PutUint64(counter[copy(counter[:], nonce):], block)
		salsa20.XORKeyStream(dst, src, &counter, &s.key)
	}
	return s, nil
}
