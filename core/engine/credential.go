package engine

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// credential is a login in this process. It is good as long as the user's epoch and the token are the same.
type credential struct {
	engine  *Engine
	account auth.Account
	epoch   uint64
	serial  string
	root    *secret.Bytes
	ended   atomic.Bool
}

func (c *credential) User() pkcs11.UserType { return c.account.User }

// good reports whether the token and the user's PIN are still those of the login.
func (c *credential) good(v *view) bool {
	return !c.ended.Load() && v != nil && v.header.Serial == c.serial && v.epoch(c.account.Role) == c.epoch
}

// end wipes the root. The caller holds the engine's mu.
func (c *credential) end() {
	if c.ended.CompareAndSwap(false, true) {
		c.root.Zero()
	}
}

// role tells who asks. A credential whose user has a new PIN, or whose token is gone, has ended.
func (e *Engine) role(cred hsm.Credential) (auth.Role, error) {
	if cred == nil {
		return auth.Public, nil
	}
	c, ok := cred.(*credential)
	if !ok || c.engine != e {
		return 0, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a credential of another engine")
	}
	if !c.good(e.view.Load()) {
		e.release(c)
		return 0, errEnded
	}
	return c.account.Role, nil
}

var errEnded = pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the login has ended: the PIN or the token was replaced")

// may asks whether the caller may do an action.
func (e *Engine) may(cred hsm.Credential, a auth.Action) error {
	r, err := e.role(cred)
	if err != nil {
		return err
	}
	if !r.May(a) {
		return pkcs11.CKR_USER_NOT_LOGGED_IN
	}
	return nil
}
