package aes

import (
	"bytes"
	"crypto/aes"
	"errors"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func run(t testing.TB, create modes.Constructor, k mech.Key, param any, in []byte) ([]byte, error) {
	t.Helper()
	op, err := create(k, param)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	return op.Finish(nil, in)
}

// bothWays checks that plain becomes sealed and sealed plain.
func bothWays(t *testing.T, typ pkcs11.MechanismType, key []byte, param any, plain, sealed []byte) {
	t.Helper()
	row, k := rowOf(t, typ), mechtest.Secret(pkcs11.CKK_AES, key)
	if got, err := run(t, row.Encrypt, k, param, plain); err != nil || !bytes.Equal(got, sealed) {
		t.Errorf("%v encrypt: %x, error %v, want %x", typ, got, err, sealed)
	}
	if got, err := run(t, row.Decrypt, k, param, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%v decrypt: %x, error %v, want %x", typ, got, err, plain)
	}
}

func TestModeVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/sp800-38a.txt", 5) {
		key, param, plain, sealed := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		switch v[0] {
		case "ECB":
			bothWays(t, pkcs11.CKM_AES_ECB, key, nil, plain, sealed)
		case "CBC":
			bothWays(t, pkcs11.CKM_AES_CBC, key, pkcs11.IV(param), plain, sealed)
		case "CTR":
			for _, n := range []int{1, 15, 16, 17, 64} {
				bothWays(t, pkcs11.CKM_AES_CTR, key, &pkcs11.CTRParams{CounterBits: 128, CB: [16]byte(param)}, plain[:n], sealed[:n])
			}
		default:
			typ, ok := map[string]pkcs11.MechanismType{"OFB": pkcs11.CKM_AES_OFB, "CFB1": pkcs11.CKM_AES_CFB1,
				"CFB8": pkcs11.CKM_AES_CFB8, "CFB128": pkcs11.CKM_AES_CFB128}[v[0]]
			if !ok {
				t.Fatalf("mode %s", v[0])
			}
			for n := range len(plain) + 1 {
				bothWays(t, typ, key, pkcs11.IV(param), plain[:n], sealed[:n])
			}
		}
	}
}

func TestGCMVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/gcm.txt", 5) {
		key, iv, aad, plain, sealed := v.Hex(t, 0), v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		for _, bits := range []uint{128, 120, 112, 104, 96, 64, 32} {
			p := &pkcs11.GCMParams{IV: iv, IVBits: uint(len(iv)) * 8, AAD: aad, TagBits: bits}
			// SP 800-38D, 7.1, step 6: a short tag is the beginning of the long one.
			bothWays(t, pkcs11.CKM_AES_GCM, key, p, plain, sealed[:len(plain)+int(bits)/8])
		}
	}
}

func TestGCMTagLengths(t *testing.T) {
	for bits := range uint(200) {
		_, err := rowOf(t, pkcs11.CKM_AES_GCM).Encrypt(testKey(16), &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: bits})
		allowed := bits == 32 || bits == 64 || bits >= 96 && bits <= 128 && bits%8 == 0
		if allowed != (err == nil) {
			t.Errorf("tag of %d bits: error %v", bits, err)
		}
	}
}

func TestKeyWrapVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/keywrap.txt", 4) {
		kek, plain, wrapped := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3)
		if v[0] == "KW" {
			bothWays(t, pkcs11.CKM_AES_KEY_WRAP, kek, nil, plain, wrapped)
			bothWays(t, pkcs11.CKM_AES_KEY_WRAP, kek, pkcs11.IV(defaultIV[:]), plain, wrapped)
			continue
		}
		bothWays(t, pkcs11.CKM_AES_KEY_WRAP_KWP, kek, nil, plain, wrapped)
		bothWays(t, pkcs11.CKM_AES_KEY_WRAP_PAD, kek, pkcs11.IV(defaultAIV[:]), plain, wrapped)
		if got, err := WrapKWP(kek, plain); err != nil || !bytes.Equal(got, wrapped) {
			t.Errorf("WrapKWP: %x, error %v, want %x", got, err, wrapped)
		}
		if got, err := UnwrapKWP(kek, wrapped); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("UnwrapKWP: %x, error %v, want %x", got, err, plain)
		}
	}
}

func TestCMACVectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_AES_CMAC)
	for _, v := range mechtest.Vectors(t, "testdata/cmac.txt", 3) {
		k, message, tag := mechtest.Secret(pkcs11.CKK_AES, v.Hex(t, 0)), v.Hex(t, 1), v.Hex(t, 2)
		signer, err := row.Sign(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := signer.Finish(nil, message); err != nil || !bytes.Equal(got, tag) {
			t.Errorf("%d bytes: %x, error %v, want %x", len(message), got, err, tag)
		}
		verifier, err := row.Verify(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(message, tag); err != nil {
			t.Error(err)
		}
	}
}

// TestKWPRefusesForgedLengths wraps what only a broken or hostile peer would: a length that the data does not have, and
// padding that is not zero.
func TestKWPRefusesForgedLengths(t *testing.T) {
	kek := make([]byte, 16)
	b, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{8, 16, 24, 40} {
		for size := -1; size < n+20; size++ {
			for pad := range 2 {
				buf := make([]byte, 8+n)
				copy(buf, defaultAIV[:])
				buf[4], buf[5], buf[6], buf[7] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
				buf[len(buf)-1] = byte(pad)
				if n == 8 {
					b.Encrypt(buf, buf)
				} else {
					shuffle(b, buf)
				}
				got, err := UnwrapKWP(kek, buf)
				valid := size <= n && size > n-8 && (pad == 0 || size == n)
				if valid && (err != nil || len(got) != size) {
					t.Errorf("%d bytes in %d: %d bytes, error %v", size, n, len(got), err)
				} else if !valid && !errors.Is(err, ErrIntegrity) {
					t.Errorf("%d bytes in %d, padding %d: error %v, want ErrIntegrity", size, n, pad, err)
				}
			}
		}
	}
	if _, err := WrapKWP(kek, nil); !errors.Is(err, ErrLength) {
		t.Errorf("empty key: error %v", err)
	}
	if _, err := WrapKWP(kek[:15], kek); err == nil {
		t.Error("a key of 15 bytes wrapped")
	}
}

// TestCBCPadding decrypts every last byte with and without the padding that it announces.
func TestCBCPadding(t *testing.T) {
	k, iv := testKey(16), pkcs11.IV(make([]byte, 16))
	for fill := range 256 {
		for wrong := range 17 { // the position from the end that is spoilt; 0 is none
			block := bytes.Repeat([]byte{byte(fill)}, 32)
			if wrong > 1 {
				block[32-wrong] ^= 0x40
			}
			sealed, err := run(t, rowOf(t, pkcs11.CKM_AES_CBC).Encrypt, k, iv, block)
			if err != nil {
				t.Fatal(err)
			}
			got, err := run(t, rowOf(t, pkcs11.CKM_AES_CBC_PAD).Decrypt, k, iv, sealed)
			valid := fill >= 1 && fill <= 16 && (wrong <= 1 || wrong > fill)
			if valid && (err != nil || len(got) != 32-fill) {
				t.Errorf("padding %d, spoilt %d: %d bytes, error %v", fill, wrong, len(got), err)
			} else if !valid && pkcs11.RVOf(err) != pkcs11.CKR_ENCRYPTED_DATA_INVALID {
				t.Errorf("padding %d, spoilt %d: error %v, want CKR_ENCRYPTED_DATA_INVALID", fill, wrong, err)
			}
		}
	}
}

// TestCounterOverflow follows PKCS#11 v3.2, AES with counter: two counter bits that start as 1 allow three blocks.
func TestCounterOverflow(t *testing.T) {
	ff := [16]byte(bytes.Repeat([]byte{0xff}, 16))
	for _, c := range []struct {
		bits   uint
		cb     [16]byte
		blocks int // that fit; -1 for no limit worth a test
	}{
		{2, [16]byte{15: 1}, 3},
		{1, [16]byte{}, 2},
		{1, ff, 1},
		{8, [16]byte{15: 0xf0}, 16},
		{8, [16]byte{14: 1}, 256},
		{63, ff, 1},
		{64, ff, 1},
		{65, ff, 1},
		{128, ff, 1},
		{64, [16]byte{}, -1},
		{65, [16]byte{}, -1},
		{128, [16]byte{}, -1},
		{72, [16]byte{8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xfe, 7: 0xff}, 2},
		{72, [16]byte{8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xfe, 7: 0xfe}, -1},
	} {
		p := &pkcs11.CTRParams{CounterBits: c.bits, CB: c.cb}
		for _, create := range []modes.Constructor{rowOf(t, pkcs11.CKM_AES_CTR).Encrypt, rowOf(t, pkcs11.CKM_AES_CTR).Decrypt} {
			if c.blocks < 0 {
				if _, err := run(t, create, testKey(16), p, make([]byte, 1<<16)); err != nil {
					t.Errorf("%d bits from %x: %v", c.bits, c.cb, err)
				}
				continue
			}
			n := 16 * c.blocks
			if _, err := run(t, create, testKey(16), p, make([]byte, n)); err != nil {
				t.Errorf("%d bits from %x, %d bytes: %v", c.bits, c.cb, n, err)
			}
			if _, err := run(t, create, testKey(16), p, make([]byte, n+1)); pkcs11.RVOf(err) != pkcs11.CKR_DATA_LEN_RANGE {
				t.Errorf("%d bits from %x, %d bytes: error %v, want CKR_DATA_LEN_RANGE", c.bits, c.cb, n+1, err)
			}
			op, err := create(testKey(16), p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if _, err := op.Update(nil, []byte{0}); err != nil {
					t.Fatalf("%d bits from %x, byte %d: %v", c.bits, c.cb, i, err)
				}
			}
			if _, err := op.Update(nil, []byte{0}); pkcs11.RVOf(err) != pkcs11.CKR_DATA_LEN_RANGE {
				t.Errorf("%d bits from %x, one byte too many: error %v", c.bits, c.cb, err)
			}
		}
	}
}

// TestGCMLimit sees the end of what is kept of a multi-part operation, and that one part may be longer.
func TestGCMLimit(t *testing.T) {
	p := &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}
	op, err := rowOf(t, pkcs11.CKM_AES_GCM).Encrypt(testKey(16), p)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	part := make([]byte, modes.MaxGathered/4)
	for range 4 {
		if _, err := op.Update(nil, part); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := op.Update(nil, part[:1]); pkcs11.RVOf(err) != pkcs11.CKR_DATA_LEN_RANGE {
		t.Errorf("one byte too many: error %v, want CKR_DATA_LEN_RANGE", err)
	}
	if _, err := run(t, rowOf(t, pkcs11.CKM_AES_GCM).Encrypt, testKey(16), p, make([]byte, modes.MaxGathered+1)); err != nil {
		t.Errorf("one part: %v", err)
	}
}

func TestDeriveVectors(t *testing.T) {
	v := mechtest.Vectors(t, "testdata/sp800-38a.txt", 5)
	for _, v := range v {
		key, param, plain, sealed := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		k := mechtest.Secret(pkcs11.CKK_AES, key)
		var got []byte
		var err error
		switch v[0] {
		case "ECB":
			got, err = rowOf(t, pkcs11.CKM_AES_ECB_ENCRYPT_DATA).Derive(k, &pkcs11.KeyDerivationString{Data: plain}, 24)
		case "CBC":
			got, err = rowOf(t, pkcs11.CKM_AES_CBC_ENCRYPT_DATA).Derive(k, &pkcs11.AESCBCEncryptDataParams{IV: [16]byte(param), Data: plain}, 24)
		default:
			continue
		}
		if err != nil || !bytes.Equal(got, sealed[:24]) {
			t.Errorf("%s: %x, error %v", v[0], got, err)
		}
	}
}
