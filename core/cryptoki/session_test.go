package cryptoki

import (
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestOpenSessionFlags(t *testing.T) {
	b := start(t)
	_, err := b.OpenSession(slot1, pkcs11.CKF_RW_SESSION)
	b.want(pkcs11.CKR_SESSION_PARALLEL_NOT_SUPPORTED, err)
	h := b.open(pkcs11.CKF_ASYNC_SESSION)
	info, err := b.GetSessionInfo(h)
	b.ok(err)
	if info.Flags != pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_ASYNC_SESSION {
		t.Errorf("flags %#x", uint(info.Flags))
	}
	_, err = b.OpenSession(1000, pkcs11.CKF_SERIAL_SESSION)
	b.want(pkcs11.CKR_SLOT_ID_INVALID, err)
}

func TestOpenSessionLimits(t *testing.T) {
	b := start(t)
	b.hsm.info.Flags = pkcs11.CKF_WRITE_PROTECTED
	_, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	b.want(pkcs11.CKR_TOKEN_WRITE_PROTECTED, err)
	b.open(0)
	b.hsm.info = pkcs11.TokenInfo{MaxSessionCount: 3, MaxRwSessionCount: 1}
	b.rw()
	_, err = b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	b.want(pkcs11.CKR_SESSION_COUNT, err)
	b.open(0)
	_, err = b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION)
	b.want(pkcs11.CKR_SESSION_COUNT, err)
	b.hsm.info = pkcs11.TokenInfo{MaxSessionCount: pkcs11.CK_UNAVAILABLE_INFORMATION}
	b.open(0)
}

func TestSessionHandlesAreNeverReused(t *testing.T) {
	b := start(t)
	var last SessionHandle
	for range 5 {
		s := b.open(0)
		if s <= last {
			t.Fatalf("%d after %d", s, last)
		}
		last = s
		b.ok(b.CloseSession(s))
		b.want(pkcs11.CKR_SESSION_HANDLE_INVALID, b.CloseSession(s))
		b.want(pkcs11.CKR_SESSION_HANDLE_INVALID, b.DigestInit(s, sha))
	}
}

func TestSessionInfoAndCounts(t *testing.T) {
	b := start(t)
	ro, rw := b.open(0), b.rw()
	token, err := b.GetTokenInfo(slot1)
	b.ok(err)
	if token.SessionCount != 2 || token.RwSessionCount != 1 {
		t.Errorf("%d sessions, %d read/write", token.SessionCount, token.RwSessionCount)
	}
	info, err := b.GetSessionInfo(rw)
	b.ok(err)
	if info.Slot != slot1 || info.Flags != pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION {
		t.Errorf("%+v", info)
	}
	if b.state(ro) != pkcs11.CKS_RO_PUBLIC_SESSION || b.state(rw) != pkcs11.CKS_RW_PUBLIC_SESSION {
		t.Error(b.state(ro), b.state(rw))
	}
	b.ok(b.Login(ro, pkcs11.CKU_USER, []byte("1234")))
	if b.state(ro) != pkcs11.CKS_RO_USER_FUNCTIONS || b.state(rw) != pkcs11.CKS_RW_USER_FUNCTIONS {
		t.Error(b.state(ro), b.state(rw))
	}
}

func TestLastSessionClosedLogsOut(t *testing.T) {
	for _, all := range []bool{false, true} {
		b := start(t)
		s, other := b.user(), b.open(0)
		b.ok(b.CloseSession(s))
		if b.state(other) != pkcs11.CKS_RO_USER_FUNCTIONS {
			t.Error("logged out too early")
		}
		if all {
			b.ok(b.CloseAllSessions(slot1))
		} else {
			b.ok(b.CloseSession(other))
		}
		if b.hsm.logouts != 1 {
			t.Errorf("%d logouts", b.hsm.logouts)
		}
		if b.state(b.open(0)) != pkcs11.CKS_RO_PUBLIC_SESSION {
			t.Error("still logged in")
		}
	}
}

func TestSlotsHaveLoginsOfTheirOwn(t *testing.T) {
	b := start(t)
	b.user()
	other, err := b.OpenSession(3, pkcs11.CKF_SERIAL_SESSION)
	b.ok(err)
	if b.state(other) != pkcs11.CKS_RO_PUBLIC_SESSION {
		t.Error(b.state(other))
	}
}

func TestSessionObjectsDieWithTheirSession(t *testing.T) {
	b := start(t)
	s, other := b.user(), b.rw()
	mine, theirs := b.object(s, false, false, "mine"), b.object(other, false, true, "theirs")
	kept := b.object(s, true, false, "kept")
	if !b.valid(other, mine) {
		t.Fatal("a session object is for all sessions")
	}
	b.ok(b.CloseSession(s))
	if b.valid(other, mine) || !b.valid(other, theirs) || !b.valid(other, kept) {
		t.Error(b.valid(other, mine), b.valid(other, theirs), b.valid(other, kept))
	}
	b.ok(b.CloseAllSessions(slot1))
	if len(b.hsm.session) != 0 {
		t.Errorf("%d session objects are left on the far side", len(b.hsm.session))
	}
	if !b.valid(b.rw(), kept) {
		t.Error("a public token object's handle outlives sessions")
	}
}

func TestInitTokenWantsNoSession(t *testing.T) {
	b := start(t)
	s := b.user()
	o := b.object(s, true, false, "a")
	b.want(pkcs11.CKR_SESSION_EXISTS, b.InitToken(slot1, []byte("so-pin"), "new"))
	b.ok(b.CloseSession(s))
	b.want(pkcs11.CKR_PIN_INCORRECT, b.InitToken(slot1, []byte("wrong"), "new"))
	b.ok(b.InitToken(slot1, []byte("so-pin"), "new"))
	if b.valid(b.rw(), o) {
		t.Error("a handle has outlived its token")
	}
	info, err := b.GetTokenInfo(slot1)
	b.ok(err)
	if info.Label != "new" {
		t.Error(info.Label)
	}
}
