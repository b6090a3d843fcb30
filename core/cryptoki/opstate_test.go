package cryptoki

import (
	"bytes"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// saved takes the state of a session, and checks the rule of sizes on the way.
func (b *bench) saved(s SessionHandle) []byte {
	b.t.Helper()
	out := query()
	b.ok(b.GetOperationState(s, out))
	size := out.Length
	out = room(size - 1)
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.GetOperationState(s, out))
	if out.Length != size || out.Bytes != nil {
		b.t.Fatalf("%+v, want %d", out, size)
	}
	out = room(size)
	b.ok(b.GetOperationState(s, out))
	return out.Bytes
}

// begunAll begins an operation of each kind that is saved, with a part each.
func (b *bench) begunAll(s SessionHandle, key ObjectHandle, signature []byte) {
	b.t.Helper()
	b.ok(b.EncryptInit(s, padded, key))
	b.ok(b.EncryptUpdate(s, []byte("one "), room(10)))
	b.ok(b.DigestInit(s, sha))
	b.ok(b.DigestUpdate(s, []byte("one ")))
	b.ok(b.SignInit(s, mac, key))
	b.ok(b.SignUpdate(s, []byte("one ")))
	b.ok(b.VerifyInit(s, mac, key))
	b.ok(b.VerifyUpdate(s, []byte("one ")))
	b.ok(b.VerifySignatureInit(s, mac, key, signature))
	b.ok(b.VerifySignatureUpdate(s, []byte("one ")))
}

func (b *bench) endAll(s SessionHandle, signature []byte) {
	b.t.Helper()
	b.ok(b.EncryptUpdate(s, []byte("two"), room(10)))
	out := room(100)
	b.ok(b.EncryptFinal(s, out))
	if want := append(turn([]byte("one two")), fakePadding...); !bytes.Equal(out.Bytes, want) {
		b.t.Errorf("encrypted %q, want %q", out.Bytes, want)
	}
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.Digest(s, nil, room(32))) // parts have come, before it was saved
	b.ok(b.SignUpdate(s, []byte("two")))
	out = room(32)
	b.ok(b.SignFinal(s, out))
	if !bytes.Equal(out.Bytes, signature) {
		b.t.Error("another signature")
	}
	b.ok(b.VerifyUpdate(s, []byte("two")))
	b.ok(b.VerifyFinal(s, signature))
	b.ok(b.VerifySignatureUpdate(s, []byte("two")))
	b.ok(b.VerifySignatureFinal(s))
}

func TestOperationStateGoesOnInAnotherSession(t *testing.T) {
	b := start(t)
	s, other := b.rw(), b.rw()
	key := b.object(s, true, false, "key")
	b.ok(b.SignInit(s, mac, key))
	out := room(32)
	b.ok(b.Sign(s, []byte("one two"), out))
	signature := out.Bytes

	b.begunAll(s, key, signature)
	state := b.saved(s)
	b.ok(b.EncryptInit(other, padded, key)) // what runs there ends
	b.ok(b.SignRecoverInit(other, padded, key))
	b.ok(b.FindObjectsInit(other, nil))
	b.ok(b.SetOperationState(other, state, key, key))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.FindObjectsFinal(other))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignRecover(other, nil, room(100)))
	b.endAll(other, signature)
	b.endAll(s, signature) // the first session has lost nothing
	b.ok(b.SetOperationState(s, state, key, key))
	b.endAll(s, signature) // as often as wanted
	b.ok(b.CloseSession(s))
	b.ok(b.CloseSession(other))
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations still run", n)
	}
}

func TestOperationStateWantsItsKeys(t *testing.T) {
	b := start(t)
	s := b.rw()
	key, stranger := b.object(s, true, false, "key"), b.object(s, true, false, "stranger")
	b.ok(b.EncryptInit(s, padded, key))
	encryption := b.saved(s)
	b.ok(b.EncryptInit(s, nil, 0))
	b.ok(b.SignInit(s, mac, key))
	authentication := b.saved(s)
	b.ok(b.SignInit(s, nil, 0))
	b.ok(b.DigestInit(s, sha))
	b.ok(b.DigestUpdate(s, []byte("x")))
	digest := b.saved(s)
	for _, c := range []struct {
		state     []byte
		enc, auth ObjectHandle
		want      pkcs11.RV
	}{
		{encryption, 0, 0, pkcs11.CKR_KEY_NEEDED},
		{encryption, 0, key, pkcs11.CKR_KEY_NEEDED},
		{encryption, key, key, pkcs11.CKR_KEY_NOT_NEEDED},
		{encryption, stranger, 0, pkcs11.CKR_KEY_CHANGED},
		{encryption, 4242, 0, pkcs11.CKR_KEY_HANDLE_INVALID},
		{authentication, 0, 0, pkcs11.CKR_KEY_NEEDED},
		{authentication, key, 0, pkcs11.CKR_KEY_NOT_NEEDED},
		{authentication, 0, stranger, pkcs11.CKR_KEY_CHANGED},
		{digest, key, 0, pkcs11.CKR_KEY_NOT_NEEDED},
		{digest, 0, key, pkcs11.CKR_KEY_NOT_NEEDED},
		{digest, 0, 0, pkcs11.CKR_OK},
		{encryption, key, 0, pkcs11.CKR_OK},
		{authentication, 0, key, pkcs11.CKR_OK},
	} {
		b.want(c.want, b.SetOperationState(s, c.state, c.enc, c.auth))
		if c.want != pkcs11.CKR_OK {
			b.ok(b.DigestUpdate(s, nil)) // what ran is still there
		}
	}
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestUpdate(s, nil))
	b.hsm.nextBegin = pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED
	b.want(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, b.SetOperationState(s, encryption, key, 0))
}

func TestOperationStateIsSealed(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.SetOperationState(s, make([]byte, 100), 0, 0))
	secret := []byte("this is what was digested")
	b.ok(b.DigestInit(s, sha))
	b.ok(b.DigestUpdate(s, secret))
	state := b.saved(s)
	if bytes.Contains(state, secret) {
		t.Error("the state can be read")
	}
	if bytes.Equal(state, b.saved(s)) {
		t.Error("two states are alike")
	}
	for i := range state {
		forged := slices.Clone(state)
		forged[i] ^= 1
		b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.SetOperationState(s, forged, 0, 0))
		b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.SetOperationState(s, state[:i], 0, 0))
	}
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.SetOperationState(s, state, 0, 0)) // another session state
	b.ok(b.Logout(s))
	b.ok(b.SetOperationState(s, state, 0, 0))
	b.ok(b.CloseAllSessions(slot1))
	b.ok(b.InitToken(slot1, []byte("so-pin"), "new"))
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.SetOperationState(b.rw(), state, 0, 0))
}

func TestWhatCannotBeSaved(t *testing.T) {
	b := start(t)
	s := b.rw()
	key, other := b.object(s, true, false, "key"), b.object(s, true, false, "other")
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.GetOperationState(s, room(1000)))
	b.ok(b.FindObjectsInit(s, nil))
	b.ok(b.SignRecoverInit(s, padded, key))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.GetOperationState(s, room(1000)))

	b.ok(b.EncryptInit(s, padded, key))
	b.ok(b.DecryptInit(s, padded, other))
	b.want(pkcs11.CKR_STATE_UNSAVEABLE, b.GetOperationState(s, room(1000))) // one argument for two keys
	b.ok(b.DecryptInit(s, nil, 0))
	b.ok(b.DecryptInit(s, padded, key))
	b.ok(b.GetOperationState(s, room(1000)))
	b.ok(b.SessionCancel(s, pkcs11.CKF_ENCRYPT|pkcs11.CKF_DECRYPT))

	b.ok(b.EncryptInit(s, &pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM}, key))
	b.want(pkcs11.CKR_STATE_UNSAVEABLE, b.GetOperationState(s, room(1000)))
	b.ok(b.EncryptInit(s, nil, 0))
	b.ok(b.DecryptInit(s, padded, key))
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.Decrypt(s, input, room(1)))
	b.want(pkcs11.CKR_STATE_UNSAVEABLE, b.GetOperationState(s, room(1000))) // it is done
}

// TestEveryKindOfOperationIsSavedOrNot: none was forgotten in the table.
func TestEveryKindOfOperationIsSavedOrNot(t *testing.T) {
	for kind, place := range savable {
		recovers := hsm.OpKind(kind) == hsm.OpSignRecover || hsm.OpKind(kind) == hsm.OpVerifyRecover
		if (place == notSaved) != recovers {
			t.Errorf("kind %d: place %d", kind, place)
		}
	}
}
