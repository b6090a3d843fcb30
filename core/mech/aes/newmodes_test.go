package aes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// macOf signs in one part, and sees to it that the verification agrees.
func macOf(t *testing.T, typ pkcs11.MechanismType, k mech.Key, param any, message []byte) []byte {
	t.Helper()
	row := rowOf(t, typ)
	signer, err := row.Sign(k, param)
	require.NoError(t, err)
	defer signer.Close()
	tag, err := signer.Finish(nil, message)
	require.NoError(t, err)
	verifier, err := row.Verify(k, param)
	require.NoError(t, err)
	defer verifier.Close()
	require.NoError(t, verifier.Verify(message, tag))
	return tag
}

func TestXCBCVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/xcbc.txt", 3) {
		k, message, tag := mechtest.Secret(pkcs11.CKK_AES, v.Hex(t, 0)), v.Hex(t, 1), v.Hex(t, 2)
		require.Equal(t, tag, macOf(t, pkcs11.CKM_AES_XCBC_MAC, k, nil, message))
		require.Equal(t, tag[:12], macOf(t, pkcs11.CKM_AES_XCBC_MAC_96, k, nil, message))
	}
	for _, n := range []int{24, 32} {
		_, err := rowOf(t, pkcs11.CKM_AES_XCBC_MAC).Sign(testKey(n), nil)
		require.Equal(t, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.RVOf(err), "RFC 3566 knows keys of 128 bits only")
	}
}

// TestMACIsTheLastBlock of CBC with a zero IV. SP 800-38A's examples have another IV, which is the same as a first block
// that differs by it.
func TestMACIsTheLastBlock(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/sp800-38a.txt", 5) {
		if v[0] != "CBC" {
			continue
		}
		k, iv, plain, sealed := mechtest.Secret(pkcs11.CKK_AES, v.Hex(t, 1)), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		subtle.XORBytes(plain, plain, iv)
		for n := 16; n <= len(plain); n += 16 {
			last := sealed[n-16 : n]
			require.Equal(t, last[:8], macOf(t, pkcs11.CKM_AES_MAC, k, nil, plain[:n]))
			for _, size := range []int{1, 7, 16} {
				require.Equal(t, last[:size], macOf(t, pkcs11.CKM_AES_MAC_GENERAL, k, pkcs11.MACGeneralParams(size), plain[:n]))
			}
		}
		// Zeros fill the last block (FIPS 113), and there is always one (ISO/IEC 9797-1, padding method 1).
		whole := pkcs11.MACGeneralParams(16)
		for n := range 17 {
			padded := make([]byte, 16)
			copy(padded, plain[:n])
			require.Equal(t, macOf(t, pkcs11.CKM_AES_MAC_GENERAL, k, whole, padded), macOf(t, pkcs11.CKM_AES_MAC_GENERAL, k, whole, plain[:n]))
		}
	}
}

// TestCFB64 compares with the definition, SP 800-38A, 6.3, for no standards body has vectors of this segment for AES.
func TestCFB64(t *testing.T) {
	key := testKey(24)
	block, err := aes.NewCipher(key.Bytes(pkcs11.CKA_VALUE))
	require.NoError(t, err)
	iv, plain := []byte("initialisation16"), bytes.Repeat([]byte("cipher feedback "), 4)
	var sealed []byte
	for register, in := bytes.Clone(iv), plain; len(in) > 0; in = in[8:] {
		out := make([]byte, 16)
		block.Encrypt(out, register)
		subtle.XORBytes(out[:8], out[:8], in[:8])
		sealed = append(sealed, out[:8]...)
		register = append(register[8:], out[:8]...)
	}
	for n := range len(plain) + 1 {
		bothWays(t, pkcs11.CKM_AES_CFB64, key.Bytes(pkcs11.CKA_VALUE), pkcs11.IV(iv), plain[:n], sealed[:n])
	}
}

func TestCCMVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/ccm.txt", 5) {
		key, nonce, aad, plain, sealed := v.Hex(t, 0), v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		p := &pkcs11.CCMParams{DataLen: uint(len(plain)), Nonce: nonce, AAD: aad, MACLen: uint(len(sealed) - len(plain))}
		bothWays(t, pkcs11.CKM_AES_CCM, key, p, plain, sealed)
	}
	// SP 800-38C, appendix C, example 4.
	counted := make([]byte, 256)
	for i := range counted {
		counted[i] = byte(i)
	}
	sealed, err := hex.DecodeString("69915dad1e84c6376a68c2967e4dab615ae0fd1faec44cc484828529463ccf72b4ac6bec93e8598e7f0dadbcea5b")
	require.NoError(t, err)
	p := &pkcs11.CCMParams{DataLen: 32, Nonce: counted[0x10:0x1d], AAD: bytes.Repeat(counted, 256), MACLen: 14}
	bothWays(t, pkcs11.CKM_AES_CCM, counted[0x40:0x50], p, counted[0x20:0x40], sealed)
}

// TestCCMHoldsToWhatWasAnnounced: the length in the parameter is part of what is authenticated.
func TestCCMHoldsToWhatWasAnnounced(t *testing.T) {
	row, k := rowOf(t, pkcs11.CKM_AES_CCM), testKey(16)
	param := func(n uint) any { return &pkcs11.CCMParams{DataLen: n, Nonce: make([]byte, 13), MACLen: 8} }
	sealed, err := run(t, row.Encrypt, k, param(20), make([]byte, 20))
	require.NoError(t, err)
	for _, n := range []uint{0, 19, 21} {
		_, err := run(t, row.Encrypt, k, param(n), make([]byte, 20))
		require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
		_, err = run(t, row.Decrypt, k, param(n), sealed)
		require.Equal(t, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.RVOf(err))
	}
	_, err = row.Encrypt(k, param(1<<16))
	require.Equal(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.RVOf(err), "two bytes do not count so far")
	mechtest.Run(t, mechtest.Case{Row: row, Key: k, Params: []any{param(0)}, Takes: exactly(0), WrapTakes: atLeast(0), Authentic: true})
}

func TestCTSVectors(t *testing.T) {
	key, iv := []byte("chicken teriyaki"), pkcs11.IV(make([]byte, 16))
	for _, v := range mechtest.Vectors(t, "testdata/cts.txt", 2) {
		plain, swapped := v.Hex(t, 0), v.Hex(t, 1)
		body := (len(plain) - 17) / 16 * 16 // before the last two blocks, of which the second may be cut
		sealed := append(append(bytes.Clone(swapped[:body]), swapped[body+16:]...), swapped[body:body+16]...)
		bothWays(t, pkcs11.CKM_AES_CTS, key, iv, plain, sealed)
	}
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	for n := 16; n <= 64; n += 16 {
		plain, sealed := bytes.Repeat([]byte("x"), n), make([]byte, n)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, plain)
		bothWays(t, pkcs11.CKM_AES_CTS, key, iv, plain, sealed)
	}
}

func TestXTSVectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_AES_XTS)
	for _, v := range mechtest.Vectors(t, "testdata/xts.txt", 4) {
		k, unit, plain, sealed := mechtest.Secret(pkcs11.CKK_AES_XTS, v.Hex(t, 0)), pkcs11.IV(v.Hex(t, 1)), v.Hex(t, 2), v.Hex(t, 3)
		got, err := run(t, row.Encrypt, k, unit, plain)
		require.NoError(t, err)
		require.Equal(t, sealed, got)
		got, err = run(t, row.Decrypt, k, unit, sealed)
		require.NoError(t, err)
		require.Equal(t, plain, got)
	}
}

func TestXTSKeys(t *testing.T) {
	check := func(value []byte) error {
		_, err := checkXTS(pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)})
		return err
	}
	for _, n := range []int{16, 32} {
		half := bytes.Repeat([]byte{7}, n)
		twice := append(bytes.Clone(half), half...)
		require.Equal(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.RVOf(check(twice)))
		_, err := rowOf(t, pkcs11.CKM_AES_XTS).Encrypt(mechtest.Secret(pkcs11.CKK_AES_XTS, twice), pkcs11.IV(make([]byte, 16)))
		require.Equal(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.RVOf(err))
		twice[0]++
		require.NoError(t, check(twice))
		require.Equal(t, CheckValue(twice[:n]), xtsCheckValue(twice))
	}
	require.Equal(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.RVOf(check(make([]byte, 48))))
}

// TestXTSDataUnit: SP 800-38E bounds it to 2^20 blocks.
func TestXTSDataUnit(t *testing.T) {
	row, k := rowOf(t, pkcs11.CKM_AES_XTS), keyFor(rowOf(t, pkcs11.CKM_AES_XTS), 16)
	_, err := run(t, row.Encrypt, k, pkcs11.IV(make([]byte, 16)), make([]byte, xtsMax+1))
	require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
	_, err = run(t, row.Encrypt, k, pkcs11.IV(make([]byte, 16)), make([]byte, xtsMax))
	require.NoError(t, err)
}

// TestGMACVector is NIST's CAVP gcmEncryptExtIV128: no plaintext, 128 bits of associated data; and GMAC is GCM's tag.
func TestGMACVector(t *testing.T) {
	text := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	k := mechtest.Secret(pkcs11.CKK_AES, text("77be63708971c4e240d1cb79e8d77feb"))
	p := &pkcs11.GCMParams{IV: text("e0e00f19fed7ba0136a797f3"), TagBits: 128}
	require.Equal(t, text("209fcc8d3675ed938e9c7166709dd946"), macOf(t, pkcs11.CKM_AES_GMAC, k, p, text("7a43ec1d9c0a5a78a0b16533a6213cab")))

	message := bytes.Repeat([]byte("what GMAC signs"), 5)
	for _, p := range cases[pkcs11.CKM_AES_GMAC].Params {
		p := *p.(*pkcs11.GCMParams)
		tag := macOf(t, pkcs11.CKM_AES_GMAC, testKey(32), &p, message)
		p.AAD = message
		want, err := run(t, rowOf(t, pkcs11.CKM_AES_GCM).Encrypt, testKey(32), &p, nil)
		require.NoError(t, err)
		require.Equal(t, want, tag)
		_, err = rowOf(t, pkcs11.CKM_AES_GMAC).Sign(testKey(32), &p)
		require.Equal(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.RVOf(err), "associated data")
	}
	signer, err := rowOf(t, pkcs11.CKM_AES_GMAC).Sign(k, p)
	require.NoError(t, err)
	defer signer.Close()
	require.NoError(t, signer.Update(make([]byte, modes.MaxGathered)))
	require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(signer.Update([]byte{1})))
}
