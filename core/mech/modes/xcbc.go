package modes

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// XCBC is a row of XCBC-MAC, RFC 3566, with a tag of size bytes. create makes the block cipher under which the data is
// chained, from the derived key K1; K2 and K3 are for the last block. The cipher's block is as long as its key.
func (c *Cipher) XCBC(t pkcs11.MechanismType, size int, create func(key []byte) (cipher.Block, error)) mech.Mechanism {
	m := c.Row(MACRow(t, func(k mech.Key, param any) (*ChainedMAC, error) {
		if err := NoParam(param); err != nil {
			return nil, err
		}
		if n := len(k.Bytes(pkcs11.CKA_VALUE)); n != c.Size {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key has %d bytes; XCBC-MAC takes one of %d", n, c.Size)
		}
		base, err := c.Block(k)
		if err != nil {
			return nil, err
		}
		mac := &ChainedMAC{blockSize: c.Size, size: size, finish: finisher{stateXCBC, padXCBC}}
		first := bytes.Repeat([]byte{1}, c.Size)
		defer clear(first)
		base.Encrypt(first, first)
		for i := range mac.keys {
			key := mac.keys[i][:c.Size]
			copy(key, bytes.Repeat([]byte{byte(i + 2)}, c.Size))
			base.Encrypt(key, key)
		}
		mac.block, err = create(first)
		if err != nil {
			return nil, err
		}
		return mac, nil
	}))
	m.Min, m.Max = uint(c.Size), uint(c.Size)
	return m
}

// padXCBC is RFC 3566, 4: K2 for a full block, K3 for one that was filled up.
func padXCBC(m *ChainedMAC, rest []byte, held int) {
	key := m.keys[0][:len(rest)]
	if held < len(rest) {
		key = m.keys[1][:len(rest)]
		padOne(rest, held)
	}
	subtle.XORBytes(rest, rest, key)
}
