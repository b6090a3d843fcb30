package aes

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// xtsMax is how long a data unit may be, in bytes: SP 800-38E, 4.
const xtsMax = aes.BlockSize << 20

var xtsTypes = []pkcs11.KeyType{pkcs11.CKK_AES_XTS}

// xtsLengths is the rule of the double keys.
var xtsLengths = generic.Lengths{
	Valid:     func(n uint) bool { return n == 32 || n == 64 },
	Generated: 64,
	Text:      "32 or 64",
}

// xtsRows are the mechanisms over double keys. They do not wrap: XTS is for storage, and tells nobody that a bit of the
// ciphertext was flipped.
var xtsRows = []mech.Mechanism{
	{
		Type: pkcs11.CKM_AES_XTS_KEY_GEN, KeyTypes: xtsTypes, Min: 32, Max: 64,
		Generate: xtsLengths.Generate,
	},
	{
		Type: pkcs11.CKM_AES_XTS, KeyTypes: xtsTypes, Min: 32, Max: 64,
		Encrypt: xtsMode(false), Decrypt: xtsMode(true),
	},
}

// checkXTS also refuses a key whose halves are equal, which gives XTS away (FIPS 140-3 IG, C.I).
func checkXTS(class pkcs11.ObjectClass, t pkcs11.Template) (pkcs11.Template, error) {
	add, err := xtsLengths.Check(class, t)
	if err != nil {
		return nil, err
	}
	if value := t.Bytes(pkcs11.CKA_VALUE); equalHalves(value) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "both halves of the XTS key are the same")
	}
	return add, nil
}

func equalHalves(key []byte) bool {
	return subtle.ConstantTimeCompare(key[:len(key)/2], key[len(key)/2:]) == 1
}

// xtsCheckValue is the check value of the half that encrypts the data.
func xtsCheckValue(key []byte) []byte { return CheckValue(key[:len(key)/2]) }

// xtsKey is a double key.
type xtsKey struct{ data, tweak cipher.Block }

func newXTSKey(k mech.Key) (*xtsKey, error) {
	v, err := k.Expanded(mech.SlotMain, func() (any, error) {
		value := k.Bytes(pkcs11.CKA_VALUE)
		if !xtsLengths.Valid(uint(len(value))) {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; an XTS key has %s", len(value), xtsLengths.Text)
		}
		if equalHalves(value) {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "both halves of the XTS key are the same")
		}
		x := &xtsKey{}
		var err error
		if x.data, err = aes.NewCipher(value[:len(value)/2]); err == nil {
			x.tweak, err = aes.NewCipher(value[len(value)/2:])
		}
		return x, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*xtsKey), nil
}

// xtsMode is one data unit, whose number, 16 bytes with the lowest first, is the parameter. Parts of it are gathered.
func xtsMode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		unit, err := modes.IVParam(param, aes.BlockSize)
		if err != nil {
			return nil, err
		}
		x, err := newXTSKey(k)
		if err != nil {
			return nil, err
		}
		crypt := func(dst, src []byte) { x.crypt(unit, decrypt, dst, src) }
		return modes.NewStealing(decrypt, aes.BlockSize, crypt).AtMost(xtsMax), nil
	}
}

// crypt is XTS-AES of IEEE 1619, 5.3 and 5.4, with SP 800-38E.
func (x *xtsKey) crypt(unit []byte, decrypt bool, dst, src []byte) {
	var tweak [aes.BlockSize]byte
	x.tweak.Encrypt(tweak[:], unit)
	over := len(src) % aes.BlockSize
	whole := len(src) - over
	if over > 0 {
		whole -= aes.BlockSize // it shares with the cut one
	}
	for i := 0; i < whole; i += aes.BlockSize {
		x.one(&tweak, decrypt, dst[i:], src[i:])
		nextTweak(&tweak)
	}
	if over == 0 {
		return
	}
	last := tweak // of the cut block; decryption needs it first
	nextTweak(&last)
	first, second := tweak, last
	if decrypt {
		first, second = last, tweak
	}
	var shared [aes.BlockSize]byte
	defer clear(shared[:])
	x.one(&first, decrypt, shared[:], src[whole:])
	copy(dst[whole+aes.BlockSize:], shared[:over])
	copy(shared[:], src[whole+aes.BlockSize:])
	x.one(&second, decrypt, dst[whole:], shared[:])
}

// one is a block under a tweak: dst and src are at least that long.
func (x *xtsKey) one(tweak *[aes.BlockSize]byte, decrypt bool, dst, src []byte) {
	block := dst[:aes.BlockSize]
	subtle.XORBytes(block, src[:aes.BlockSize], tweak[:])
	if decrypt {
		x.data.Decrypt(block, block)
	} else {
		x.data.Encrypt(block, block)
	}
	subtle.XORBytes(block, block, tweak[:])
}

// nextTweak multiplies by x in GF(2^128), in constant time; the lowest byte comes first (IEEE 1619, 5.2).
func nextTweak(t *[aes.BlockSize]byte) {
	low, high := binary.LittleEndian.Uint64(t[:8]), binary.LittleEndian.Uint64(t[8:])
	carry := high >> 63
	binary.LittleEndian.PutUint64(t[8:], high<<1|low>>63)
	binary.LittleEndian.PutUint64(t[:8], low<<1^carry*0x87)
}
