package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// InitToken makes a new token or erases the one that is there; the label's padding is cut off by the caller or left as
// it is. Sessions of other applications are the token's to judge. PKCS#11 v3.2, C_InitToken.
func (l *Library) InitToken(id SlotID, soPIN []byte, label string) error {
	return l.onToken("InitToken", id, func(s *slot, t hsm.HSM) error {
		// Held to the end: no session may open meanwhile.
		s.mu.Lock()
		defer s.mu.Unlock()
		if n, _ := s.census.count(); n > 0 {
			return pkcs11.Errorf(pkcs11.CKR_SESSION_EXISTS, "%d sessions are open", n)
		}
		if err := t.InitToken(s.run.ctx, soPIN, label); err != nil {
			return err
		}
		s.objects.reset()
		s.states.reset()
		l.kept.erased(id)
		return nil
	})
}

// InitPIN sets the normal user's PIN, for the SO. PKCS#11 v3.2, C_InitPIN.
func (l *Library) InitPIN(h SessionHandle, pin []byte) error {
	return l.inSession("InitPIN", h, func(x *session) error {
		if !x.rw || x.login == nil || x.login.user != pkcs11.CKU_SO {
			return pkcs11.CKR_USER_NOT_LOGGED_IN
		}
		return x.hsm.InitPIN(x.ctx, x.cred(), pin)
	})
}

// SetPIN replaces the PIN of who is logged in, or the normal user's. The login goes on under the new PIN. PKCS#11 v3.2,
// C_SetPIN.
func (l *Library) SetPIN(h SessionHandle, oldPIN, newPIN []byte) error {
	return l.inSession("SetPIN", h, func(x *session) error {
		if !x.rw {
			return x.readOnly()
		}
		x.slot.loginMu.Lock()
		defer x.slot.loginMu.Unlock()
		x.login = x.slot.login.Load()
		user, name := pkcs11.CKU_USER, ""
		if x.login != nil {
			user, name = x.login.user, x.login.name
		}
		cred, err := x.hsm.SetPIN(x.ctx, user, name, oldPIN, newPIN)
		if err != nil {
			x.slot.endIfLocked(x.login, err)
			return err
		}
		if !x.slot.renew(x.login, cred) {
			x.slot.logout(cred)
		}
		return nil
	})
}

// renew gives a login that is still the slot's a fresh credential.
func (s *slot) renew(who *login, cred hsm.Credential) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who == nil || s.login.Load() != who {
		return false
	}
	who.cred.Store(&cred)
	return true
}
