package modes

import (
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// EncryptECBData is a row of key derivation by encryption of data in ECB mode.
func (c *Cipher) EncryptECBData(t pkcs11.MechanismType) mech.Mechanism {
	return c.Row(mech.Mechanism{Type: t, Derive: func(k mech.Key, param any, size int) ([]byte, error) {
		p, err := StructParam[pkcs11.KeyDerivationString](param)
		if err != nil {
			return nil, err
		}
		b, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		return encryptData(&ecb{block: b}, p.Data, size)
	}})
}

// EncryptCBCData is a row of key derivation by encryption of data in CBC mode. read takes the parameter apart: an IV of a
// block, and the data.
func (c *Cipher) EncryptCBCData(t pkcs11.MechanismType, read func(param any) (iv, data []byte, err error)) mech.Mechanism {
	return c.Row(mech.Mechanism{Type: t, Derive: func(k mech.Key, param any, size int) ([]byte, error) {
		iv, data, err := read(param)
		if err != nil {
			return nil, err
		}
		b, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		return encryptData(cipher.NewCBCEncrypter(b, iv), data, size)
	}})
}

// encryptData returns the first size bytes of the encrypted data, all of them for size 0 (PKCS#11 v3.2, key derivation by
// data encryption: what is left over is cut off at the end).
func encryptData(mode cipher.BlockMode, data []byte, size int) ([]byte, error) {
	if unit := mode.BlockSize(); len(data) == 0 || len(data)%unit != 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes of data are no whole number of blocks of %d", len(data), unit)
	}
	if size == 0 {
		size = len(data)
	}
	if size < 0 || size > len(data) {
		return nil, pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "a key of %d bytes from %d bytes of data", size, len(data))
	}
	out := make([]byte, len(data))
	mode.CryptBlocks(out, data)
	clear(out[size:])
	return out[:size:size], nil
}
