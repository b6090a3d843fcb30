package aes

import (
	"crypto/cipher"
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	gcmTag   = 16
	gcmNonce = 12
	gcmMax   = (1<<32 - 2) * 16 // bytes of plaintext: SP 800-38D, 5.2.1.1
)

// gcm is one operation of Galois/counter mode, SP 800-38D. The tag follows the ciphertext.
type gcm struct {
	modes.Gather
	aead    cipher.AEAD // with tags of 16 bytes
	iv, aad []byte
	tag     int
	decrypt bool
}

// checkGCM checks CK_GCM_PARAMS. The IV may have any length but 0; IVBits says nothing that the IV does not. Tags are those
// of SP 800-38D, 5.2.1.2.
//
// Deviation: the standard also allows tags of other lengths down to 0 bits. They protect nothing and are refused.
func checkGCM(p *pkcs11.GCMParams) error {
	if len(p.IV) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "an empty IV")
	}
	return checkTag(p)
}

func checkTag(p *pkcs11.GCMParams) error {
	switch p.TagBits {
	case 32, 64, 96, 104, 112, 120, 128:
		return nil
	}
	return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a tag of %d bits; 32, 64, 96, 104, 112, 120 and 128 are possible", p.TagBits)
}

func newGCM(k mech.Key, p *pkcs11.GCMParams, decrypt bool) (mech.Cipher, error) {
	if err := checkGCM(p); err != nil {
		return nil, err
	}
	g := new(oneGCM)
	if err := g.begin(k, p, len(p.IV), decrypt); err != nil {
		return nil, err
	}
	return g, nil
}

// oneGCM is a gcm that is an operation of its own, no part of one.
type oneGCM struct{ gcm }

// Renew implements mech.Renewer.
func (g *oneGCM) Renew(k mech.Key, param any) error {
	p, err := modes.StructParam[pkcs11.GCMParams](param)
	if err != nil {
		return err
	}
	if err := checkGCM(p); err != nil {
		return err
	}
	return g.begin(k, p, len(p.IV), g.decrypt)
}

// begin starts with a parameter that was checked and an IV of ivLen bytes. g is new or closed.
func (g *gcm) begin(k mech.Key, p *pkcs11.GCMParams, ivLen int, decrypt bool) error {
	aead, err := keyAEAD(k, ivLen)
	if err != nil {
		return err
	}
	g.aead, g.iv, g.aad, g.tag, g.decrypt = aead, p.IV, p.AAD, int(p.TagBits/8), decrypt
	g.Excess = pkcs11.CKR_DATA_LEN_RANGE
	if decrypt {
		g.Excess = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	return nil
}

// Close wipes what was kept, and lets go of the key and the parameter.
func (g *gcm) Close() {
	g.Gather.Close()
	g.aead, g.iv, g.aad = nil, nil, nil
}

// gcmForm is what is kept with a key: the tables of GCM.
type gcmForm struct{ cipher.AEAD }

// keyAEAD returns the key's GCM form, kept with the key for the usual length of IV.
func keyAEAD(k mech.Key, ivLen int) (cipher.AEAD, error) {
	if ivLen != gcmNonce {
		b, err := base.Block(k)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCMWithNonceSize(b, ivLen)
	}
	if form, ok := mech.Kept(k, mech.SlotAEAD).(*gcmForm); ok {
		return form.AEAD, nil
	}
	v, err := k.Expanded(mech.SlotAEAD, func() (any, error) {
		b, err := newBlock(k) // not base.Block: a key need not allow Expanded inside Expanded
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(b)
		return &gcmForm{aead}, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*gcmForm).AEAD, nil
}

// InPlace implements mech.InPlacer. A short tag is checked after the plaintext is there, and would be gone.
func (g *gcm) InPlace() bool { return g.Len() == 0 && (!g.decrypt || g.tag == gcmTag) }

func (g *gcm) FinishLen(n int) (int, bool) {
	total := g.Len() + n
	if g.decrypt {
		return max(total-g.tag, 0), true
	}
	return total + g.tag, true
}

// Shape gives all at the end, longer or shorter by the tag.
func (g *gcm) Shape() mech.Shape {
	if g.decrypt {
		return mech.Shape{Align: 1, Post: -g.tag, Exact: true}
	}
	return mech.Shape{Align: 1, Post: g.tag, Exact: true}
}

func (g *gcm) Finish(dst, src []byte) ([]byte, error) {
	in, err := g.All(src)
	if err != nil {
		return nil, err
	}
	return g.all(dst, in)
}

// all is Finish for the whole input.
func (g *gcm) all(dst, in []byte) (_ []byte, err error) {
	if uint64(len(in)) > gcmMax {
		return nil, g.tooLong(in)
	}
	if !g.decrypt {
		out := g.aead.Seal(dst, g.iv, in, g.aad)
		return out[:len(out)-gcmTag+g.tag], nil
	}
	if len(in) < g.tag {
		return nil, pkcs11.Errorf(g.Excess, "%d bytes, shorter than the tag of %d", len(in), g.tag)
	}
	if g.tag == gcmTag {
		dst, err = g.aead.Open(dst, g.iv, in, g.aad)
	} else {
		dst, err = g.openShort(dst, in)
	}
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ENCRYPTED_DATA_INVALID, "the tag is wrong")
	}
	return dst, nil
}

func (g *gcm) tooLong(in []byte) error {
	return pkcs11.Errorf(g.Excess, "%d bytes, at most %d are safe with one IV", len(in), uint64(gcmMax))
}

// openShort decrypts under a tag shorter than 16 bytes, which the standard library does not do for each length of IV.
// Counter mode is its own inverse, so sealing the ciphertext gives the plaintext, and sealing that gives the whole tag.
func (g *gcm) openShort(dst, sealed []byte) ([]byte, error) {
	n := len(sealed) - g.tag
	start := len(dst)
	dst = g.aead.Seal(dst, g.iv, sealed[:n], g.aad)
	clear(dst[start+n:]) // a tag over the plaintext, which nobody may see
	plain := dst[start : start+n]
	again := g.aead.Seal(nil, g.iv, plain, g.aad)
	if subtle.ConstantTimeCompare(again[n:n+g.tag], sealed[n:]) != 1 {
		clear(plain)
		return nil, ErrIntegrity
	}
	return dst[:start+n], nil
}
