package cryptoki

import (
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestLoginIsSharedAndSingle(t *testing.T) {
	b := start(t)
	s, other := b.rw(), b.rw()
	b.want(pkcs11.CKR_USER_TYPE_INVALID, b.Login(s, 77, nil))
	b.want(pkcs11.CKR_PIN_INCORRECT, b.Login(s, pkcs11.CKU_USER, []byte("0000")))
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	b.want(pkcs11.CKR_USER_ALREADY_LOGGED_IN, b.Login(other, pkcs11.CKU_USER, []byte("1234")))
	b.want(pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, b.Login(other, pkcs11.CKU_SO, []byte("so-pin")))
	b.want(pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, b.LoginUser(other, pkcs11.CKU_USER, []byte("1234"), []byte("bob")))
	b.ok(b.Logout(other))
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.Logout(s))
	b.ok(b.LoginUser(s, pkcs11.CKU_USER, []byte("1234"), []byte("bob")))
	b.want(pkcs11.CKR_USER_ALREADY_LOGGED_IN, b.LoginUser(s, pkcs11.CKU_USER, []byte("1234"), []byte("bob")))
}

func TestSOAndReadOnlySessionsExcludeEachOther(t *testing.T) {
	b := start(t)
	s, ro := b.rw(), b.open(0)
	b.want(pkcs11.CKR_SESSION_READ_ONLY_EXISTS, b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
	b.ok(b.CloseSession(ro))
	b.ok(b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
	if b.state(s) != pkcs11.CKS_RW_SO_FUNCTIONS {
		t.Error(b.state(s))
	}
	_, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION)
	b.want(pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS, err)
	b.ok(b.Logout(s))
	b.open(0)
}

// TestAReadOnlySessionComesWhileTheOfficerLogsIn: it was let in, so the officer is not, and the login that he got already ends.
func TestAReadOnlySessionComesWhileTheOfficerLogsIn(t *testing.T) {
	b := start(t)
	s := b.rw()
	var ro SessionHandle
	b.hsm.whileLogin = func() { ro = b.open(0) }
	b.want(pkcs11.CKR_SESSION_READ_ONLY_EXISTS, b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
	b.hsm.whileLogin = nil
	if b.hsm.logouts != 1 || b.state(s) != pkcs11.CKS_RW_PUBLIC_SESSION || b.state(ro) != pkcs11.CKS_RO_PUBLIC_SESSION {
		t.Error(b.hsm.logouts, b.state(s), b.state(ro))
	}
	b.ok(b.CloseSession(ro))
	b.ok(b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
}

func TestLoginToAnUninitialisedToken(t *testing.T) {
	b := start(t)
	b.hsm.loginError = pkcs11.CKR_TOKEN_NOT_INITIALIZED
	b.want(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, b.Login(b.rw(), pkcs11.CKU_USER, []byte("1234")))
}

func TestInitPINIsForTheSO(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.InitPIN(s, []byte("new")))
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.InitPIN(s, []byte("new")))
	b.ok(b.Logout(s))
	b.ok(b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
	b.ok(b.InitPIN(s, []byte("new")))
	if b.hsm.pins[pkcs11.CKU_USER] != "new" {
		t.Error("the PIN was not set")
	}
}

func TestSetPINKeepsTheLogin(t *testing.T) {
	b := start(t)
	b.want(pkcs11.CKR_SESSION_READ_ONLY, b.SetPIN(b.open(0), []byte("1234"), []byte("5678")))
	s := b.user()
	o := b.object(s, true, true, "private")
	b.want(pkcs11.CKR_PIN_INCORRECT, b.SetPIN(s, []byte("0000"), []byte("5678")))
	b.ok(b.SetPIN(s, []byte("1234"), []byte("5678")))
	if b.state(s) != pkcs11.CKS_RW_USER_FUNCTIONS || !b.valid(s, o) {
		t.Error("the login did not go on under the new credential")
	}
	b.ok(b.Logout(s))
	b.ok(b.SetPIN(s, []byte("5678"), []byte("9999")))
	if b.state(s) != pkcs11.CKS_RW_PUBLIC_SESSION || b.hsm.logouts != 2 {
		t.Errorf("%v, %d logouts: nobody is logged in by C_SetPIN", b.state(s), b.hsm.logouts)
	}
}

func TestSetPINNamesTheUser(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.ok(b.LoginUser(s, pkcs11.CKU_USER, []byte("1234"), []byte("alice")))
	b.ok(b.SetPIN(s, []byte("1234"), []byte("5678")))
	if b.hsm.setName != "alice" {
		t.Errorf("the PIN of %q was set", b.hsm.setName)
	}
	b.ok(b.Logout(s))
	b.ok(b.SetPIN(s, []byte("5678"), []byte("1234")))
	if b.hsm.setName != "" {
		t.Errorf("the PIN of %q was set, nobody was logged in", b.hsm.setName)
	}
}

// TestSetPINLogsNobodyOut: not even when another session asks between the end of the old credential and the new one.
func TestSetPINLogsNobodyOut(t *testing.T) {
	b := start(t)
	s, other := b.user(), b.rw()
	o := b.object(s, true, true, "private")
	refused, done := make(chan struct{}), make(chan struct{})
	b.hsm.refused = refused
	b.hsm.afterSetPIN = func() {
		go func() {
			b.valid(other, o)
			close(done)
		}()
		<-refused
	}
	b.ok(b.SetPIN(s, []byte("1234"), []byte("5678")))
	<-done
	if b.state(s) != pkcs11.CKS_RW_USER_FUNCTIONS || !b.valid(other, o) {
		t.Error("the login has ended")
	}
}

func TestLogoutTakesPrivateObjects(t *testing.T) {
	b := start(t)
	s := b.user()
	public, private := b.object(s, true, false, "public"), b.object(s, true, true, "private")
	local, secret := b.object(s, false, false, "local"), b.object(s, false, true, "secret")
	b.ok(b.SignInit(s, mac, private))
	b.ok(b.VerifyInit(s, mac, public))
	b.ok(b.FindObjectsInit(s, nil))
	b.ok(b.Logout(s))
	if b.valid(s, private) || b.valid(s, secret) || !b.valid(s, public) || !b.valid(s, local) {
		t.Error("private handles end at the logout, others do not")
	}
	if len(b.hsm.session) != 1 {
		t.Errorf("%d session objects on the far side, want the public one", len(b.hsm.session))
	}
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Sign(s, nil, room(32)))
	b.want(pkcs11.CKR_SIGNATURE_INVALID, b.Verify(s, nil, make([]byte, 32)))
	if found, err := b.FindObjects(s, 10); err != nil || len(found) != 2 {
		t.Errorf("%v, %v: the search shows private objects after the logout", found, err)
	}
	b.ok(b.FindObjectsFinal(s))
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	if b.valid(s, private) {
		t.Error("the old handle is good again")
	}
	if found := b.find(s, label("private")); len(found) != 1 || found[0] <= secret {
		t.Errorf("%v after %d", found, secret)
	}
	if found := b.find(s, label("public")); len(found) != 1 || found[0] != public {
		t.Errorf("%v, want %d", found, public)
	}
}

func TestEndedCredentialDropsTheLogin(t *testing.T) {
	b := start(t)
	s := b.user()
	o := b.object(s, true, true, "private")
	b.hsm.epoch++ // Somebody else has set a new PIN.
	_, err := b.GetObjectSize(s, o)
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	if b.state(s) != pkcs11.CKS_RW_PUBLIC_SESSION {
		t.Error("still logged in")
	}
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
}

func TestMissingRightKeepsTheLogin(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.ok(b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
	_, err := b.CreateObject(s, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, true)})
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	if b.state(s) != pkcs11.CKS_RW_SO_FUNCTIONS {
		t.Error("the SO was logged out for asking")
	}
}

func TestContextSpecificLogin(t *testing.T) {
	b := start(t)
	s := b.user()
	o := b.object(s, true, true, "key")
	pin := func(p string) error { return b.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, []byte(p)) }
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, pin("1234"))
	b.ok(b.SignInit(s, mac, o))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, pin("1234"))
	b.ok(b.Sign(s, []byte("x"), room(32))) // The vain login did it no harm.

	b.hsm.alwaysAuth = true
	b.ok(b.SignInit(s, mac, o))
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, b.Sign(s, []byte("x"), room(32)))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Sign(s, []byte("x"), room(32)))

	b.ok(b.SignInit(s, mac, o))
	b.ok(b.DecryptInit(s, stream, o))
	b.want(pkcs11.CKR_PIN_INCORRECT, pin("0000"))
	b.ok(pin("1234"))
	b.ok(b.SignUpdate(s, []byte("x")))
	b.ok(b.SignFinal(s, room(32)))
	b.ok(b.Decrypt(s, []byte("x"), room(32)))
	if b.state(s) != pkcs11.CKS_RW_USER_FUNCTIONS {
		t.Error("the session's state has changed")
	}

	b.ok(b.SignInit(s, mac, o))
	b.want(pkcs11.CKR_PIN_LOCKED, pin("locked"))
	if b.state(s) != pkcs11.CKS_RW_PUBLIC_SESSION {
		t.Error("a locked PIN logs out")
	}
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Sign(s, []byte("x"), room(32)))
	if b.run.Load().slots[slot1].login.Load() != nil {
		t.Error("a login is left")
	}
}
