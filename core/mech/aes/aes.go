// Package aes has the mechanisms over AES keys: block modes, counter mode, GCM, CMAC, key wrapping and derivation by
// encryption.
//
// The block cipher and GCM are the standard library's; key wrapping (RFC 3394, RFC 5649) and CMAC (SP 800-38B) are
// written here over its block cipher. Nothing branches or indexes on secret data.
//
// Parameters are kept, not copied, until their operation ends; whoever made them does not change them meanwhile.
package aes

import (
	"crypto/aes"
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/spare"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var keyTypes = []pkcs11.KeyType{pkcs11.CKK_AES}

// Family is the table of AES.
var Family = mech.Family{
	Name:     "aes",
	KeyTypes: []mech.KeyType{{Type: pkcs11.CKK_AES, Check: lengths.Check, CheckValue: CheckValue}},
	Mechanisms: []mech.Mechanism{
		{
			Type: pkcs11.CKM_AES_KEY_GEN, KeyTypes: keyTypes, Min: 16, Max: 32,
			Generate: lengths.Generate,
		},
		row(mech.Mechanism{
			Type:    pkcs11.CKM_AES_ECB,
			Encrypt: blockMode(newECB, false, false), Decrypt: blockMode(newECB, false, true),
		}, zeroFill, 0),
		row(mech.Mechanism{
			Type:    pkcs11.CKM_AES_CBC,
			Encrypt: blockMode(newCBC, false, false), Decrypt: blockMode(newCBC, false, true),
		}, zeroFill, 0),
		row(mech.Mechanism{
			Type:    pkcs11.CKM_AES_CBC_PAD,
			Encrypt: blockMode(newCBC, true, false), Decrypt: blockMode(newCBC, true, true),
		}, 1, 0),
		{
			// Not for keys: whoever flips a bit of the wrapped key flips it in the key.
			Type: pkcs11.CKM_AES_CTR, KeyTypes: keyTypes, Min: 16, Max: 32,
			Encrypt: ctrMode, Decrypt: ctrMode,
		},
		row(mech.Mechanism{
			Type:    pkcs11.CKM_AES_GCM,
			Encrypt: gcmMode(false), Decrypt: gcmMode(true),
		}, 1, 0),
		row(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP, OnePart: true,
			Encrypt: wrapMode(formKW, false), Decrypt: wrapMode(formKW, true),
		}, semiblock, 2*semiblock),
		// The standard has deprecated CKM_AES_KEY_WRAP_PAD because some take it for KWP and some for PKCS7. Here, as in
		// most of them, it is KWP.
		row(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_PAD, OnePart: true,
			Encrypt: wrapMode(formKWP, false), Decrypt: wrapMode(formKWP, true),
		}, 1, 0),
		row(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_KWP, OnePart: true,
			Encrypt: wrapMode(formKWP, false), Decrypt: wrapMode(formKWP, true),
		}, 1, 0),
		row(mech.Mechanism{
			Type: pkcs11.CKM_AES_KEY_WRAP_PKCS7, OnePart: true,
			Encrypt: wrapMode(formPKCS7, false), Decrypt: wrapMode(formPKCS7, true),
		}, 1, 0),
		macRow(pkcs11.CKM_AES_CMAC, func(param any) (int, error) { return aes.BlockSize, noParam(param) }),
		macRow(pkcs11.CKM_AES_CMAC_GENERAL, func(param any) (int, error) { return macSize(param, aes.BlockSize) }),
		{
			Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, KeyTypes: keyTypes, Min: 16, Max: 32,
			Derive: deriveECB,
		},
		{
			Type: pkcs11.CKM_AES_CBC_ENCRYPT_DATA, KeyTypes: keyTypes, Min: 16, Max: 32,
			Derive: deriveCBC,
		},
	},
}

// row adds what all ciphers that also wrap have in common. Keys are filled with zeros to a multiple of unit and to at
// least least bytes before they are wrapped.
func row(m mech.Mechanism, unit, least int) mech.Mechanism {
	m.KeyTypes, m.Min, m.Max = keyTypes, 16, 32
	m.Wrap = wrapWith(m.Encrypt, unit, least)
	m.Unwrap = unwrapWith(m.Decrypt)
	m.SecretOnly = unit > 1
	return m
}

// newMode makes the mode of one operation; decrypt says which way. The second result keeps a chained mode, whose parameter
// is an IV, when the operation has ended; it is nil for a mode without a chain.
type newMode func(k *expanded, param any, decrypt bool) (cipher.BlockMode, *spare.Set[chained], error)

func blockMode(create newMode, pad, decrypt bool) constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		x, err := keyExpanded(k)
		if err != nil {
			return nil, err
		}
		mode, from, err := create(x, param, decrypt)
		if err != nil {
			return nil, err
		}
		b := &blocks{mode: mode, from: from, pad: pad, decrypt: decrypt}
		if from != nil {
			copy(b.last[:], param.(pkcs11.IV)) // create has checked it
		}
		return b, nil
	}
}

func pick[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

// newECB needs no mode of its own: it has no state.
func newECB(k *expanded, param any, decrypt bool) (cipher.BlockMode, *spare.Set[chained], error) {
	return pick(decrypt, &k.ecb.decrypt, &k.ecb.encrypt), nil, noParam(param)
}

func newCBC(k *expanded, param any, decrypt bool) (cipher.BlockMode, *spare.Set[chained], error) {
	iv, err := ivParam(param, aes.BlockSize)
	if err != nil {
		return nil, nil, err
	}
	from := pick(decrypt, &k.cbc.decrypt, &k.cbc.encrypt)
	if mode := from.Take(); mode != nil {
		mode.SetIV(iv)
		return mode, from, nil
	}
	return newChained(pick(decrypt, cipher.NewCBCDecrypter, cipher.NewCBCEncrypter), k.block, iv), from, nil
}

func ctrMode(k mech.Key, param any) (mech.Cipher, error) {
	p, err := structParam[pkcs11.CTRParams](param)
	if err != nil {
		return nil, err
	}
	b, err := keyBlock(k)
	if err != nil {
		return nil, err
	}
	return newCounter(b, p)
}

func gcmMode(decrypt bool) constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) {
		p, err := structParam[pkcs11.GCMParams](param)
		if err != nil {
			return nil, err
		}
		return newGCM(k, p, decrypt)
	}
}

func wrapMode(form wrapForm, decrypt bool) constructor {
	return func(k mech.Key, param any) (mech.Cipher, error) { return newKeyWrap(k, param, form, decrypt) }
}

// macRow makes a row of CMAC; size reads the tag's length from the parameter.
func macRow(t pkcs11.MechanismType, size func(param any) (int, error)) mech.Mechanism {
	create := func(k mech.Key, param any) (*cmac, error) {
		n, err := size(param)
		if err != nil {
			return nil, err
		}
		b, err := keyBlock(k)
		if err != nil {
			return nil, err
		}
		return &cmac{block: b, size: n}, nil
	}
	return mech.Mechanism{
		Type: t, KeyTypes: keyTypes, Min: 16, Max: 32,
		Sign: func(k mech.Key, param any) (mech.Signer, error) {
			c, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Verify: func(k mech.Key, param any) (mech.Verifier, error) {
			c, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	}
}

func deriveECB(k mech.Key, param any, size int) ([]byte, error) {
	p, err := structParam[pkcs11.KeyDerivationString](param)
	if err != nil {
		return nil, err
	}
	b, err := keyBlock(k)
	if err != nil {
		return nil, err
	}
	return derive(&ecb{block: b}, p.Data, size)
}

func deriveCBC(k mech.Key, param any, size int) ([]byte, error) {
	p, err := structParam[pkcs11.AESCBCEncryptDataParams](param)
	if err != nil {
		return nil, err
	}
	b, err := keyBlock(k)
	if err != nil {
		return nil, err
	}
	return derive(cipher.NewCBCEncrypter(b, p.IV[:]), p.Data, size)
}

// derive returns the first size bytes of the encrypted data, all of them for size 0 (PKCS#11 v3.2, key derivation by
// data encryption: what is left over is cut off at the end).
func derive(mode cipher.BlockMode, data []byte, size int) ([]byte, error) {
	if len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes of data are no whole number of blocks of %d", len(data), aes.BlockSize)
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
