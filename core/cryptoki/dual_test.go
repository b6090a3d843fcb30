package cryptoki

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestDualFunctions(t *testing.T) {
	plain, encrypted := []byte("hello"), turn([]byte("hello"))
	sum := sha256.Sum256([]byte("hellohello"))
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	type init = func() error
	encrypt := func() error { return b.EncryptInit(s, stream, key) }
	decrypt := func() error { return b.DecryptInit(s, stream, key) }
	for name, c := range map[string]struct {
		cipher, second init
		f              func(SessionHandle, []byte, *pkcs11.Out) error
		in, out        []byte
		final          func() error
		result         func() error
	}{
		"DigestEncrypt": {encrypt, func() error { return b.DigestInit(s, sha) }, b.DigestEncryptUpdate, plain, encrypted,
			func() error { return b.EncryptFinal(s, room(0)) }, func() error { return b.sum(b.DigestFinal, s, sum[:]) }},
		"DecryptDigest": {decrypt, func() error { return b.DigestInit(s, sha) }, b.DecryptDigestUpdate, encrypted, plain,
			func() error { return b.DecryptFinal(s, room(0)) }, func() error { return b.sum(b.DigestFinal, s, sum[:]) }},
		"SignEncrypt": {encrypt, func() error { return b.SignInit(s, mac, key) }, b.SignEncryptUpdate, plain, encrypted,
			func() error { return b.EncryptFinal(s, room(0)) }, func() error { return b.sum(b.SignFinal, s, sum[:]) }},
		"DecryptVerify": {decrypt, func() error { return b.VerifyInit(s, mac, key) }, b.DecryptVerifyUpdate, encrypted, plain,
			func() error { return b.DecryptFinal(s, room(0)) }, func() error { return b.VerifyFinal(s, sum[:]) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{Library: b.Library, t: t}
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, c.f(s, c.in, room(9)))
			b.ok(c.cipher())
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, c.f(s, c.in, room(9)))
			b.ok(c.second())
			b.ok(c.f(s, c.in, query()))
			b.want(pkcs11.CKR_BUFFER_TOO_SMALL, c.f(s, c.in, room(4)))
			for range 2 {
				out := room(5)
				b.ok(c.f(s, c.in, out))
				if !bytes.Equal(out.Bytes, c.out) {
					t.Errorf("%q", out.Bytes)
				}
			}
			b.ok(c.final())
			b.ok(c.result())

			b.ok(c.cipher())
			b.ok(c.second())
			b.want(pkcs11.CKR_DATA_INVALID, c.f(s, []byte("fail"), room(9)))
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, c.final())
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, c.result())
		})
	}
}

// sum fetches a digest or signature and compares it.
func (b *bench) sum(final func(SessionHandle, *pkcs11.Out) error, s SessionHandle, want []byte) error {
	out := room(64)
	if err := final(s, out); err != nil {
		return err
	}
	if !bytes.Equal(out.Bytes, want) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func TestRejectEndsWhatTheFunctionWouldHaveEnded(t *testing.T) {
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	begin := []func() error{
		func() error { return b.EncryptInit(s, stream, key) },
		func() error { return b.DecryptInit(s, stream, key) },
		func() error { return b.DigestInit(s, sha) },
		func() error { return b.SignInit(s, mac, key) },
		func() error { return b.VerifyInit(s, mac, key) },
		func() error { return b.SignRecoverInit(s, mac, key) },
		func() error { return b.VerifyRecoverInit(s, mac, key) },
		func() error { return b.VerifySignatureInit(s, mac, key, nil) },
	}
	for _, name := range functions(t) {
		for _, init := range begin {
			b.ok(init())
		}
		b.want(pkcs11.CKR_ARGUMENTS_BAD, b.Reject(name, s, pkcs11.CKR_ARGUMENTS_BAD))
		x, _ := b.run.Load().sessions.load(s)
		ended := 0
		for kind := range x.operations {
			if x.operations[kind] == nil {
				ended++
			}
		}
		if ended != len(ends[name]) {
			t.Errorf("%s ended %d operations, want %d", name, ended, len(ends[name]))
		}
		b.ok(b.SessionCancel(s, ^pkcs11.Flags(0)))
	}
}

// TestADualUpdateThatMayNotDecryptEndsBoth: a key that wants its PIN was not given it.
func TestADualUpdateThatMayNotDecryptEndsBoth(t *testing.T) {
	b := start(t)
	s := b.user()
	key := b.object(s, true, true, "key")
	b.ok(b.DigestInit(s, sha))
	b.hsm.alwaysAuth = true
	b.ok(b.DecryptInit(s, stream, key))
	b.hsm.alwaysAuth = false
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.DecryptDigestUpdate(s, []byte("x"), room(9)))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DecryptFinal(s, room(9)))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestFinal(s, room(32)))
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations were not closed", n)
	}
}
