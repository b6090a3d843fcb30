package cryptoki

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// The fake's AEAD has a tag of ten bytes, always the same.
var gcm = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM}

func gcmMessage(generator uint) *pkcs11.GCMMessageParams {
	return &pkcs11.GCMMessageParams{IV: []byte("twelve bytes"), IVFixedBits: 32, IVGenerator: generator,
		Tag: make([]byte, len(fakePadding)), TagBits: uint(len(fakePadding)) * 8}
}

// messageKind is what the processes have in common.
type messageKind struct {
	name  string
	init  func(*pkcs11.Mechanism, ObjectHandle) error
	final func() error
	one   func() error
	begin func() error
	next  func(last bool) error
	m     *pkcs11.Mechanism
	flag  pkcs11.Flags
}

func messageKinds(b *bench, s SessionHandle) []messageKind {
	mac256 := sha256.Sum256([]byte("hello"))
	end := func(last bool) pkcs11.Flags {
		if last {
			return pkcs11.CKF_END_OF_MESSAGE
		}
		return 0
	}
	tagged := gcmMessage(pkcs11.CKG_NO_GENERATE)
	copy(tagged.Tag, fakePadding)
	return []messageKind{
		{"encrypt", func(m *pkcs11.Mechanism, k ObjectHandle) error { return b.MessageEncryptInit(s, m, k) },
			func() error { return b.MessageEncryptFinal(s) },
			func() error { return b.EncryptMessage(s, gcmMessage(0), nil, []byte("hello"), room(100)) },
			func() error { return b.EncryptMessageBegin(s, gcmMessage(0), nil) },
			func(last bool) error {
				return b.EncryptMessageNext(s, gcmMessage(0), []byte("hello"), room(100), end(last))
			},
			gcm, pkcs11.CKF_MESSAGE_ENCRYPT},
		{"decrypt", func(m *pkcs11.Mechanism, k ObjectHandle) error { return b.MessageDecryptInit(s, m, k) },
			func() error { return b.MessageDecryptFinal(s) },
			func() error { return b.DecryptMessage(s, tagged, nil, []byte("hello"), room(100)) },
			func() error { return b.DecryptMessageBegin(s, tagged, nil) },
			func(last bool) error { return b.DecryptMessageNext(s, tagged, []byte("hello"), room(100), end(last)) },
			gcm, pkcs11.CKF_MESSAGE_DECRYPT},
		{"sign", func(m *pkcs11.Mechanism, k ObjectHandle) error { return b.MessageSignInit(s, m, k) },
			func() error { return b.MessageSignFinal(s) },
			func() error { return b.SignMessage(s, nil, []byte("hello"), room(32)) },
			func() error { return b.SignMessageBegin(s, nil) },
			func(last bool) error {
				if !last {
					return b.SignMessageNext(s, nil, nil, nil)
				}
				return b.SignMessageNext(s, nil, []byte("hello"), room(32))
			}, mac, pkcs11.CKF_MESSAGE_SIGN},
		{"verify", func(m *pkcs11.Mechanism, k ObjectHandle) error { return b.MessageVerifyInit(s, m, k) },
			func() error { return b.MessageVerifyFinal(s) },
			func() error { return b.VerifyMessage(s, nil, []byte("hello"), mac256[:]) },
			func() error { return b.VerifyMessageBegin(s, nil) },
			func(last bool) error {
				if !last {
					return b.VerifyMessageNext(s, nil, nil, nil)
				}
				return b.VerifyMessageNext(s, nil, []byte("hello"), mac256[:])
			}, mac, pkcs11.CKF_MESSAGE_VERIFY},
	}
}

func eachMessageKind(t *testing.T, f func(*bench, SessionHandle, ObjectHandle, messageKind)) {
	for i := range 4 {
		b := start(t)
		s := b.rw()
		k := messageKinds(b, s)[i]
		t.Run(k.name, func(t *testing.T) {
			b := &bench{Library: b.Library, t: t, hsm: b.hsm}
			f(b, s, b.object(s, true, false, "key"), k)
			b.ok(b.CloseSession(s))
			if n := len(b.hsm.running); n != 0 {
				t.Errorf("%d operations still run", n)
			}
		})
	}
}

func TestMessageProcesses(t *testing.T) {
	eachMessageKind(t, func(b *bench, s SessionHandle, key ObjectHandle, k messageKind) {
		for _, call := range []func() error{k.one, k.begin, func() error { return k.next(false) }, func() error { return k.next(true) }, k.final} {
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, call())
		}
		b.want(pkcs11.CKR_KEY_HANDLE_INVALID, k.init(k.m, 4242))
		b.hsm.nextBegin = pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED
		b.want(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, k.init(k.m, key))
		b.hsm.nextBegin = nil
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one())
		b.ok(k.init(k.m, key))
		b.want(pkcs11.CKR_OPERATION_ACTIVE, k.init(k.m, key))
		for range 3 {
			b.ok(k.one())
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.next(true))
			b.ok(k.begin())
			b.want(pkcs11.CKR_OPERATION_ACTIVE, k.begin())
			b.want(pkcs11.CKR_OPERATION_ACTIVE, k.one())
			b.want(pkcs11.CKR_OPERATION_ACTIVE, k.final())
			b.ok(k.next(false))
			b.ok(k.next(false))
			b.ok(k.next(true))
		}
		b.ok(k.final())
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one())
		b.ok(k.init(nil, 0))
	})
}

func TestMessageProcessesEndWithWhatTheyBelongTo(t *testing.T) {
	eachMessageKind(t, func(b *bench, s SessionHandle, key ObjectHandle, k messageKind) {
		b.ok(k.init(k.m, key))
		b.ok(k.begin())
		b.ok(b.SessionCancel(s, ^k.flag))
		b.ok(k.next(true))
		b.ok(k.begin())
		b.ok(b.SessionCancel(s, k.flag))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.next(true))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one())

		b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
		private := b.object(s, true, true, "private")
		b.ok(k.init(k.m, private))
		b.ok(k.one())
		b.ok(k.begin())
		b.ok(b.Logout(s))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.next(true))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.final())

		b.ok(k.init(k.m, key))
		b.ok(k.begin())
		b.ok(b.DigestInit(s, sha))
		state := b.saved(s) // the digest alone
		b.ok(b.SetOperationState(s, state, 0, 0))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.next(true))

		b.ok(k.init(k.m, key)) // the session takes it along
		b.ok(k.begin())
	})
}

func TestRejectedPartsEndTheMessageAndNotTheProcess(t *testing.T) {
	eachMessageKind(t, func(b *bench, s SessionHandle, key ObjectHandle, k messageKind) {
		b.ok(k.init(k.m, key))
		b.ok(k.begin())
		for name := range messageFunctions {
			b.want(pkcs11.CKR_ARGUMENTS_BAD, b.Reject(name, s, pkcs11.CKR_ARGUMENTS_BAD))
		}
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.next(true))
		b.ok(k.one())
	})
}

// TestEachMessageAsksForThePIN: a key that is CKA_ALWAYS_AUTHENTICATE signs one message for one PIN.
func TestEachMessageAsksForThePIN(t *testing.T) {
	b := start(t)
	s := b.user()
	key := b.object(s, true, true, "key")
	b.hsm.alwaysAuth = true
	b.ok(b.MessageSignInit(s, mac, key))
	for range 2 {
		b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.SignMessage(s, nil, nil, room(32)))
		b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.SignMessageBegin(s, nil))
		b.want(pkcs11.CKR_PIN_INCORRECT, b.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, []byte("4321")))
		b.ok(b.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, []byte("1234")))
		b.ok(b.SignMessage(s, nil, nil, query()))
		b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.SignMessage(s, nil, nil, room(31)))
		b.ok(b.SignMessage(s, nil, nil, room(32)))
	}
}

func TestMessageVectorsAreWrittenBack(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.ok(b.MessageEncryptInit(s, gcm, b.object(s, true, false, "key")))
	for i, n := range []byte{0, 1, 2} {
		m := gcmMessage(pkcs11.CKG_GENERATE_COUNTER)
		b.ok(b.EncryptMessage(s, m, nil, []byte("hello"), query()))
		b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.EncryptMessage(s, m, nil, []byte("hello"), room(4)))
		if string(m.IV) != "twelve bytes" {
			t.Errorf("a question for the length has used up a vector: %x", m.IV)
		}
		out := room(5)
		if i == 1 {
			b.ok(b.EncryptMessageBegin(s, m, nil))
			if string(m.Tag) == fakePadding {
				t.Error("the tag is there too early")
			}
			b.ok(b.EncryptMessageNext(s, m, []byte("hello"), out, pkcs11.CKF_END_OF_MESSAGE))
		} else {
			b.ok(b.EncryptMessage(s, m, nil, []byte("hello"), out))
		}
		if want := append([]byte("twel\x00\x00\x00\x00\x00\x00\x00"), n); !bytes.Equal(m.IV, want) {
			t.Errorf("vector %x, want %x", m.IV, want)
		}
		if string(m.Tag) != fakePadding || !bytes.Equal(out.Bytes, turn([]byte("hello"))) {
			t.Errorf("tag %q, ciphertext %q", m.Tag, out.Bytes)
		}
	}
	for _, bad := range []*pkcs11.GCMMessageParams{
		{IV: []byte("twelve bytes"), TagBits: 80}, {IV: []byte("twelve bytes"), Tag: make([]byte, 9), TagBits: 80}, {Tag: []byte{}}, nil,
		{IV: []byte("twelve bytes"), Tag: make([]byte, 10), TagBits: 80, IVGenerator: 77}, {IVGenerator: pkcs11.CKG_GENERATE, Tag: make([]byte, 10), TagBits: 80},
	} {
		b.want(pkcs11.CKR_MECHANISM_PARAM_INVALID, b.EncryptMessage(s, bad, nil, nil, room(10)))
	}
	b.ok(b.EncryptMessageBegin(s, gcmMessage(0), nil))
	short := gcmMessage(0)
	short.Tag, short.TagBits = make([]byte, 8), 64
	b.want(pkcs11.CKR_MECHANISM_PARAM_INVALID, b.EncryptMessageNext(s, short, nil, room(10), pkcs11.CKF_END_OF_MESSAGE)) // another tag than begun
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.EncryptMessageNext(s, gcmMessage(0), nil, room(10), pkcs11.CKF_END_OF_MESSAGE))
}
