package aes

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// CheckValue returns the CKA_CHECK_VALUE of an AES key: the first three bytes of the encryption of a block of zeros.
// Nil if key is no AES key.
func CheckValue(key []byte) []byte {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, aes.BlockSize)
	b.Encrypt(out, out)
	clear(out[3:]) // it is not to be there as long as the check value
	return out[:3:3]
}

// lengths is the rule of AES keys.
var lengths = generic.Lengths{
	Valid:     func(n uint) bool { return n == 16 || n == 24 || n == 32 },
	Generated: 32,
	Text:      "16, 24 or 32",
}

// base is the block cipher that the modes of package modes work on.
var base = modes.Cipher{KeyTypes: keyTypes, Min: 16, Max: 32, Size: aes.BlockSize, New: newBlock}

func newBlock(k mech.Key) (cipher.Block, error) {
	value := k.Bytes(pkcs11.CKA_VALUE)
	b, err := aes.NewCipher(value)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; an AES key has %s", len(value), lengths.Text)
	}
	return b, nil
}
