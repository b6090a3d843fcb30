// Package aes has the mechanisms over AES keys: the modes of package modes, GCM, GMAC, CCM, XTS, key wrapping and
// derivation by encryption.
//
// The block cipher and GCM are the standard library's; key wrapping (RFC 3394, RFC 5649) and XTS (SP 800-38E) are
// written here over its block cipher. Nothing branches or indexes on secret data.
//
// Parameters are kept, not copied, until their operation ends; whoever made them does not change them meanwhile.
package aes

import (
	"crypto/aes"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var keyTypes = []pkcs11.KeyType{pkcs11.CKK_AES}

// Family is the table of AES.
var Family = mech.Family{
	Name: "aes",
	KeyTypes: []mech.KeyType{
		{Type: pkcs11.CKK_AES, Check: lengths.Check, CheckValue: CheckValue},
		{Type: pkcs11.CKK_AES_XTS, Check: checkXTS, CheckValue: xtsCheckValue},
	},
	Mechanisms: append([]mech.Mechanism{
		{
			Type: pkcs11.CKM_AES_KEY_GEN, KeyTypes: keyTypes, Min: 16, Max: 32,
			Generate: lengths.Generate,
		},
		base.ECB(pkcs11.CKM_AES_ECB),
		base.CBC(pkcs11.CKM_AES_CBC),
		base.CBCPad(pkcs11.CKM_AES_CBC_PAD),
		base.Counter(pkcs11.CKM_AES_CTR),
		base.OFB(pkcs11.CKM_AES_OFB),
		base.CFBBits(pkcs11.CKM_AES_CFB1),
		base.CFB(pkcs11.CKM_AES_CFB8, 1),
		base.CFB(pkcs11.CKM_AES_CFB64, 8),
		base.CFB(pkcs11.CKM_AES_CFB128, 16),
		base.Wrapping(mech.Mechanism{
			Type:    pkcs11.CKM_AES_GCM,
			Encrypt: gcmMode(false), Decrypt: gcmMode(true),
		}, 1, 0),
		keyLength(base.Wrapping(mech.Mechanism{
			Type:    pkcs11.CKM_AES_CCM,
			Encrypt: ccmMode(false), Decrypt: ccmMode(true),
		}, 1, 0)),
		base.Row(modes.MACRow(pkcs11.CKM_AES_GMAC, newGMAC)),
		base.CTS(pkcs11.CKM_AES_CTS),
		base.Wrapping(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP, OnePart: true, Filled: true,
			Encrypt: wrapMode(formKW, false), Decrypt: wrapMode(formKW, true),
		}, semiblock, 2*semiblock),
		// The standard has deprecated CKM_AES_KEY_WRAP_PAD because some take it for KWP and some for PKCS7. Here, as in
		// most of them, it is KWP. SoftHSM2 2.6 fills keys with zeros to whole semiblocks before it wraps them so.
		base.Wrapping(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_PAD, OnePart: true, Filled: true,
			Encrypt: wrapMode(formKWP, false), Decrypt: wrapMode(formKWP, true),
		}, 1, 0),
		base.Wrapping(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_KWP, OnePart: true,
			Encrypt: wrapMode(formKWP, false), Decrypt: wrapMode(formKWP, true),
		}, 1, 0),
		base.Wrapping(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_PKCS7, OnePart: true,
			Encrypt: wrapMode(formPKCS7, false), Decrypt: wrapMode(formPKCS7, true),
		}, 1, 0),
		base.MAC(pkcs11.CKM_AES_MAC),
		base.MACGeneral(pkcs11.CKM_AES_MAC_GENERAL),
		base.CMAC(pkcs11.CKM_AES_CMAC),
		base.CMACGeneral(pkcs11.CKM_AES_CMAC_GENERAL),
		base.XCBC(pkcs11.CKM_AES_XCBC_MAC, aes.BlockSize, aes.NewCipher),
		base.XCBC(pkcs11.CKM_AES_XCBC_MAC_96, 12, aes.NewCipher),
		base.EncryptECBData(pkcs11.CKM_AES_ECB_ENCRYPT_DATA),
		base.EncryptCBCData(pkcs11.CKM_AES_CBC_ENCRYPT_DATA, cbcData),
	}, append(xtsRows, cloudRows...)...),
}

func gcmMode(decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := modes.StructParam[pkcs11.GCMParams](param)
		if err != nil {
			return nil, err
		}
		return newGCM(k, p, decrypt)
	}
}

func wrapMode(form wrapForm, decrypt bool) modes.Constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) { return newKeyWrap(k, param, form, decrypt) }
}

func cbcData(param any) (iv, data []byte, err error) {
	p, err := modes.StructParam[pkcs11.AESCBCEncryptDataParams](param)
	if err != nil {
		return nil, nil, err
	}
	return p.IV[:], p.Data, nil
}
