package cryptoki

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// login is one login of the application, from C_Login to C_Logout; all sessions of the slot share it. Its address is its
// identity: what belongs to a login remembers it and dies with it.
type login struct {
	user pkcs11.UserType
	name string
	person
	cred atomic.Pointer[hsm.Credential] // replaced by C_SetPIN
	holds
}

// credential returns what requests carry; nil when nobody is logged in.
func (who *login) credential() hsm.Credential {
	if who == nil {
		return nil
	}
	return *who.cred.Load()
}

func (who *login) isSO() bool { return who != nil && who.user == pkcs11.CKU_SO }

func (x *session) cred() hsm.Credential { return x.login.credential() }

// Login logs a user in. PKCS#11 v3.2, C_Login.
func (l *Library) Login(h SessionHandle, user pkcs11.UserType, pin []byte) error {
	return l.login("Login", h, user, pin, "")
}

// LoginUser logs a user in by name. PKCS#11 v3.2, C_LoginUser.
func (l *Library) LoginUser(h SessionHandle, user pkcs11.UserType, pin, name []byte) error {
	return l.login("LoginUser", h, user, pin, string(name))
}

func (l *Library) login(function string, h SessionHandle, user pkcs11.UserType, pin []byte, name string) error {
	return l.inSession(function, h, func(x *session) error {
		switch user {
		case pkcs11.CKU_SO, pkcs11.CKU_USER:
			return x.slot.enter(x, user, pin, name)
		case pkcs11.CKU_CONTEXT_SPECIFIC:
			return x.authenticate(pin)
		}
		return pkcs11.Errorf(pkcs11.CKR_USER_TYPE_INVALID, "user type %d", uint(user))
	})
}

// enter logs a user in for all sessions of the slot.
func (s *slot) enter(x *session, user pkcs11.UserType, pin []byte, name string) error {
	s.loginMu.Lock()
	defer s.loginMu.Unlock()
	if err := s.mayEnter(x, user, name); err != nil {
		return err
	}
	cred, err := x.hsm.Login(x.ctx, user, name, pin)
	if err != nil {
		if pkcs11.RVOf(err) == pkcs11.CKR_TOKEN_NOT_INITIALIZED {
			// The value is new in 3.2; a caller of C_Login has known this one since 2.0.
			return pkcs11.Errorf(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, "%w", err)
		}
		return err
	}
	who := &login{user: user, name: name, person: s.library.kept.personOf(name, pin)}
	who.cred.Store(&cred)
	s.mu.Lock()
	s.census.guard(true) // no read-only session comes in while they are counted
	err = s.admits(x, user)
	if err == nil {
		s.login.Store(who)
	}
	s.guard()
	s.mu.Unlock()
	if err != nil {
		s.logout(cred)
	}
	return err
}

func (s *slot) mayEnter(x *session, user pkcs11.UserType, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who := s.login.Load(); who != nil {
		if who.user == user && who.name == name {
			return pkcs11.CKR_USER_ALREADY_LOGGED_IN
		}
		return pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN
	}
	return s.admits(x, user)
}

// admits looks at the slot's sessions, which may change while a PIN is being checked. The caller holds mu.
func (s *slot) admits(x *session, user pkcs11.UserType) error {
	if x.stage.Load() != open {
		return pkcs11.CKR_SESSION_CLOSED
	}
	if all, rw := s.census.count(); user == pkcs11.CKU_SO && rw < all {
		return pkcs11.Errorf(pkcs11.CKR_SESSION_READ_ONLY_EXISTS, "%d read-only sessions are open", all-rw)
	}
	return nil
}

// authenticate checks the PIN for the session's operations that wait for it. A wrong one leaves them as they are.
// PKCS#11 v3.2, section 4.10 on CKA_ALWAYS_AUTHENTICATE.
func (x *session) authenticate(pin []byte) error {
	waiting := false
	var ops []*operation
	for kind := range x.operations {
		ops = append(ops, x.running(hsm.OpKind(kind)))
	}
	for kind := range x.messages {
		if p := x.process(hsm.OpKind(kind)); p != nil {
			ops = append(ops, p.op)
		}
	}
	for _, op := range ops {
		if op == nil || op.pending != nil || !op.MustAuthenticate() {
			continue
		}
		waiting = true
		if err := op.Authenticate(x.ctx, pin); err != nil {
			x.slot.endIfLocked(x.login, err)
			return err
		}
	}
	if !waiting {
		return pkcs11.CKR_OPERATION_NOT_INITIALIZED
	}
	return nil
}

// Logout logs the user out in all sessions of the slot. PKCS#11 v3.2, C_Logout.
func (l *Library) Logout(h SessionHandle) error {
	return l.inSession("Logout", h, func(x *session) error {
		if x.login == nil || !x.slot.leave(x.login) {
			return pkcs11.CKR_USER_NOT_LOGGED_IN
		}
		return nil
	})
}

// leave ends a login if it is the slot's.
func (s *slot) leave(who *login) bool {
	s.mu.Lock()
	was := s.login.CompareAndSwap(who, nil)
	s.guard()
	s.mu.Unlock()
	if was {
		s.ended(who)
	}
	return was
}

// forget takes the login away and returns it. The caller holds mu.
func (s *slot) forget() *login {
	who := s.login.Swap(nil)
	s.guard()
	return who
}

// guard has sessions ask whether they may come in: not after C_Finalize, and not read-only beside the SO. The caller holds mu.
func (s *slot) guard() { s.census.guard(s.gone || s.login.Load().isSO()) }

// ended gives up what belonged to a login that the slot has no more: the handles of private objects, private session
// objects, the credential.
func (s *slot) ended(who *login) {
	if who == nil {
		return
	}
	t, err := s.token()
	if err != nil {
		return
	}
	s.discard(t, s.objects.sweep())
	if who.free() {
		s.logout(who.credential())
	}
}

// logout ends a credential. It is forgotten here whatever the token says, so an error is no answer for the caller.
func (s *slot) logout(cred hsm.Credential) {
	t, err := s.token()
	if err != nil {
		return
	}
	ctx, cancel := s.cleanup()
	defer cancel()
	s.library.log("Logout", t.Logout(ctx, cred))
}

// endIfLocked logs a user out whose PIN has just been locked (PKCS#11 v3.2, section 4.10).
func (s *slot) endIfLocked(who *login, err error) {
	if who != nil && pkcs11.RVOf(err) == pkcs11.CKR_PIN_LOCKED {
		s.leave(who)
	}
}

// checkLogin drops a login whose credential has ended on the far side: another process has set a new PIN, say. The
// return value alone does not tell that from a right that the user lacks, so a search for nothing, which any user may
// do, is tried: after a C_SetPIN that is under way, which ends the credential and puts a fresh one in its place.
func (x *session) checkLogin(err error) {
	if x.login == nil || pkcs11.RVOf(err) != pkcs11.CKR_USER_NOT_LOGGED_IN {
		return
	}
	x.slot.loginMu.Lock()
	defer x.slot.loginMu.Unlock()
	nothing := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_UNIQUE_ID, []byte{})}
	if _, err := x.hsm.Find(x.ctx, x.cred(), nothing); pkcs11.RVOf(err) == pkcs11.CKR_USER_NOT_LOGGED_IN {
		x.slot.leave(x.login)
	}
}
