package conformance

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Faults that other modules have had, each as the promise that this one makes.

func big16() *out { return &out{Capacity: 1 << 16} }

// sealed encrypts at once.
func (e *env) sealed(t *testing.T, h session, m *mech, key handle, plain []byte) []byte {
	t.Helper()
	o := big16()
	require.NoError(t, e.EncryptInit(h, m, key))
	require.NoError(t, e.Encrypt(h, plain, o))
	return o.Bytes
}

// decrypted decrypts at once.
func (e *env) decrypted(h session, m *mech, key handle, sealed []byte) ([]byte, error) {
	if err := e.DecryptInit(h, m, key); err != nil {
		return nil, err
	}
	o := big16()
	err := e.Decrypt(h, sealed, o)
	return o.Bytes, err
}

func (e *env) signed(t *testing.T, h session, m *mech, key handle, in []byte) []byte {
	t.Helper()
	o := big16()
	require.NoError(t, e.SignInit(h, m, key))
	require.NoError(t, e.Sign(h, in, o))
	return o.Bytes
}

func (e *env) verified(t *testing.T, h session, m *mech, key handle, in, signature []byte) error {
	t.Helper()
	require.NoError(t, e.VerifyInit(h, m, key))
	return e.Verify(h, in, signature)
}

func TestWrongLengthSignatureEndsTheOperation(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(20)))
		pub, priv := e.ec(t, h, ed25519)
		for _, c := range []struct {
			m         *mech
			pub, priv handle
		}{{&mech{Type: pkcs11.CKM_SHA256_HMAC}, key, key}, {&mech{Type: pkcs11.CKM_EDDSA}, pub, priv}} {
			in := message(40)
			signature := e.signed(t, h, c.m, c.priv, in)
			for n := 0; n <= len(signature)+1; n += 8 {
				if n == len(signature) {
					n++
				}
				require.NoError(t, e.VerifyInit(h, c.m, c.pub))
				rv(t, pkcs11.CKR_SIGNATURE_LEN_RANGE, e.Verify(h, in, append(slices.Clone(signature), 0)[:n]))
				rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Verify(h, in, signature))
			}
			require.NoError(t, e.verified(t, h, c.m, c.pub, in, signature))
		}
	})
}

// TestEveryErrorEndsTheOperation but a short buffer.
func TestEveryErrorEndsTheOperation(t *testing.T) {
	cbc := &mech{Type: pkcs11.CKM_AES_CBC, Params: pkcs11.IV("sixteen bytes iv")}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		require.NoError(t, e.EncryptInit(h, cbc, key))
		require.NoError(t, e.EncryptUpdate(h, message(17), big16()))
		rv(t, pkcs11.CKR_DATA_LEN_RANGE, e.EncryptFinal(h, big16()))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.EncryptFinal(h, big16()))
		require.NoError(t, e.DecryptInit(h, cbc, key))
		rv(t, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, e.Decrypt(h, message(17), big16()))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Decrypt(h, message(16), big16()))
		require.NoError(t, e.EncryptInit(h, cbc, key), "and another one can begin")
		require.NoError(t, e.EncryptUpdate(h, message(16), big16()))
		require.NoError(t, e.EncryptFinal(h, big16()))
	})
}

// TestAResultThatDidNotFitIsNotMixedUp: while a result waits for a larger buffer, other input is out of order.
func TestAResultThatDidNotFitIsNotMixedUp(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		pad := &mech{Type: pkcs11.CKM_AES_CBC_PAD, Params: pkcs11.IV("sixteen bytes iv")}
		one, two := e.sealed(t, h, pad, key, message(20)), e.sealed(t, h, pad, key, message(30))
		require.NoError(t, e.DecryptInit(h, pad, key))
		small := &out{Capacity: 5}
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, e.Decrypt(h, one, small))
		require.Equal(t, 20, small.Length)
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, e.Decrypt(h, two, big16()))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.Decrypt(h, one, big16()))

		require.NoError(t, e.DecryptInit(h, pad, key))
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, e.Decrypt(h, one, &out{}))
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, e.DecryptUpdate(h, two, big16()))
		require.NoError(t, e.DecryptInit(h, pad, key))
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, e.Decrypt(h, one, &out{}))
		exact := &out{Capacity: 20}
		require.NoError(t, e.Decrypt(h, one, exact))
		require.Equal(t, message(20), exact.Bytes)
	})
}

// TestCBCPaddingIsChecked: every padding but the right ones is refused.
func TestCBCPaddingIsChecked(t *testing.T) {
	iv := pkcs11.IV("sixteen bytes iv")
	raw, pad := &mech{Type: pkcs11.CKM_AES_CBC, Params: iv}, &mech{Type: pkcs11.CKM_AES_CBC_PAD, Params: iv}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		for last := range 256 {
			plain := bytes.Repeat([]byte{byte(last)}, 32) // right for 1 to 16
			got, err := e.decrypted(h, pad, key, e.sealed(t, h, raw, key, plain))
			if last >= 1 && last <= 16 {
				require.NoError(t, err)
				require.Equal(t, plain[:32-last], got)
			} else {
				rv(t, pkcs11.CKR_ENCRYPTED_DATA_INVALID, err, last)
			}
			if last > 1 && last <= 16 {
				plain[32-last] ^= 1
				_, err = e.decrypted(h, pad, key, e.sealed(t, h, raw, key, plain))
				rv(t, pkcs11.CKR_ENCRYPTED_DATA_INVALID, err, last)
			}
		}
		for _, n := range []int{0, 1, 15, 17} {
			_, err := e.decrypted(h, pad, key, make([]byte, n))
			rv(t, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, err, n)
		}
	})
}

// TestCTRCounterBitsOutOfRange: 1 to 128, and no more data than the counter has values.
func TestCTRCounterBitsOutOfRange(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		for _, bits := range []uint{0, 129, 256, ^uint(0)} {
			m := &mech{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: bits}}
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.EncryptInit(h, m, key), bits)
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.DecryptInit(h, m, key), bits)
		}
		short := &mech{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 2, CB: [16]byte{15: 1}}}
		e.sealed(t, h, short, key, make([]byte, 48))
		require.NoError(t, e.EncryptInit(h, short, key))
		rv(t, pkcs11.CKR_DATA_LEN_RANGE, e.Encrypt(h, make([]byte, 49), big16()), "the counter would begin again")
	})
}

// TestGCMDecryptAuthenticates before it shows anything, in parts as well.
func TestGCMDecryptAuthenticates(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		gcm := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte("twelve bytes"), AAD: []byte("header"), TagBits: 128}}
		sealed := e.sealed(t, h, gcm, key, message(100))
		for at := 0; at < len(sealed); at += 9 {
			bad := slices.Clone(sealed)
			bad[at] ^= 0x80
			require.NoError(t, e.DecryptInit(h, gcm, key))
			require.Empty(t, inParts(t, bad, []int{50, 60, 6}, func(p []byte, o *out) error { return e.DecryptUpdate(h, p, o) }))
			o := big16()
			rv(t, pkcs11.CKR_ENCRYPTED_DATA_INVALID, e.DecryptFinal(h, o))
			require.Nil(t, o.Bytes)
		}
		other := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte("twelve bytes"), AAD: []byte("Header"), TagBits: 128}}
		_, err := e.decrypted(h, other, key, sealed)
		rv(t, pkcs11.CKR_ENCRYPTED_DATA_INVALID, err)
	})
}

// TestGCMWithIVsOfAnyLength, but none.
func TestGCMWithIVsOfAnyLength(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h)
		for _, n := range []int{1, 7, 8, 11, 12, 13, 16, 17, 60, 128, 256} {
			gcm := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: message(n), TagBits: 128}}
			got, err := e.decrypted(h, gcm, key, e.sealed(t, h, gcm, key, []byte("text")))
			require.NoError(t, err, "%d bytes", n)
			require.Equal(t, "text", string(got))
		}
		none := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{TagBits: 128}}
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.EncryptInit(h, none, key))
		for _, bits := range []uint{0, 1, 8, 127, 129, ^uint(0)} {
			bad := &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: message(12), TagBits: bits}}
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.EncryptInit(h, bad, key), bits)
		}
	})
}

// TestNullPointersWithALength inside a parameter.
func TestNullPointersWithALength(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.needs(t, rawParams)
		h := e.user(t)
		key := e.aes(t, h)
		iv := message(12)
		for name, p := range map[string]rawParameter{
			"AAD":      func(s *cStruct) *cStruct { return s.pointer(iv).ulong(12).ulong(96).ulong(0).ulong(16).ulong(128) },
			"IV":       func(s *cStruct) *cStruct { return s.ulong(0).ulong(12).ulong(96).ulong(0).ulong(0).ulong(128) },
			"wild AAD": func(s *cStruct) *cStruct { return s.pointer(iv).ulong(12).ulong(96).ulong(8).ulong(16).ulong(128) },
			"endless AAD": func(s *cStruct) *cStruct {
				return s.pointer(iv).ulong(12).ulong(96).pointer(iv).ulong(1 << 62).ulong(128)
			},
			"too short":    func(s *cStruct) *cStruct { return s.pointer(iv).ulong(12).ulong(0).ulong(0) },
			"a byte":       func(s *cStruct) *cStruct { return s.array([]byte{1}) },
			"much too big": func(s *cStruct) *cStruct { return s.array(make([]byte, 4096)) },
		} {
			rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_GCM, Params: p}, key), name)
		}
		old := rawParameter(func(s *cStruct) *cStruct { return s.pointer(iv).ulong(12).ulong(0).ulong(0).ulong(128) })
		e.sealed(t, h, &mech{Type: pkcs11.CKM_AES_GCM, Params: old}, key, []byte("the struct without ulIvBits"))
	})
}

// TestLaxPKCS1SignaturesAreRefused: the padding is compared as a whole, so nothing can hide in it.
func TestLaxPKCS1SignaturesAreRefused(t *testing.T) {
	raw, strict := &mech{Type: pkcs11.CKM_RSA_X_509}, &mech{Type: pkcs11.CKM_SHA256_RSA_PKCS}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := newKeySet(e, h).of(t, pkcs11.CKK_RSA)
		in := []byte("signed")
		digest := sha256.Sum256(in)
		info := append(unhex(t, "3031300d060960864801650304020105000420"), digest[:]...)
		noNull := append(unhex(t, "302f300b0609608648016503040201"+"0420"), digest[:]...)
		block := func(padding int, tail ...byte) []byte {
			b := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, padding)...)
			b = append(b, 0)
			return append(b, tail...)
		}
		right := block(256-3-len(info), info...)
		require.NoError(t, e.verified(t, h, strict, key.pub, in, e.signed(t, h, raw, key.priv, right)))
		garbage := append(block(8, info...), message(256-11-len(info))...)
		gap := slices.Clone(right)
		gap[100] = 0xfe
		type2 := slices.Clone(right)
		type2[1] = 2
		for name, b := range map[string][]byte{
			"garbage after the hash": garbage, "a gap in the padding": gap, "block type 2": type2,
			"no NULL": block(256-3-len(noNull), noNull...), "the bare hash": block(256-3-32, digest[:]...),
		} {
			require.Len(t, b, 256, name)
			rv(t, pkcs11.CKR_SIGNATURE_INVALID, e.verified(t, h, strict, key.pub, in, e.signed(t, h, raw, key.priv, b)), name)
		}
	})
}

// TestShorterECDSASignatureVerifies: SunPKCS11 leaves leading zeros out.
func TestShorterECDSASignatureVerifies(t *testing.T) {
	ecdsa := &mech{Type: pkcs11.CKM_ECDSA_SHA512}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		pub, priv := e.ec(t, h, p521)
		in := message(50)
		for range 200 { // one in four has a zero before both halves
			sig := e.signed(t, h, ecdsa, priv, in)
			require.Len(t, sig, 132)
			r, s := new(big.Int).SetBytes(sig[:66]), new(big.Int).SetBytes(sig[66:])
			if r.BitLen() > 520 || s.BitLen() > 520 {
				continue
			}
			short := append(r.FillBytes(make([]byte, 65)), s.FillBytes(make([]byte, 65))...)
			require.NoError(t, e.verified(t, h, ecdsa, pub, in, short))
			rv(t, pkcs11.CKR_SIGNATURE_LEN_RANGE, e.verified(t, h, ecdsa, pub, in, short[:129]), "an odd length")
			rv(t, pkcs11.CKR_SIGNATURE_INVALID, e.verified(t, h, ecdsa, pub, in, make([]byte, 132)), "r and s of zero")
			return
		}
		t.Fatal("200 signatures without a short one")
	})
}
