package modes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// aesCipher stands for all block ciphers; the families hold their rows to the battery of mechtest.
var aesCipher = Cipher{KeyTypes: []pkcs11.KeyType{pkcs11.CKK_AES}, Size: aes.BlockSize,
	New: func(k mech.Key) (cipher.Block, error) { return aes.NewCipher(k.Bytes(pkcs11.CKA_VALUE)) }}

func testKey() mech.Key { return mechtest.Secret(pkcs11.CKK_AES, []byte("sixteen byte key")) }

// TestCloseWipes looks into what operations keep between parts.
func TestCloseWipes(t *testing.T) {
	secret := []byte("thirty-one bytes of a plaintext")
	zero := func(what string, b []byte) {
		t.Helper()
		if len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%s still holds %q", what, b)
		}
	}

	op, err := aesCipher.blocks(aesCipher.newCBC, false, false)(testKey(), pkcs11.IV(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := op.Update(nil, secret); err != nil {
		t.Fatal(err)
	}
	op.Close()
	zero("CBC", op.(*blocks).rest[:])

	g := &Gather{}
	g.Update(nil, secret)
	small := g.buf
	g.Update(nil, make([]byte, 1000))
	zero("the smaller buffer", small)
	large := g.buf
	g.Close()
	zero("the larger buffer", large[:cap(large)])

	for _, row := range []mech.Mechanism{aesCipher.CMAC(0), aesCipher.MAC(0), aesCipher.XCBC(0, 16, aes.NewCipher)} {
		mac, err := row.Sign(testKey(), nil)
		if err != nil {
			t.Fatal(err)
		}
		mac.Update(secret)
		mac.Close()
		m := mac.(*ChainedMAC)
		zero("the MAC's block", m.rest[:])
		zero("the MAC's chain", m.chain[:])
		zero("XCBC's keys", append(m.keys[0][:], m.keys[1][:]...))
	}

	for _, row := range []mech.Mechanism{aesCipher.OFB(0), aesCipher.CFB(0, 8), aesCipher.CFBBits(0)} {
		op, err := row.Encrypt(testKey(), pkcs11.IV(make([]byte, 16)))
		if err != nil {
			t.Fatal(err)
		}
		op.Update(nil, secret)
		mode := op.(*fedStream).mode
		op.Close()
		register, held := mode.register()
		zero("the register", append(register, held[:cap(held)]...))
		switch m := mode.(type) {
		case *segments:
			zero("the key stream", m.stream[:])
		case *bitwise:
			zero("the key stream", m.stream[:])
		}
	}
}

// TestModesWithoutSetIV: a chained mode of a library that lacks SetIV begins anew all the same.
func TestModesWithoutSetIV(t *testing.T) {
	block, err := aes.NewCipher(make([]byte, 16))
	require.NoError(t, err)
	create := func(b cipher.Block, iv []byte) cipher.BlockMode {
		return struct{ cipher.BlockMode }{cipher.NewCBCEncrypter(b, iv)}
	}
	in, one, two := make([]byte, 32), bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)
	got, want := make([]byte, 32), make([]byte, 32)
	mode := newChained(create, block, one)
	for _, iv := range [][]byte{one, two, one} {
		mode.SetIV(iv)
		mode.CryptBlocks(got, in)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(want, in)
		require.Equal(t, want, got)
	}
}
