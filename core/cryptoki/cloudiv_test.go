package cryptoki

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func gcmWith(iv []byte) *pkcs11.Mechanism {
	return &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: iv, TagBits: 128}}
}

// TestCloudIVIsMade in the place of zeros, for an encryption and for a key that is wrapped, and for nothing else.
func TestCloudIVIsMade(t *testing.T) {
	b := start(t)
	s, err := b.OpenSession(cloudSlot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	b.ok(err)
	key := b.object(s, false, false, "key")
	zeros := make([]byte, 12)
	seen := map[string]bool{}
	for range 100 {
		iv := make([]byte, 12)
		b.ok(b.EncryptInit(s, gcmWith(iv), key))
		b.ok(b.EncryptInit(s, nil, 0))
		seen[string(iv)] = true
		clear(iv)
		b.ok(b.WrapKey(s, gcmWith(iv), key, key, room(100)))
		seen[string(iv)] = true
	}
	if len(seen) != 200 || seen[string(zeros)] {
		t.Errorf("%d different IVs of 200; one of zeros: %v", len(seen), seen[string(zeros)])
	}

	iv := make([]byte, 12)
	b.ok(b.WrapKey(s, gcmWith(iv), key, key, &pkcs11.Out{Query: true}))
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.WrapKey(s, gcmWith(iv), key, key, room(1)))
	b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.EncryptInit(s, gcmWith(iv), 999))
	b.ok(b.DecryptInit(s, gcmWith(iv), key))
	b.ok(b.DecryptInit(s, nil, 0))
	if !bytes.Equal(iv, zeros) {
		t.Errorf("an IV of %x, though nothing was encrypted", iv)
	}
	for _, bad := range [][]byte{nil, make([]byte, 11), []byte("twelve bytes")} {
		was := bytes.Clone(bad)
		b.want(pkcs11.CKR_MECHANISM_PARAM_INVALID, b.EncryptInit(s, gcmWith(bad), key))
		b.want(pkcs11.CKR_MECHANISM_PARAM_INVALID, b.WrapKey(s, gcmWith(bad), key, key, room(100)))
		if !bytes.Equal(bad, was) {
			t.Errorf("%x has become %x", was, bad)
		}
	}
	b.ok(b.EncryptInit(s, &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM}, key)) // the far side refuses it, but not this one
	b.ok(b.EncryptInit(s, nil, 0))
}

// TestZeroIVsAreTheCallers in every other slot.
func TestZeroIVsAreTheCallers(t *testing.T) {
	b := start(t)
	s := b.user()
	key, iv := b.object(s, false, false, "key"), make([]byte, 12)
	b.ok(b.EncryptInit(s, gcmWith(iv), key))
	b.ok(b.EncryptInit(s, nil, 0))
	b.ok(b.WrapKey(s, gcmWith(iv), key, key, room(100)))
	if !bytes.Equal(iv, make([]byte, 12)) {
		t.Errorf("the IV has become %x", iv)
	}
}
