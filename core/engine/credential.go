package engine

import (
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// credential is a login. It is good as long as the user's epoch and the token are the same.
type credential struct {
	engine  *Engine
	account auth.Account
	role    auth.Role
	epoch   uint64
	life    string
	ended   atomic.Bool
	seen    atomic.Pointer[view] // the view in which it was last found good

	root *secret.Bytes // embedded: what the PIN has opened

	// On a node: who the login was given to, and the Unix time when it ends unless renewed. A credential that has not
	// left the node has no end.
	holder  string
	expires int64
}

func (c *credential) User() pkcs11.UserType { return c.account.User }

// good reports whether the token and the user's PIN are still those of the login.
func (c *credential) good(v *view) bool {
	if c.ended.Load() || v == nil {
		return false
	}
	if c.seen.Load() == v {
		return true
	}
	if v.header.life != c.life || v.epoch(c.account) != c.epoch {
		return false
	}
	c.seen.Store(v)
	return true
}

// end wipes the root. The caller holds the engine's mu.
func (c *credential) end() {
	if c.ended.CompareAndSwap(false, true) {
		c.root.Zero()
	}
}

// own returns a credential of this engine; nil for nobody's.
func (e *Engine) own(cred hsm.Credential) (*credential, error) {
	if cred == nil {
		return nil, nil
	}
	c, ok := cred.(*credential)
	if !ok || c.engine != e {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a credential of another engine")
	}
	return c, nil
}

// role tells who asks. A credential whose user has a new PIN, or whose token is gone, has ended.
func (e *Engine) role(cred hsm.Credential) (auth.Role, error) {
	c, err := e.own(cred)
	if err != nil {
		return 0, err
	}
	v := e.view.Load()
	if c == nil {
		if v != nil && v.header.dormant {
			return auth.Outsider, nil
		}
		return auth.Public, nil
	}
	if !c.good(v) {
		e.release(c)
		return 0, errEnded
	}
	return c.role, nil
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
