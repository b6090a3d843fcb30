package aes

import (
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// cloudRows are AWS CloudHSM's mechanisms over AES keys, under its numbers (pkcs11/spec/mechanisms.txt, [vendor]).
var cloudRows = []mech.Mechanism{
	base.Wrapping(mech.Mechanism{
		Type:    pkcs11.CKM_CLOUDHSM_AES_GCM,
		Encrypt: ownIVMode(false), Decrypt: ownIVMode(true),
	}, 1, 0),
	bareWrap(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, formKW),
	bareWrap(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, formPKCS7),
	bareWrap(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, formKWP),
}

// bareWrap is a row that wraps keys and nothing else, without a parameter. Unlike CKM_AES_KEY_WRAP none of them fills a key
// with zeros that would still be there when it is unwrapped.
func bareWrap(typ pkcs11.MechanismType, form wrapForm) mech.Mechanism {
	create := func(decrypt bool) modes.Constructor {
		return func(k mech.Key, param any) (mech.Cipher, error) {
			if err := modes.NoParam(param); err != nil {
				return nil, err
			}
			return newKeyWrap(k, nil, form, decrypt)
		}
	}
	return base.Row(mech.Mechanism{Type: typ, Wrap: modes.WrapWith(create(false), 1, 0), Unwrap: modes.UnwrapWith(create(true))})
}

// ownIV is GCM with an IV of 96 bits that the token draws for each operation (SP 800-38D, 8.2.2), and that stands before
// the ciphertext.
type ownIV struct {
	gcm
	seal cipher.AEAD // draws the IV; nil to decrypt
}

func ownIVMode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := modes.StructParam[pkcs11.GCMParams](param)
		if err != nil {
			return nil, err
		}
		if len(p.IV) > 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "an IV of %d bytes; the token makes it, so none is taken", len(p.IV))
		}
		if err := checkTag(p); err != nil {
			return nil, err
		}
		o := &ownIV{}
		if err := o.begin(k, p, gcmNonce, decrypt); err != nil {
			return nil, err
		}
		if !decrypt {
			b, err := base.Block(k)
			if err != nil {
				return nil, err
			}
			if o.seal, err = cipher.NewGCMWithRandomNonce(b); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
}

// more is how much longer the ciphertext is than the plaintext.
func (o *ownIV) more() int { return gcmNonce + o.tag }

// InPlace implements mech.InPlacer: the IV comes first, so that nothing stays in its place.
func (o *ownIV) InPlace() bool { return false }

func (o *ownIV) FinishLen(n int) (int, bool) {
	if o.decrypt {
		return max(o.Len()+n-o.more(), 0), true
	}
	return o.Len() + n + o.more(), true
}

// Shape gives all at the end, longer or shorter by the IV and the tag.
func (o *ownIV) Shape() mech.Shape {
	if o.decrypt {
		return mech.Shape{Align: 1, Post: -o.more(), Exact: true}
	}
	return mech.Shape{Align: 1, Post: o.more(), Exact: true}
}

func (o *ownIV) Finish(dst, src []byte) ([]byte, error) {
	in, err := o.All(src)
	switch {
	case err != nil:
		return nil, err
	case uint64(len(in)) > gcmMax:
		return nil, o.tooLong(in)
	case !o.decrypt:
		out := o.seal.Seal(dst, nil, in, o.aad)
		return out[:len(out)-gcmTag+o.tag], nil
	case len(in) < o.more():
		return nil, pkcs11.Errorf(o.Excess, "%d bytes, shorter than the IV of %d and the tag of %d", len(in), gcmNonce, o.tag)
	}
	o.iv = in[:gcmNonce]
	return o.all(dst, in[gcmNonce:])
}
