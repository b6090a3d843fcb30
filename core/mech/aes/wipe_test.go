package aes

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestCloseWipes looks into what operations keep between parts.
func TestCloseWipes(t *testing.T) {
	secret := []byte("thirty-one bytes of a plaintext")
	zero := func(what string, b []byte) {
		t.Helper()
		if len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%s still holds %q", what, b)
		}
	}

	op, err := rowOf(t, pkcs11.CKM_AES_CBC).Encrypt(testKey(16), pkcs11.IV(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Update(nil, secret); err != nil {
		t.Fatal(err)
	}
	op.Close()
	zero("CBC", op.(*blocks).rest[:])

	g := &gather{}
	g.Update(nil, secret)
	small := g.buf
	g.Update(nil, make([]byte, 1000))
	zero("the smaller buffer", small)
	large := g.buf
	g.Close()
	zero("the larger buffer", large[:cap(large)])

	mac, err := rowOf(t, pkcs11.CKM_AES_CMAC).Sign(testKey(16), nil)
	if err != nil {
		t.Fatal(err)
	}
	mac.Update(secret)
	mac.Close()
	zero("CMAC's block", mac.(*cmac).rest[:])
	zero("CMAC's chain", mac.(*cmac).chain[:])
}

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
