package aes

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestCloudHSMWrapsAreTheStandards: NO_PAD and ZERO_PAD give what RFC 3394 and RFC 5649 print. PKCS5_PAD, of which no vector
// is published, gives what RFC 3394 makes of the padded key; the padding is the one of RFC 8018, 6.1.1.
func TestCloudHSMWrapsAreTheStandards(t *testing.T) {
	same := func(typ pkcs11.MechanismType, kek, plain, wrapped []byte) {
		t.Helper()
		row, k := rowOf(t, typ), mechtest.Secret(pkcs11.CKK_AES, kek)
		if got, err := row.Wrap(k, nil, plain); err != nil || !bytes.Equal(got, wrapped) {
			t.Errorf("%v wrap: %x, error %v, want %x", typ, got, err, wrapped)
		}
		if got, err := row.Unwrap(k, nil, wrapped); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%v unwrap: %x, error %v, want %x", typ, got, err, plain)
		}
	}
	for _, v := range mechtest.Vectors(t, "testdata/keywrap.txt", 4) {
		kek, plain, wrapped := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3)
		if v[0] == "KWP" {
			same(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, kek, plain, wrapped)
			continue
		}
		same(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, kek, plain, wrapped)
		for n := 8; n <= len(plain); n++ {
			fill := 8 - n%8
			padded := append(bytes.Clone(plain[:n]), bytes.Repeat([]byte{byte(fill)}, fill)...)
			want, err := run(t, rowOf(t, pkcs11.CKM_AES_KEY_WRAP).Encrypt, mechtest.Secret(pkcs11.CKK_AES, kek), nil, padded)
			if err != nil {
				t.Fatal(err)
			}
			same(pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, kek, plain[:n], want)
		}
	}
}

// TestCloudHSMGCMVectors decrypts published ciphertexts with their IVs before them, and lets CKM_AES_GCM decrypt what
// CKM_CLOUDHSM_AES_GCM has encrypted.
func TestCloudHSMGCMVectors(t *testing.T) {
	row, plainRow := rowOf(t, pkcs11.CKM_CLOUDHSM_AES_GCM), rowOf(t, pkcs11.CKM_AES_GCM)
	tried := 0
	for _, v := range mechtest.Vectors(t, "testdata/gcm.txt", 5) {
		k := mechtest.Secret(pkcs11.CKK_AES, v.Hex(t, 0))
		iv, aad, plain, sealed := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3), v.Hex(t, 4)
		if len(iv) != gcmNonce {
			continue
		}
		tried++
		p := &pkcs11.GCMParams{AAD: aad, TagBits: 128}
		if got, err := run(t, row.Decrypt, k, p, append(iv, sealed...)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("decrypt: %x, error %v, want %x", got, err, plain)
		}
		got, err := run(t, row.Encrypt, k, p, plain)
		if err != nil || len(got) != gcmNonce+len(sealed) {
			t.Fatalf("encrypt: %d bytes, error %v, want %d", len(got), err, gcmNonce+len(sealed))
		}
		apart := &pkcs11.GCMParams{IV: got[:gcmNonce], AAD: aad, TagBits: 128}
		if back, err := run(t, plainRow.Decrypt, k, apart, got[gcmNonce:]); err != nil || !bytes.Equal(back, plain) {
			t.Errorf("CKM_AES_GCM decrypts to %x, error %v, want %x", back, err, plain)
		}
	}
	if tried < 5 {
		t.Errorf("%d vectors have an IV of 96 bits", tried)
	}
}

// TestCloudHSMGCMNeverRepeatsAnIV, neither between operations nor after one that was begun and given up.
func TestCloudHSMGCMNeverRepeatsAnIV(t *testing.T) {
	row, seen := rowOf(t, pkcs11.CKM_CLOUDHSM_AES_GCM), map[string]bool{}
	k, p := testKey(32), &pkcs11.GCMParams{TagBits: 128}
	for range 1000 {
		given, err := row.Encrypt(k, p)
		if err != nil {
			t.Fatal(err)
		}
		given.Close()
		out, err := run(t, row.Encrypt, k, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(out[:gcmNonce])] = true
	}
	if len(seen) != 1000 || len(p.IV) != 0 {
		t.Errorf("%d different IVs in 1000 operations; the parameter's is now %x", len(seen), p.IV)
	}
}

// TestCloudHSMGCMTakesNoIV, nor a tag that CKM_AES_GCM does not take.
func TestCloudHSMGCMTakesNoIV(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_CLOUDHSM_AES_GCM)
	for _, p := range []*pkcs11.GCMParams{{IV: make([]byte, 12), TagBits: 128}, {IV: []byte("1"), TagBits: 128}, {TagBits: 8}, {}} {
		for _, create := range []func() error{
			func() error { _, err := row.Encrypt(testKey(16), p); return err },
			func() error { _, err := row.Decrypt(testKey(16), p); return err },
		} {
			if rv := pkcs11.RVOf(create()); rv != pkcs11.CKR_MECHANISM_PARAM_INVALID {
				t.Errorf("%+v: %v, want CKR_MECHANISM_PARAM_INVALID", p, rv)
			}
		}
	}
}
