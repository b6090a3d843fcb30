package cryptoki

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// kind is what the functions of one kind of operation have in common.
type kind struct {
	name   string
	init   func(*pkcs11.Mechanism) error
	one    func(data []byte, out *pkcs11.Out) error
	update func(part []byte) error
	final  func(out *pkcs11.Out) error
	m      *pkcs11.Mechanism
}

// kinds are the operations with output in a session, over a key.
func kinds(b *bench, s SessionHandle, key ObjectHandle) []kind {
	return []kind{
		{"encrypt", func(m *pkcs11.Mechanism) error { return b.EncryptInit(s, m, key) },
			func(p []byte, o *pkcs11.Out) error { return b.Encrypt(s, p, o) },
			func(p []byte) error { return b.EncryptUpdate(s, p, room(100)) },
			func(o *pkcs11.Out) error { return b.EncryptFinal(s, o) }, padded},
		{"decrypt", func(m *pkcs11.Mechanism) error { return b.DecryptInit(s, m, key) },
			func(p []byte, o *pkcs11.Out) error { return b.Decrypt(s, p, o) },
			func(p []byte) error { return b.DecryptUpdate(s, p, room(100)) },
			func(o *pkcs11.Out) error { return b.DecryptFinal(s, o) }, padded},
		{"digest", func(m *pkcs11.Mechanism) error { return b.DigestInit(s, m) },
			func(p []byte, o *pkcs11.Out) error { return b.Digest(s, p, o) },
			func(p []byte) error { return b.DigestUpdate(s, p) },
			func(o *pkcs11.Out) error { return b.DigestFinal(s, o) }, sha},
		{"sign", func(m *pkcs11.Mechanism) error { return b.SignInit(s, m, key) },
			func(p []byte, o *pkcs11.Out) error { return b.Sign(s, p, o) },
			func(p []byte) error { return b.SignUpdate(s, p) },
			func(o *pkcs11.Out) error { return b.SignFinal(s, o) }, mac},
		{"sign-recover", func(m *pkcs11.Mechanism) error { return b.SignRecoverInit(s, m, key) },
			func(p []byte, o *pkcs11.Out) error { return b.SignRecover(s, p, o) }, nil, nil, padded},
		{"verify-recover", func(m *pkcs11.Mechanism) error { return b.VerifyRecoverInit(s, m, key) },
			func(p []byte, o *pkcs11.Out) error { return b.VerifyRecover(s, p, o) }, nil, nil, padded},
	}
}

func eachKind(t *testing.T, f func(*testing.T, *bench, kind)) {
	b := start(t)
	s := b.rw()
	for _, k := range kinds(b, s, b.object(s, true, false, "key")) {
		t.Run(k.name, func(t *testing.T) { f(t, &bench{Library: b.Library, t: t, hsm: b.hsm}, k) })
	}
}

// eachKindWithParts leaves out the kinds that the standard knows in one part only.
func eachKindWithParts(t *testing.T, f func(*testing.T, *bench, kind)) {
	b := start(t)
	s := b.rw()
	for _, k := range kinds(b, s, b.object(s, true, false, "key")) {
		if k.update != nil {
			t.Run(k.name, func(t *testing.T) { f(t, &bench{Library: b.Library, t: t, hsm: b.hsm}, k) })
		}
	}
}

// input is something that any kind can work on.
var input = append(turn([]byte("hello")), fakePadding...)

func TestOperationsNeedInit(t *testing.T) {
	eachKind(t, func(t *testing.T, b *bench, k kind) {
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
		if k.update != nil {
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.update(input))
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.final(room(100)))
		}
		b.hsm.nextBegin = pkcs11.CKR_MECHANISM_INVALID
		b.want(pkcs11.CKR_MECHANISM_INVALID, k.init(k.m))
		b.hsm.nextBegin = nil
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
	})
}

func TestOneOperationOfEachKindAtOnce(t *testing.T) {
	b := start(t)
	s := b.rw()
	all := kinds(b, s, b.object(s, true, false, "key"))
	for _, k := range all {
		b.ok(k.init(k.m))
		b.want(pkcs11.CKR_OPERATION_ACTIVE, k.init(k.m))
	}
	for _, k := range all {
		b.ok(k.one(input, room(100)))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
	}
}

func TestNoMechanismCancels(t *testing.T) {
	eachKind(t, func(t *testing.T, b *bench, k kind) {
		b.ok(k.init(nil))
		b.ok(k.init(k.m))
		b.ok(k.init(nil))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
	})
}

func TestSizeQueryAndShortBufferKeepTheOperation(t *testing.T) {
	eachKind(t, func(t *testing.T, b *bench, k kind) {
		b.ok(k.init(k.m))
		out := query()
		b.ok(k.one(input, out))
		if out.Length == 0 || out.Bytes != nil {
			t.Fatalf("%+v", out)
		}
		bound := out.Length
		out = room(1)
		b.want(pkcs11.CKR_BUFFER_TOO_SMALL, k.one(input, out))
		if out.Length > bound || out.Length <= 1 || out.Bytes != nil {
			t.Fatalf("%+v, bound %d", out, bound)
		}
		exact := out.Length
		out = query()
		b.ok(k.one(input, out))
		out = room(exact)
		b.ok(k.one(input, out))
		if len(out.Bytes) != exact || out.Length != exact {
			t.Errorf("%+v, want %d bytes", out, exact)
		}
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
	})
}

func TestErrorsEndTheOperation(t *testing.T) {
	eachKind(t, func(t *testing.T, b *bench, k kind) {
		b.ok(k.init(k.m))
		b.want(pkcs11.CKR_DATA_INVALID, k.one([]byte("fail"), room(100)))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.one(input, room(100)))
		if k.update == nil {
			return
		}
		b.ok(k.init(k.m))
		b.want(pkcs11.CKR_DATA_INVALID, k.update([]byte("fail")))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.update(input))
	})
}

func TestPartsGiveTheOneShotResult(t *testing.T) {
	eachKindWithParts(t, func(t *testing.T, b *bench, k kind) {
		b.ok(k.init(k.m))
		whole := room(100)
		b.ok(k.one(input, whole))
		b.ok(k.init(k.m))
		for i := range input {
			b.ok(k.update(input[i : i+1]))
		}
		b.ok(k.final(query()))
		out := room(1)
		b.want(pkcs11.CKR_BUFFER_TOO_SMALL, k.final(out))
		out = room(out.Length)
		b.ok(k.final(out))
		if !bytes.Equal(out.Bytes, whole.Bytes) {
			t.Errorf("%q, want %q", out.Bytes, whole.Bytes)
		}
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.final(room(100)))
	})
}

func TestOneShotAfterAnUpdateEndsTheOperation(t *testing.T) {
	eachKindWithParts(t, func(t *testing.T, b *bench, k kind) {
		b.ok(k.init(k.m))
		b.ok(k.update(input))
		b.want(pkcs11.CKR_OPERATION_ACTIVE, k.one(input, room(100)))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, k.final(room(100)))
	})
}

func TestUpdateSizes(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.ok(b.EncryptInit(s, stream, b.object(s, true, false, "key")))
	out := query()
	b.ok(b.EncryptUpdate(s, []byte("abc"), out))
	if out.Length != 3 {
		t.Error(out.Length)
	}
	out = room(2)
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.EncryptUpdate(s, []byte("abc"), out))
	// Neither call was an update, so the one-shot function is still in order.
	out = room(3)
	b.ok(b.Encrypt(s, []byte("abc"), out))
	if !bytes.Equal(out.Bytes, turn([]byte("abc"))) {
		t.Errorf("%q", out.Bytes)
	}
}

// TestOutputGoesWhereTheCallerHasRoom: into Out.Bytes if it is large enough, and no further than the output reaches. What is
// kept for a later call is not there, for the caller wipes it.
func TestOutputGoesWhereTheCallerHasRoom(t *testing.T) {
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	memory := make([]byte, 100)
	out := &pkcs11.Out{Capacity: 100, Bytes: memory[:0]}
	b.ok(b.EncryptInit(s, stream, key))
	b.ok(b.Encrypt(s, []byte("abc"), out))
	if &out.Bytes[0] != &memory[0] || cap(out.Bytes) != 3 || !bytes.Equal(out.Bytes, turn([]byte("abc"))) {
		t.Errorf("%q, of %d", out.Bytes, cap(out.Bytes))
	}
	small := make([]byte, 2)
	out = &pkcs11.Out{Capacity: 100, Bytes: small[:0]}
	b.ok(b.EncryptInit(s, stream, key))
	b.ok(b.Encrypt(s, []byte("abc"), out))
	if !bytes.Equal(out.Bytes, turn([]byte("abc"))) || small[0] != 0 {
		t.Errorf("%q, %q", out.Bytes, small)
	}

	b.ok(b.DecryptInit(s, padded, key))
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.Decrypt(s, input, &pkcs11.Out{Capacity: 1, Bytes: memory[:0]}))
	clear(memory)
	out = &pkcs11.Out{Capacity: 100}
	b.ok(b.Decrypt(s, input, out))
	if string(out.Bytes) != "hello" {
		t.Errorf("%q", out.Bytes)
	}
}

func TestKeptResultIsForTheSameCall(t *testing.T) {
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	keep := func() *result {
		b.ok(b.DecryptInit(s, padded, key))
		b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.Decrypt(s, input, room(1)))
		x, _ := b.run.Load().sessions.load(s)
		return x.operations[hsm.OpDecrypt].result
	}
	for name, other := range map[string]func() error{
		"another input": func() error { return b.Decrypt(s, []byte("other"), room(100)) },
		"the final":     func() error { return b.DecryptFinal(s, room(100)) },
		"an update":     func() error { return b.DecryptUpdate(s, input, room(100)) },
	} {
		kept := keep()
		if string(kept.bytes) != "hello" {
			t.Fatalf("%q", kept.bytes)
		}
		b.want(pkcs11.CKR_OPERATION_ACTIVE, other())
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Decrypt(s, input, room(100)))
		if string(kept.bytes) != "\x00\x00\x00\x00\x00" {
			t.Errorf("%s: the result was not wiped", name)
		}
	}
	kept := keep()
	b.ok(b.DecryptInit(s, nil, 0))
	if kept.bytes[0] != 0 {
		t.Error("the result was not wiped by a cancel")
	}
}

func TestVerifyRecoverTellsABadSignatureFirst(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.ok(b.VerifyRecoverInit(s, padded, b.object(s, true, false, "key")))
	b.want(pkcs11.CKR_SIGNATURE_INVALID, b.VerifyRecover(s, []byte("not padded"), room(0)))
}

func TestVerify(t *testing.T) {
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	sum := sha256.Sum256([]byte("hello"))
	good := sum[:]
	bad := make([]byte, len(good))
	steps := func(init func() error, one func(p []byte) error, update func(p []byte) error, final func() error, want pkcs11.RV) {
		t.Helper()
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, one(nil))
		b.ok(init())
		b.want(want, one([]byte("hello")))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, one([]byte("hello")))
		b.ok(init())
		b.want(pkcs11.CKR_OPERATION_ACTIVE, init())
		b.ok(update([]byte("hel")))
		b.ok(update([]byte("lo")))
		b.want(want, final())
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, final())
		b.ok(init())
		b.ok(update([]byte("hel")))
		b.want(pkcs11.CKR_OPERATION_ACTIVE, one([]byte("lo")))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, final())
	}
	for _, c := range []struct {
		signature []byte
		want      pkcs11.RV
	}{{good, pkcs11.CKR_OK}, {bad, pkcs11.CKR_SIGNATURE_INVALID}, {good[1:], pkcs11.CKR_SIGNATURE_LEN_RANGE}} {
		steps(func() error { return b.VerifyInit(s, mac, key) },
			func(p []byte) error { return b.Verify(s, p, c.signature) },
			func(p []byte) error { return b.VerifyUpdate(s, p) },
			func() error { return b.VerifyFinal(s, c.signature) }, c.want)
		b.ok(b.VerifyInit(s, mac, key)) // It does not mind the other form of verification.
		steps(func() error { return b.VerifySignatureInit(s, mac, key, c.signature) },
			func(p []byte) error { return b.VerifySignature(s, p) },
			func(p []byte) error { return b.VerifySignatureUpdate(s, p) },
			func() error { return b.VerifySignatureFinal(s) }, c.want)
		b.ok(b.VerifyInit(s, nil, 0))
	}
}

func TestDigestKey(t *testing.T) {
	b := start(t)
	s := b.rw()
	key := b.object(s, true, false, "key")
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestKey(s, key))
	b.ok(b.DigestInit(s, sha))
	b.ok(b.DigestKey(s, key))
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.Digest(s, nil, room(32)))
	b.ok(b.DigestInit(s, sha))
	b.ok(b.DigestUpdate(s, []byte("> ")))
	b.ok(b.DigestKey(s, key))
	out := room(32)
	b.ok(b.DigestFinal(s, out))
	if want := sha256.Sum256([]byte("> value of key")); !bytes.Equal(out.Bytes, want[:]) {
		t.Error("the key is not in the digest")
	}
	b.ok(b.DigestInit(s, sha))
	b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.DigestKey(s, 4242))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestFinal(s, room(32)))
}

func TestSessionCancel(t *testing.T) {
	b := start(t)
	s := b.rw()
	all := kinds(b, s, b.object(s, true, false, "key"))
	for _, k := range all {
		b.ok(k.init(k.m))
	}
	b.ok(b.SessionCancel(s, 0))
	b.ok(b.SessionCancel(s, pkcs11.CKF_ENCRYPT|pkcs11.CKF_DIGEST|pkcs11.CKF_VERIFY|pkcs11.CKF_DERIVE))
	for _, k := range all {
		want := pkcs11.CKR_OK
		if k.name == "encrypt" || k.name == "digest" {
			want = pkcs11.CKR_OPERATION_NOT_INITIALIZED
		}
		b.want(want, k.one(input, room(100)))
	}
}

func TestClosingASessionEndsItsOperations(t *testing.T) {
	b := start(t)
	s := b.rw()
	for _, k := range kinds(b, s, b.object(s, true, false, "key")) {
		b.ok(k.init(k.m))
	}
	b.ok(b.CloseSession(s))
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations still run", n)
	}
}

// TestOperationsOwnTheirParameter: the caller's parameter may be used again as soon as C_EncryptInit has answered.
func TestOperationsOwnTheirParameter(t *testing.T) {
	var own ownParam
	given := &pkcs11.GCMParams{IV: []byte("twelve bytes"), AAD: []byte("associated"), TagBits: 128}
	held := own.hold(pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: given}).Params.(*pkcs11.GCMParams)
	clear(given.IV)
	clear(given.AAD)
	if string(held.IV) != "twelve bytes" || string(held.AAD) != "associated" || held.TagBits != 128 {
		t.Errorf("%+v", held)
	}
	aad := held.AAD
	own.clear()
	if own.gcm.IV != nil || string(aad) != string(make([]byte, len(aad))) {
		t.Errorf("%+v and %q are left", own.gcm, aad)
	}
	own.hold(pkcs11.Mechanism{Params: &pkcs11.GCMParams{AAD: make([]byte, 2*mostOwn)}})
	if own.clear(); cap(own.aad) != 0 {
		t.Errorf("%d bytes are kept for the next operation", cap(own.aad))
	}
	for _, other := range []any{nil, (*pkcs11.GCMParams)(nil), pkcs11.IV("iv")} {
		m := own.hold(pkcs11.Mechanism{Params: other})
		if iv, is := other.(pkcs11.IV); is && string(m.Params.(pkcs11.IV)) != string(iv) || !is && m.Params != other {
			t.Errorf("%v has become %v", other, m.Params)
		}
	}
}
