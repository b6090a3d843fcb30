// Package old has ciphers that nobody should choose any more: Blowfish, CAST-128, Twofish and RC4. All rows are legacy. The
// block ciphers are golang.org/x/crypto's; their tables are indexed with secrets, which can show in the time that they take.
package old

import (
	"crypto/cipher"
	"crypto/rc4" //nolint:gosec // the standard's mechanisms name it; policy decides what may be used

	"golang.org/x/crypto/blowfish" //nolint:staticcheck // as RC4
	"golang.org/x/crypto/cast5"    //nolint:gosec,staticcheck // as RC4
	"golang.org/x/crypto/twofish"  //nolint:staticcheck // as RC4

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// old is a cipher and its keys.
type old struct {
	typ       pkcs11.KeyType
	generator pkcs11.MechanismType
	lengths   generic.Lengths
	min       uint
}

var (
	theBlowfish = old{pkcs11.CKK_BLOWFISH, pkcs11.CKM_BLOWFISH_KEY_GEN,
		generic.Lengths{Valid: func(n uint) bool { return n >= 1 && n <= 56 }, Generated: 56, Text: "1 to 56"}, 1}
	theTwofish = old{pkcs11.CKK_TWOFISH, pkcs11.CKM_TWOFISH_KEY_GEN,
		generic.Lengths{Valid: func(n uint) bool { return n == 16 || n == 24 || n == 32 }, Generated: 32, Text: "16, 24 or 32"}, 16}
	theRC4 = old{pkcs11.CKK_RC4, pkcs11.CKM_RC4_KEY_GEN,
		generic.Lengths{Valid: func(n uint) bool { return n >= 1 && n <= 256 }, Generated: 256, Text: "1 to 256"}, 1}
	// Deviation: the standard has keys of 1 to 16 bytes; the library has the full length only.
	theCAST = old{pkcs11.CKK_CAST128, pkcs11.CKM_CAST128_KEY_GEN,
		generic.Lengths{Valid: func(n uint) bool { return n == 16 }, Generated: 16, Text: "16"}, 16}

	blowfishes = theBlowfish.cipher(blowfish.BlockSize, func(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) })
	twofishes  = theTwofish.cipher(twofish.BlockSize, func(key []byte) (cipher.Block, error) { return twofish.NewCipher(key) })
	casts      = theCAST.cipher(cast5.BlockSize, func(key []byte) (cipher.Block, error) { return cast5.NewCipher(key) })
)

// Family is the table of old ciphers.
var Family = mech.Family{
	Name:     "old",
	KeyTypes: []mech.KeyType{theBlowfish.keyType(), theTwofish.keyType(), theCAST.keyType(), theRC4.keyType()},
	Mechanisms: []mech.Mechanism{
		theBlowfish.keyGen(),
		blowfishes.CBC(pkcs11.CKM_BLOWFISH_CBC),
		blowfishes.CBCPad(pkcs11.CKM_BLOWFISH_CBC_PAD),
		theTwofish.keyGen(),
		twofishes.CBC(pkcs11.CKM_TWOFISH_CBC),
		twofishes.CBCPad(pkcs11.CKM_TWOFISH_CBC_PAD),
		theCAST.keyGen(),
		casts.ECB(pkcs11.CKM_CAST128_ECB),
		casts.CBC(pkcs11.CKM_CAST128_CBC),
		casts.CBCPad(pkcs11.CKM_CAST128_CBC_PAD),
		casts.MAC(pkcs11.CKM_CAST128_MAC),
		casts.MACGeneral(pkcs11.CKM_CAST128_MAC_GENERAL),
		theRC4.keyGen(),
		{
			// The standard counts bits for RC4. Parts are gathered: RC4 of the standard library does not go on elsewhere.
			Type: pkcs11.CKM_RC4, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_RC4}, Min: 8, Max: 2048, Legacy: true,
			Encrypt: rc4Mode(false), Decrypt: rc4Mode(true),
		},
	},
}

func (o old) keyType() mech.KeyType {
	return mech.KeyType{Type: o.typ, Check: o.lengths.Check, CheckValue: generic.CheckValue}
}

func (o old) keyGen() mech.Mechanism {
	return mech.Mechanism{Type: o.generator, KeyTypes: []pkcs11.KeyType{o.typ}, Min: o.min, Max: o.lengths.Generated, Legacy: true, Generate: o.lengths.Generate}
}

func (o old) value(k mech.Key) ([]byte, error) {
	value := k.Bytes(pkcs11.CKA_VALUE)
	if !o.lengths.Valid(uint(len(value))) {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; such a key has %s", len(value), o.lengths.Text)
	}
	return value, nil
}

func (o old) cipher(size int, create func(key []byte) (cipher.Block, error)) *modes.Cipher {
	return &modes.Cipher{
		KeyTypes: []pkcs11.KeyType{o.typ}, Min: o.min, Max: o.lengths.Generated, Size: size, Legacy: true,
		New: func(k mech.Key) (cipher.Block, error) {
			value, err := o.value(k)
			if err != nil {
				return nil, err
			}
			return create(value)
		},
	}
}

func rc4Mode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		if err := modes.NoParam(param); err != nil {
			return nil, err
		}
		value, err := theRC4.value(k)
		if err != nil {
			return nil, err
		}
		c, err := rc4.NewCipher(value) //nolint:gosec // see above
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%w", err)
		}
		return modes.NewStealing(decrypt, 0, c.XORKeyStream), nil
	}
}
