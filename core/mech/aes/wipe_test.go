package aes

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestFailedDecryptionLeavesNothing offers the buffer's spare room, where the plaintext was before the check failed.
func TestFailedDecryptionLeavesNothing(t *testing.T) {
	secret := []byte("a plaintext of exactly thirty-two")[:32]
	gcm := func(bits uint) any { return &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: bits} }
	for _, c := range []struct {
		typ   pkcs11.MechanismType
		param any
	}{
		{pkcs11.CKM_AES_GCM, gcm(128)},
		{pkcs11.CKM_AES_GCM, gcm(64)},
		{pkcs11.CKM_CLOUDHSM_AES_GCM, &pkcs11.GCMParams{TagBits: 128}},
		{pkcs11.CKM_CLOUDHSM_AES_GCM, &pkcs11.GCMParams{TagBits: 64}},
		{pkcs11.CKM_AES_CCM, &pkcs11.CCMParams{DataLen: 32, Nonce: make([]byte, 13), MACLen: 8}},
		{pkcs11.CKM_AES_KEY_WRAP, nil},
		{pkcs11.CKM_AES_KEY_WRAP_KWP, nil},
		{pkcs11.CKM_AES_KEY_WRAP_PKCS7, pkcs11.IV("8 bytes!")},
	} {
		row := rowOf(t, c.typ)
		sealed, err := run(t, row.Encrypt, testKey(16), c.param, secret)
		if err != nil {
			t.Fatal(err)
		}
		sealed[len(sealed)-1] ^= 1
		op, err := row.Decrypt(testKey(16), c.param)
		if err != nil {
			t.Fatal(err)
		}
		room := make([]byte, 0, 100)
		if _, err := op.Finish(room, sealed); pkcs11.RVOf(err) != pkcs11.CKR_ENCRYPTED_DATA_INVALID {
			t.Errorf("%v: error %v", c.typ, err)
		}
		if left := bytes.Trim(room[:100], "\x00"); len(left) != 0 {
			t.Errorf("%v %+v left %x", c.typ, c.param, left)
		}
	}
}
