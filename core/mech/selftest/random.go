package selftest

import (
	"bytes"
	"errors"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// randomTests is the one of the generators of secret keys: two keys of one row are not the same.
func randomTests() []test {
	list := mechanisms{pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_XTS_KEY_GEN, pkcs11.CKM_CHACHA20_KEY_GEN,
		pkcs11.CKM_SALSA20_KEY_GEN, pkcs11.CKM_POLY1305_KEY_GEN, pkcs11.CKM_DES_KEY_GEN, pkcs11.CKM_DES2_KEY_GEN, pkcs11.CKM_DES3_KEY_GEN,
		pkcs11.CKM_BLOWFISH_KEY_GEN, pkcs11.CKM_TWOFISH_KEY_GEN, pkcs11.CKM_CAST128_KEY_GEN, pkcs11.CKM_RC4_KEY_GEN, pkcs11.CKM_HKDF_KEY_GEN,
		pkcs11.CKM_SHA512_T_KEY_GEN}
	for _, h := range hashes.All {
		if h.KeyGen != 0 {
			list = append(list, h.KeyGen)
		}
	}
	return []test{{"RANDOM", list, func(b *bench) error {
		for _, typ := range list {
			if b.row(typ) == nil {
				continue
			}
			if err := b.differ(typ); err != nil {
				return err
			}
		}
		return nil
	}}}
}

var errRepeats = errors.New("a generator makes a key that is too short, or the same key again")

// differ makes two keys of a row.
func (b *bench) differ(typ pkcs11.MechanismType) error {
	m := b.row(typ)
	var wish pkcs11.Template
	if b.registry.KeyType(m.KeyTypes[0]).Length == 0 {
		size := uint(16)
		if typ == pkcs11.CKM_AES_XTS_KEY_GEN {
			size = 32
		}
		wish = pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, size)}
	}
	one, err := m.Generate(nil, wish)
	if err != nil {
		return err
	}
	two, err := m.Generate(nil, wish)
	if err != nil {
		return err
	}
	a, c := one.Bytes(pkcs11.CKA_VALUE), two.Bytes(pkcs11.CKA_VALUE)
	if len(a) < 8 || len(a) != len(c) || bytes.Equal(a, c) {
		return errRepeats
	}
	return nil
}
