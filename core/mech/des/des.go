// Package des has the mechanisms over DES keys of one, two and three lengths. All rows are legacy: DES has fallen to search
// long ago, and blocks of 64 bits repeat themselves after some gigabytes.
package des

import (
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the standard's mechanisms name it; policy decides what may be used
	"math/bits"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// kind is a length of key.
type kind struct {
	typ       pkcs11.KeyType
	generator pkcs11.MechanismType
	size      uint
}

var kinds = []kind{
	{pkcs11.CKK_DES, pkcs11.CKM_DES_KEY_GEN, 8},
	{pkcs11.CKK_DES2, pkcs11.CKM_DES2_KEY_GEN, 16},
	{pkcs11.CKK_DES3, pkcs11.CKM_DES3_KEY_GEN, 24},
}

var (
	single = modes.Cipher{KeyTypes: types(0, 1), Min: 8, Max: 8, Size: des.BlockSize, Legacy: true, New: newBlock}
	triple = modes.Cipher{KeyTypes: types(2, 1), Min: 16, Max: 24, Size: des.BlockSize, Legacy: true, New: newBlock}
	either = modes.Cipher{KeyTypes: types(0, 1, 2), Min: 8, Max: 24, Size: des.BlockSize, Legacy: true, New: newBlock}
)

// Family is the table of DES.
var Family = mech.Family{Name: "des", KeyTypes: keyTypes(), Mechanisms: append(generators(),
	single.ECB(pkcs11.CKM_DES_ECB),
	single.CBC(pkcs11.CKM_DES_CBC),
	single.CBCPad(pkcs11.CKM_DES_CBC_PAD),
	single.MAC(pkcs11.CKM_DES_MAC),
	single.MACGeneral(pkcs11.CKM_DES_MAC_GENERAL),
	single.EncryptECBData(pkcs11.CKM_DES_ECB_ENCRYPT_DATA),
	single.EncryptCBCData(pkcs11.CKM_DES_CBC_ENCRYPT_DATA, cbcData),
	triple.ECB(pkcs11.CKM_DES3_ECB),
	triple.CBC(pkcs11.CKM_DES3_CBC),
	triple.CBCPad(pkcs11.CKM_DES3_CBC_PAD),
	triple.MAC(pkcs11.CKM_DES3_MAC),
	triple.MACGeneral(pkcs11.CKM_DES3_MAC_GENERAL),
	triple.CMAC(pkcs11.CKM_DES3_CMAC),
	triple.CMACGeneral(pkcs11.CKM_DES3_CMAC_GENERAL),
	triple.EncryptECBData(pkcs11.CKM_DES3_ECB_ENCRYPT_DATA),
	triple.EncryptCBCData(pkcs11.CKM_DES3_CBC_ENCRYPT_DATA, cbcData),
	either.OFB(pkcs11.CKM_DES_OFB64),
	either.OFBBytes(pkcs11.CKM_DES_OFB8),
	either.CFB(pkcs11.CKM_DES_CFB64, des.BlockSize),
	either.CFB(pkcs11.CKM_DES_CFB8, 1),
)}

func types(which ...int) (list []pkcs11.KeyType) {
	for _, i := range which {
		list = append(list, kinds[i].typ)
	}
	return list
}

func keyTypes() (rows []mech.KeyType) {
	for _, k := range kinds {
		rows = append(rows, mech.KeyType{Type: k.typ, Length: k.size, Check: k.check, CheckValue: checkValue})
	}
	return rows
}

func generators() (rows []mech.Mechanism) {
	for _, k := range kinds {
		rows = append(rows, mech.Mechanism{Type: k.generator, KeyTypes: []pkcs11.KeyType{k.typ}, Min: k.size, Max: k.size, Legacy: true, Generate: k.generate})
	}
	return rows
}

// check sets the parity of a key that comes from outside or was derived.
//
// Deviation: the standard wants an error for a key that is created or unwrapped with wrong parity. Other tokens take it, so
// keys with such parity are about; the bits say nothing.
func (k kind) check(class pkcs11.ObjectClass, t pkcs11.Template) (pkcs11.Template, error) {
	add, err := generic.FixedLength(k.size).Check(class, t)
	if err != nil {
		return nil, err
	}
	return add.Set(pkcs11.CKA_VALUE, odd(t.Bytes(pkcs11.CKA_VALUE))), nil
}

func (k kind) generate(param any, t pkcs11.Template) (pkcs11.Template, error) {
	made, err := generic.FixedLength(k.size).Generate(param, t)
	if err != nil {
		return nil, err
	}
	value := made.Bytes(pkcs11.CKA_VALUE)
	copy(value, odd(value))
	return made, nil
}

// odd returns a copy with odd parity in each byte (FIPS 46-3).
func odd(key []byte) []byte {
	out := make([]byte, len(key))
	for i, b := range key {
		out[i] = b&^1 | byte(bits.OnesCount8(b>>1)+1)&1
	}
	return out
}

// newBlock makes the cipher of any of the lengths; the third part of a double key is its first.
func newBlock(k mech.Key) (cipher.Block, error) {
	return blockOf(k.Bytes(pkcs11.CKA_VALUE))
}

func blockOf(value []byte) (cipher.Block, error) {
	switch len(value) {
	case 8:
		return des.NewCipher(value)
	case 16:
		whole := append(append(make([]byte, 0, 24), value...), value[:8]...)
		defer clear(whole)
		return des.NewTripleDESCipher(whole)
	case 24:
		return des.NewTripleDESCipher(value)
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; a DES key has 8, 16 or 24", len(value))
}

// checkValue is the first three bytes of a block of zeros, encrypted.
func checkValue(key []byte) []byte {
	b, err := blockOf(key)
	if err != nil {
		return nil
	}
	out := make([]byte, des.BlockSize)
	b.Encrypt(out, out)
	clear(out[3:]) // it is not to be there as long as the check value
	return out[:3:3]
}

func cbcData(param any) (iv, data []byte, err error) {
	p, err := modes.StructParam[pkcs11.DESCBCEncryptDataParams](param)
	if err != nil {
		return nil, nil, err
	}
	return p.IV[:], p.Data, nil
}
