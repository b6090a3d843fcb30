package selftest

import (
	"crypto/subtle"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// desKey and desIV are those of FIPS 81's examples, whose text is "Now is the time for all ".
func desKey() mech.Key { return secretKey(pkcs11.CKK_DES, []byte("\x01\x23\x45\x67\x89\xab\xcd\xef")) }

func desIV() pkcs11.IV { return pkcs11.IV("\x12\x34\x56\x78\x90\xab\xcd\xef") }

func fips81(m pkcs11.MechanismType, iv bool) func(b *bench) error {
	return func(b *bench) error {
		var param any
		if iv {
			param = desIV()
		}
		return b.crypt(m, desKey(), param, []byte("Now is the time for all "), b.field(0))
	}
}

// oldTests are those of stream ciphers and of block ciphers that are not AES.
var oldTests = []test{
	{"CHACHA20", mechanisms{pkcs11.CKM_CHACHA20}, func(b *bench) error {
		p := &pkcs11.ChaCha20Params{BlockCounter: b.field(0), Nonce: b.field(1)}
		return b.crypt(pkcs11.CKM_CHACHA20, secretKey(pkcs11.CKK_CHACHA20, b.field(2)), p, b.field(3), b.field(4))
	}},
	{"CHACHA20-POLY1305", mechanisms{pkcs11.CKM_CHACHA20_POLY1305}, func(b *bench) error {
		p := &pkcs11.Poly1305Params{Nonce: b.field(1), AAD: b.field(2)}
		return b.crypt(pkcs11.CKM_CHACHA20_POLY1305, secretKey(pkcs11.CKK_CHACHA20, b.field(0)), p, b.field(3), b.field(4))
	}},
	{"POLY1305", mechanisms{pkcs11.CKM_POLY1305}, func(b *bench) error {
		return b.mac(pkcs11.CKM_POLY1305, secretKey(pkcs11.CKK_POLY1305, b.field(0)), nil, b.field(1), b.field(2))
	}},
	{"SALSA20", mechanisms{pkcs11.CKM_SALSA20}, func(b *bench) error {
		const block = 64
		p := &pkcs11.Salsa20Params{BlockCounter: make([]byte, 8), Nonce: b.field(1)}
		stream, err := finish(b.row(pkcs11.CKM_SALSA20).Encrypt, secretKey(pkcs11.CKK_SALSA20, b.field(0)), p, make([]byte, 131072))
		if err != nil {
			return err
		}
		digest := make([]byte, block) // ECRYPT's: all blocks of the key stream, XORed
		for i := 0; i < len(stream); i += block {
			subtle.XORBytes(digest, digest, stream[i:i+block])
		}
		return all(same("the key stream", digest, b.field(2), nil),
			b.decrypt(pkcs11.CKM_SALSA20, secretKey(pkcs11.CKK_SALSA20, b.field(0)), p, stream[:block], make([]byte, block)))
	}},
	{"DES-ECB", mechanisms{pkcs11.CKM_DES_ECB, pkcs11.CKM_DES_ECB_ENCRYPT_DATA}, fips81(pkcs11.CKM_DES_ECB, false)},
	{"DES-CBC", mechanisms{pkcs11.CKM_DES_CBC, pkcs11.CKM_DES_CBC_PAD, pkcs11.CKM_DES_CBC_ENCRYPT_DATA}, fips81(pkcs11.CKM_DES_CBC, true)},
	{"DES-MAC", mechanisms{pkcs11.CKM_DES_MAC, pkcs11.CKM_DES_MAC_GENERAL}, func(b *bench) error {
		message := []byte("7654321 Now is the time for ")
		return all(b.mac(pkcs11.CKM_DES_MAC, desKey(), nil, message, b.field(0)[:4]),
			b.mac(pkcs11.CKM_DES_MAC_GENERAL, desKey(), pkcs11.MACGeneralParams(8), message, b.field(0)))
	}},
	{"DES-OFB64", mechanisms{pkcs11.CKM_DES_OFB64}, fips81(pkcs11.CKM_DES_OFB64, true)},
	{"DES-OFB8", mechanisms{pkcs11.CKM_DES_OFB8}, fips81(pkcs11.CKM_DES_OFB8, true)},
	{"DES-CFB64", mechanisms{pkcs11.CKM_DES_CFB64}, fips81(pkcs11.CKM_DES_CFB64, true)},
	{"DES-CFB8", mechanisms{pkcs11.CKM_DES_CFB8}, fips81(pkcs11.CKM_DES_CFB8, true)},
	{"DES3-ECB", mechanisms{pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA}, modeOf(pkcs11.CKM_DES3_ECB, pkcs11.CKK_DES3)},
	{"DES3-CBC", mechanisms{pkcs11.CKM_DES3_CBC, pkcs11.CKM_DES3_CBC_PAD, pkcs11.CKM_DES3_CBC_ENCRYPT_DATA, pkcs11.CKM_DES3_MAC,
		pkcs11.CKM_DES3_MAC_GENERAL}, modeOf(pkcs11.CKM_DES3_CBC, pkcs11.CKK_DES3)},
	{"DES3-CMAC", mechanisms{pkcs11.CKM_DES3_CMAC, pkcs11.CKM_DES3_CMAC_GENERAL}, func(b *bench) error {
		k := secretKey(pkcs11.CKK_DES3, b.field(0))
		return all(b.mac(pkcs11.CKM_DES3_CMAC, k, nil, b.field(1), b.field(2)),
			b.mac(pkcs11.CKM_DES3_CMAC_GENERAL, k, pkcs11.MACGeneralParams(5), b.field(1), b.field(2)[:5]))
	}},
	{"BF-CBC", mechanisms{pkcs11.CKM_BLOWFISH_CBC, pkcs11.CKM_BLOWFISH_CBC_PAD}, modeOf(pkcs11.CKM_BLOWFISH_CBC, pkcs11.CKK_BLOWFISH)},
	{"CAST-ECB", mechanisms{pkcs11.CKM_CAST128_ECB}, modeOf(pkcs11.CKM_CAST128_ECB, pkcs11.CKK_CAST128)},
	{"CAST-CBC", mechanisms{pkcs11.CKM_CAST128_CBC, pkcs11.CKM_CAST128_CBC_PAD, pkcs11.CKM_CAST128_MAC, pkcs11.CKM_CAST128_MAC_GENERAL},
		func(b *bench) error {
			k := secretKey(pkcs11.CKK_CAST128, b.field(0)) // the text is no whole blocks: what CBC of the first ones gives
			n := len(b.field(2)) / 8 * 8
			return b.crypt(pkcs11.CKM_CAST128_CBC, k, pkcs11.IV(b.field(1)), b.field(2)[:n], b.field(3)[:n])
		}},
	{"TF-CBC", mechanisms{pkcs11.CKM_TWOFISH_CBC, pkcs11.CKM_TWOFISH_CBC_PAD}, modeOf(pkcs11.CKM_TWOFISH_CBC, pkcs11.CKK_TWOFISH)},
	{"RC4", mechanisms{pkcs11.CKM_RC4}, func(b *bench) error {
		return b.crypt(pkcs11.CKM_RC4, secretKey(pkcs11.CKK_RC4, b.field(0)), nil, make([]byte, len(b.field(1))), b.field(1))
	}},
}
