package selftest

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

type mechanisms = []pkcs11.MechanismType

// modeOf holds a mode to an answer of key, IV (or none), text and ciphertext.
func modeOf(m pkcs11.MechanismType, t pkcs11.KeyType) func(b *bench) error {
	return func(b *bench) error {
		var param any
		if iv := b.field(1); len(iv) > 0 {
			param = pkcs11.IV(iv)
		}
		return b.crypt(m, secretKey(t, b.field(0)), param, b.field(2), b.field(3))
	}
}

// aesTests: modes without an answer of their own have that of the mode that they vary.
var aesTests = []test{
	{"AES-ECB", mechanisms{pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_ECB_ENCRYPT_DATA}, func(b *bench) error {
		return all(modeOf(pkcs11.CKM_AES_ECB, pkcs11.CKK_AES)(b), b.derive(pkcs11.CKM_AES_ECB_ENCRYPT_DATA,
			secretKey(pkcs11.CKK_AES, b.field(0)), &pkcs11.KeyDerivationString{Data: b.field(2)}, 16, b.field(3)[:16]))
	}},
	{"AES-CBC", mechanisms{pkcs11.CKM_AES_CBC, pkcs11.CKM_AES_CBC_PAD, pkcs11.CKM_AES_CBC_ENCRYPT_DATA, pkcs11.CKM_AES_MAC, pkcs11.CKM_AES_MAC_GENERAL},
		func(b *bench) error {
			k := secretKey(pkcs11.CKK_AES, b.field(0))
			padded, err := finish(b.row(pkcs11.CKM_AES_CBC_PAD).Encrypt, k, pkcs11.IV(b.field(1)), b.field(2))
			if err != nil {
				return err
			}
			block := b.field(2)[:16] // of the text, under the IV: a MAC begins with a zero one
			for i, x := range b.field(1) {
				block[i] ^= x
			}
			return all(modeOf(pkcs11.CKM_AES_CBC, pkcs11.CKK_AES)(b),
				same("padded CBC", padded[:len(b.field(3))], b.field(3), nil),
				b.decrypt(pkcs11.CKM_AES_CBC_PAD, k, pkcs11.IV(b.field(1)), b.field(2), padded),
				b.derive(pkcs11.CKM_AES_CBC_ENCRYPT_DATA, k, &pkcs11.AESCBCEncryptDataParams{IV: [16]byte(b.field(1)), Data: b.field(2)}, 16, b.field(3)[:16]),
				b.mac(pkcs11.CKM_AES_MAC, k, nil, block, b.field(3)[:8]),
				b.mac(pkcs11.CKM_AES_MAC_GENERAL, k, pkcs11.MACGeneralParams(16), block, b.field(3)[:16]))
		}},
	{"AES-CTR", mechanisms{pkcs11.CKM_AES_CTR}, func(b *bench) error {
		p := &pkcs11.CTRParams{CounterBits: 128, CB: [16]byte(b.field(1))}
		return b.crypt(pkcs11.CKM_AES_CTR, secretKey(pkcs11.CKK_AES, b.field(0)), p, b.field(2), b.field(3))
	}},
	{"AES-OFB", mechanisms{pkcs11.CKM_AES_OFB}, modeOf(pkcs11.CKM_AES_OFB, pkcs11.CKK_AES)},
	{"AES-CFB1", mechanisms{pkcs11.CKM_AES_CFB1}, modeOf(pkcs11.CKM_AES_CFB1, pkcs11.CKK_AES)},
	{"AES-CFB8", mechanisms{pkcs11.CKM_AES_CFB8, pkcs11.CKM_AES_CFB64}, modeOf(pkcs11.CKM_AES_CFB8, pkcs11.CKK_AES)},
	{"AES-CFB128", mechanisms{pkcs11.CKM_AES_CFB128}, modeOf(pkcs11.CKM_AES_CFB128, pkcs11.CKK_AES)},
	{"AES-GCM", mechanisms{pkcs11.CKM_AES_GCM, pkcs11.CKM_CLOUDHSM_AES_GCM}, func(b *bench) error {
		k, p := secretKey(pkcs11.CKK_AES, b.field(0)), &pkcs11.GCMParams{IV: b.field(1), AAD: b.field(2), TagBits: 128}
		return all(b.crypt(pkcs11.CKM_AES_GCM, k, p, b.field(3), b.field(4)), b.prepended(k))
	}},
	{"AES-GMAC", mechanisms{pkcs11.CKM_AES_GMAC}, func(b *bench) error {
		return b.mac(pkcs11.CKM_AES_GMAC, secretKey(pkcs11.CKK_AES, b.field(0)), &pkcs11.GCMParams{IV: b.field(1), TagBits: 128}, b.field(2), b.field(3))
	}},
	{"AES-CCM", mechanisms{pkcs11.CKM_AES_CCM}, func(b *bench) error {
		p := &pkcs11.CCMParams{DataLen: uint(len(b.field(3))), Nonce: b.field(1), AAD: b.field(2), MACLen: uint(len(b.field(4)) - len(b.field(3)))}
		return b.crypt(pkcs11.CKM_AES_CCM, secretKey(pkcs11.CKK_AES, b.field(0)), p, b.field(3), b.field(4))
	}},
	{"AES-KW", mechanisms{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP_PKCS7, pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD,
		pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD}, wraps(pkcs11.CKM_AES_KEY_WRAP)},
	{"AES-KWP", mechanisms{pkcs11.CKM_AES_KEY_WRAP_KWP, pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_RSA_AES_KEY_WRAP,
		pkcs11.CKM_ECDH_AES_KEY_WRAP, pkcs11.CKM_ECDH_COF_AES_KEY_WRAP, pkcs11.CKM_ECDH_X_AES_KEY_WRAP,
		pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD}, wraps(pkcs11.CKM_AES_KEY_WRAP_KWP)},
	{"AES-CMAC", mechanisms{pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_CMAC_GENERAL}, func(b *bench) error {
		k := secretKey(pkcs11.CKK_AES, b.field(0))
		return all(b.mac(pkcs11.CKM_AES_CMAC, k, nil, b.field(1), b.field(2)),
			b.mac(pkcs11.CKM_AES_CMAC_GENERAL, k, pkcs11.MACGeneralParams(12), b.field(1), b.field(2)[:12]))
	}},
	{"AES-XCBC", mechanisms{pkcs11.CKM_AES_XCBC_MAC, pkcs11.CKM_AES_XCBC_MAC_96}, func(b *bench) error {
		k := secretKey(pkcs11.CKK_AES, b.field(0))
		return all(b.mac(pkcs11.CKM_AES_XCBC_MAC, k, nil, b.field(1), b.field(2)),
			b.mac(pkcs11.CKM_AES_XCBC_MAC_96, k, nil, b.field(1), b.field(2)[:12]))
	}},
	{"AES-CTS", mechanisms{pkcs11.CKM_AES_CTS}, func(b *bench) error {
		swapped := b.field(1) // RFC 3962 swaps the last two blocks; these are all there is
		sealed := append(swapped[16:], swapped[:16]...)
		return b.crypt(pkcs11.CKM_AES_CTS, secretKey(pkcs11.CKK_AES, []byte("chicken teriyaki")), pkcs11.IV(make([]byte, 16)), b.field(0), sealed)
	}},
	{"AES-XTS", mechanisms{pkcs11.CKM_AES_XTS}, modeOf(pkcs11.CKM_AES_XTS, pkcs11.CKK_AES_XTS)},
}

// prepended tests GCM with an IV that the token draws: the answer with its IV before it decrypts, and so does a ciphertext
// of one's own.
func (b *bench) prepended(k mech.Key) error {
	const typ = pkcs11.CKM_CLOUDHSM_AES_GCM
	p := &pkcs11.GCMParams{AAD: b.field(2), TagBits: 128}
	if err := b.decrypt(typ, k, p, b.field(3), append(b.field(1), b.field(4)...)); err != nil {
		return err
	}
	sealed, err := finish(b.row(typ).Encrypt, k, p, b.field(3))
	if err != nil {
		return err
	}
	return b.decrypt(typ, k, p, b.field(3), sealed)
}

func wraps(m pkcs11.MechanismType) func(b *bench) error {
	return func(b *bench) error {
		k := secretKey(pkcs11.CKK_AES, b.field(0))
		wrapped, err := b.row(m).Wrap(k, nil, b.field(1))
		if err := same("wrapping", wrapped, b.field(2), err); err != nil {
			return err
		}
		plain, err := b.row(m).Unwrap(k, nil, wrapped)
		return same("unwrapping", plain, b.field(1), err)
	}
}
