package aes

import (
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// BenchmarkOneShot is an operation of 1 KiB from constructor to Close, the output buffer used again.
func BenchmarkOneShot(b *testing.B) {
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
		b.Run(c.typ.String(), func(b *testing.B) {
			row, k := rowOf(b, c.typ), testKey(32)
			in, out := make([]byte, 1024), make([]byte, 0, 2048)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				op, err := row.Encrypt(k, c.param)
				if err != nil {
					b.Fatal(err)
				}
				if out, err = op.Finish(out[:0], in); err != nil {
					b.Fatal(err)
				}
				op.Close()
			}
		})
	}
	b.Run("CKM_AES_CMAC", func(b *testing.B) {
		row, k := rowOf(b, pkcs11.CKM_AES_CMAC), testKey(32)
		in, out := make([]byte, 1024), make([]byte, 0, 16)
		b.SetBytes(int64(len(in)))
		b.ReportAllocs()
		for b.Loop() {
			op, err := row.Sign(k, nil)
			if err != nil {
				b.Fatal(err)
			}
			if out, err = op.Finish(out[:0], in); err != nil {
				b.Fatal(err)
			}
			op.Close()
		}
	})
}
