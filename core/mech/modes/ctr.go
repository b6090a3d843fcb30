package modes

import (
	"crypto/cipher"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Counter is a row of counter mode over blocks of 16 bytes: CK_AES_CTR_PARAMS. It does not wrap keys: whoever flips a bit
// of the wrapped key flips it in the key.
func (c *Cipher) Counter(t pkcs11.MechanismType) mech.Mechanism {
	create := func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := StructParam[pkcs11.CTRParams](param)
		if err != nil {
			return nil, err
		}
		b, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		return newCounter(b, p)
	}
	return c.Row(mech.Mechanism{Type: t, Encrypt: create, Decrypt: create})
}

// counter is counter mode. Because data beyond the last value of the counter bits is refused, the counter never carries
// into the nonce and the 128-bit counter of the standard library does.
type counter struct {
	block  cipher.Block // nil once the operation has ended
	param  *pkcs11.CTRParams
	stream cipher.Stream
	done   uint64 // bytes processed
	left   uint64 // bytes that the counter bits still allow; no limit that matters if MaxUint64
}

// newCounter checks CK_AES_CTR_PARAMS.
func newCounter(b cipher.Block, p *pkcs11.CTRParams) (mech.Cipher, error) {
	if p.CounterBits < 1 || p.CounterBits > 128 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d counter bits, not 1 to 128", p.CounterBits)
	}
	return &counter{block: b, param: p, stream: cipher.NewCTR(b, p.CB[:]), left: ctrBytes(p)}, nil
}

// ctrBytes returns how many bytes can be processed before the counter bits overflow (PKCS#11 v3.2, AES with counter:
// the last increment may overflow, but nothing is processed after it), MaxUint64 if that is more.
func ctrBytes(p *pkcs11.CTRParams) uint64 {
	// blocks = 2^CounterBits - counter, as the negative of the counter in so many bits.
	low, borrow := bits.Sub64(0, binary.BigEndian.Uint64(p.CB[8:]), 0)
	high, _ := bits.Sub64(0, binary.BigEndian.Uint64(p.CB[:8]), borrow)
	if p.CounterBits <= 64 {
		high = 0
		low &= math.MaxUint64 >> (64 - p.CounterBits)
	} else {
		high &= math.MaxUint64 >> (128 - p.CounterBits)
	}
	if high == 0 && low == 0 { // a counter of zero has the full range before it
		if p.CounterBits >= 64 {
			return math.MaxUint64
		}
		low = 1 << p.CounterBits
	}
	if high != 0 || low > math.MaxUint64/16 {
		return math.MaxUint64
	}
	return low * 16
}

// InPlace implements mech.InPlacer.
func (c *counter) InPlace() bool { return true }

func (c *counter) UpdateLen(n int) int { return n }

func (c *counter) FinishLen(n int) (int, bool) { return n, true }

func (c *counter) Shape() mech.Shape { return Stream }

func (c *counter) Update(dst, src []byte) ([]byte, error) {
	if uint64(len(src)) > c.left {
		return nil, pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "%d bytes, but the counter overflows after %d", len(src), c.left)
	}
	if c.left != math.MaxUint64 {
		c.left -= uint64(len(src))
	}
	c.done += uint64(len(src))
	dst, out := Extend(dst, len(src))
	c.stream.XORKeyStream(out, src)
	return dst, nil
}

func (c *counter) Finish(dst, src []byte) ([]byte, error) { return c.Update(dst, src) }

func (c *counter) Close() { c.block = nil }

// State implements mech.Resumable.
func (c *counter) State() ([]byte, error) {
	if c.block == nil {
		return nil, ErrEnded
	}
	return AppendCount(stateCTR, c.done), nil
}

// Resume implements mech.Resumable.
func (c *counter) Resume(state []byte) error {
	if err := CheckFresh(c.block == nil, c.done > 0); err != nil {
		return err
	}
	done, err := CutCount(state, stateCTR, c.left)
	if err != nil {
		return err
	}
	start := c.param.CB
	low, carry := bits.Add64(binary.BigEndian.Uint64(start[8:]), done/MaxBlock, 0)
	high, _ := bits.Add64(binary.BigEndian.Uint64(start[:8]), 0, carry)
	binary.BigEndian.PutUint64(start[8:], low)
	binary.BigEndian.PutUint64(start[:8], high)
	c.stream = cipher.NewCTR(c.block, start[:])
	var used [MaxBlock]byte // of the block of key stream that was begun
	c.stream.XORKeyStream(used[:done%MaxBlock], used[:done%MaxBlock])
	clear(used[:])
	c.done = done
	if c.left != math.MaxUint64 {
		c.left -= done
	}
	return nil
}
