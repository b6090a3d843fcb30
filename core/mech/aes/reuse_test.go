package aes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestModesBeginAnew: what one operation leaves with the key does not show in the next, whether it was finished or given
// up, closed twice or while others run.
func TestModesBeginAnew(t *testing.T) {
	k := testKey(32)
	block, err := aes.NewCipher(k.Bytes(pkcs11.CKA_VALUE))
	if err != nil {
		t.Fatal(err)
	}
	row, plain := rowOf(t, pkcs11.CKM_AES_CBC), bytes.Repeat([]byte("sixteen bytes..."), 60)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 60 {
				iv := bytes.Repeat([]byte{byte(n), byte(i)}, aes.BlockSize/2)
				want := make([]byte, i*aes.BlockSize)
				cipher.NewCBCEncrypter(block, iv).CryptBlocks(want, plain[:len(want)])

				given, err := row.Encrypt(k, pkcs11.IV(plain[:aes.BlockSize]))
				if err != nil {
					t.Error(err)
					return
				}
				given.Update(nil, plain[:100])
				op, err := row.Encrypt(k, pkcs11.IV(iv))
				if err != nil {
					t.Error(err)
					return
				}
				given.Close()
				given.Close()
				back, err := row.Decrypt(k, pkcs11.IV(iv))
				if err != nil {
					t.Error(err)
					return
				}
				sealed, err := op.Finish(nil, plain[:len(want)])
				if err != nil || !bytes.Equal(sealed, want) {
					t.Errorf("%d blocks are encrypted to something else, %v", i, err)
				}
				op.Close()
				opened, err := back.Finish(nil, want)
				if err != nil || !bytes.Equal(opened, plain[:len(want)]) {
					t.Errorf("%d blocks are decrypted to something else, %v", i, err)
				}
				back.Close()
			}
		})
	}
	wg.Wait()
}

// TestOutputNeedsNoMoreRoomThanAnnounced: a buffer of FinishLen bytes is written in place, so that nothing is copied and
// nothing is left in a buffer that was too small.
func TestOutputNeedsNoMoreRoomThanAnnounced(t *testing.T) {
	k := testKey(16)
	for _, c := range []struct {
		typ   pkcs11.MechanismType
		param any
	}{
		{pkcs11.CKM_AES_ECB, nil},
		{pkcs11.CKM_AES_CBC, pkcs11.IV(make([]byte, 16))},
		{pkcs11.CKM_AES_CBC_PAD, pkcs11.IV(make([]byte, 16))},
		{pkcs11.CKM_AES_CTR, &pkcs11.CTRParams{CounterBits: 32}},
		{pkcs11.CKM_AES_GCM, &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}},
	} {
		in := make([]byte, 64)
		for _, create := range []modes.Constructor{rowOf(t, c.typ).Encrypt, rowOf(t, c.typ).Decrypt} {
			op, err := create(k, c.param)
			if err != nil {
				t.Fatal(err)
			}
			size, _ := op.FinishLen(len(in))
			room := make([]byte, 1, 1+size)
			out, err := op.Finish(room, in)
			if err != nil {
				t.Fatalf("%v: %v", c.typ, err)
			}
			if &out[0] != &room[0] {
				t.Errorf("%v of %d bytes did not find room in %d", c.typ, len(in), size)
			}
			op.Close()
			in = out[1:]
		}
	}
}
