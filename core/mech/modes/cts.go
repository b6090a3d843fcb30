package modes

import (
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// CTS is a row of CBC with ciphertext stealing, of the three variants in the addendum to SP 800-38A the first, CBC-CS1: the
// cut block comes before the last one, and whole blocks are plain CBC. Parts are gathered, for the end decides how the last
// two blocks are made.
func (c *Cipher) CTS(t pkcs11.MechanismType) mech.Mechanism {
	way := func(decrypt bool) Constructor {
		return func(k mech.Key, param any) (mech.Cipher, error) {
			iv, err := IVParam(param, c.Size)
			if err != nil {
				return nil, err
			}
			b, err := c.Block(k)
			if err != nil {
				return nil, err
			}
			return NewStealing(decrypt, c.Size, func(dst, src []byte) { stealCBC(b, iv, decrypt, dst, src) }), nil
		}
	}
	return c.Wrapping(mech.Mechanism{Type: t, Encrypt: way(false), Decrypt: way(true)}, 1, c.Size)
}

// Stealing is one operation of a mode with ciphertext stealing, or of another that wants its input whole and whose output is
// as long.
type Stealing struct {
	Gather
	least int
	most  int
	crypt func(dst, src []byte)
}

// NewStealing begins an operation over data of at least least bytes; crypt does it.
func NewStealing(decrypt bool, least int, crypt func(dst, src []byte)) *Stealing {
	s := &Stealing{least: least, crypt: crypt}
	s.Excess = pick(decrypt, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_LEN_RANGE)
	return s
}

// AtMost bounds the data, in bytes.
func (s *Stealing) AtMost(n int) *Stealing {
	s.most = n
	return s
}

// FinishLen is all that was taken.
func (s *Stealing) FinishLen(n int) (int, bool) { return s.Len() + n, true }

// Shape gives all at the end.
func (s *Stealing) Shape() mech.Shape { return mech.Shape{Align: 1, Exact: true} }

// Finish runs the mode.
func (s *Stealing) Finish(dst, src []byte) ([]byte, error) {
	in, err := s.All(src)
	if err != nil {
		return nil, err
	}
	if len(in) < s.least || s.most > 0 && len(in) > s.most {
		return nil, pkcs11.Errorf(s.Excess, "%d bytes, less than %d or more than %d (0: no limit)", len(in), s.least, s.most)
	}
	dst, out := Extend(dst, len(in))
	s.crypt(out, in)
	return dst, nil
}

// stealCBC is CBC-CS1.
func stealCBC(b cipher.Block, iv []byte, decrypt bool, dst, src []byte) {
	size := b.BlockSize()
	over := len(src) % size
	if over == 0 {
		pick(decrypt, cipher.NewCBCDecrypter, cipher.NewCBCEncrypter)(b, iv).CryptBlocks(dst, src)
		return
	}
	body := len(src) - size - over // what comes before the two blocks that share
	var last [2 * MaxBlock]byte
	both := last[:2*size]
	defer clear(both)
	if !decrypt {
		mode := cipher.NewCBCEncrypter(b, iv)
		mode.CryptBlocks(dst[:body], src[:body])
		copy(both, src[body:])
		mode.CryptBlocks(both, both)
		copy(dst[body:], both[:over])
		copy(dst[body+over:], both[size:])
		return
	}
	mode := cipher.NewCBCDecrypter(b, iv)
	mode.CryptBlocks(dst[:body], src[:body])
	// The end of the cut block was left out, because the last block holds it.
	b.Decrypt(both[:size], src[body+over:])
	copy(both, src[body:body+over])
	copy(both[size:], src[body+over:])
	mode.CryptBlocks(both, both)
	copy(dst[body:], both)
}
