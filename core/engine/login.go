package engine

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// credential is a login in this process. It is good as long as the user's epoch and the token are the same.
type credential struct {
	account auth.Account
	epoch   uint64
	serial  string
	root    *secret.Bytes
	ended   atomic.Bool
}

func (c *credential) User() pkcs11.UserType { return c.account.User }

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
	if !ok {
		return 0, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a credential of another engine")
	}
	v := e.view.Load()
	if !c.ended.Load() && v != nil && v.header.Serial == c.serial {
		if u, ok := v.users[c.account.Role]; ok && u.user.Epoch == c.epoch {
			return c.account.Role, nil
		}
	}
	e.release(c)
	return 0, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the login has ended: the PIN or the token was replaced")
}

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

// Login checks a PIN. PKCS#11 v3.2, C_Login.
func (e *Engine) Login(ctx context.Context, user pkcs11.UserType, name string, pin []byte) (cred hsm.Credential, err error) {
	defer answer(&err)
	account, err := auth.AccountOf(user)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_TYPE_INVALID, "this token has no users with names")
	}
	e.loginMu.Lock()
	defer e.loginMu.Unlock()
	root, v, err := e.checkPIN(ctx, account, pin)
	if err != nil {
		return nil, err
	}
	c := &credential{account: account, epoch: v.users[account.Role].user.Epoch, serial: v.header.Serial, root: root}
	return e.hold(ctx, c)
}

// hold makes a credential live and, for who may see private objects, unlocks them.
func (e *Engine) hold(ctx context.Context, c *credential) (hsm.Credential, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.account.Role.May(auth.ReadPrivate) && e.private.Load() == nil {
		b, err := vault.NewBarrier(c.root, c.serial)
		if err != nil {
			c.end()
			return nil, err
		}
		e.private.Store(b)
		if err := e.takePrivate(ctx); err != nil {
			e.lock()
			c.end()
			return nil, err
		}
	}
	e.holders[c] = true
	return c, nil
}

// Logout ends a credential. PKCS#11 v3.2, C_Logout.
func (e *Engine) Logout(_ context.Context, cred hsm.Credential) error {
	if c, ok := cred.(*credential); ok {
		e.release(c)
	}
	return nil
}

// release ends a credential, and locks the private objects after the last one.
func (e *Engine) release(c *credential) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.end()
	delete(e.holders, c)
	for other := range e.holders {
		if other.account.Role.May(auth.ReadPrivate) {
			return
		}
	}
	e.lock()
}

// lock forgets the private objects. The caller holds mu.
func (e *Engine) lock() {
	if b := e.private.Swap(nil); b != nil {
		e.forgetObjects(func(n *entry) bool { return n.private })
		b.Destroy()
	}
}

// checkPIN opens the root key with a PIN and counts failures. The caller holds loginMu.
//
// The first wrong PIN is counted after it was tried, so that a login costs no write while all is well. Once there has
// been one, each attempt is counted before it is tried, so that a process which is killed, or many at once, gain
// nothing.
func (e *Engine) checkPIN(ctx context.Context, account auth.Account, pin []byte) (*secret.Bytes, *view, error) {
	if err := e.refresh(); err != nil {
		return nil, nil, err
	}
	v := e.view.Load()
	u, ok := v.users[account.Role]
	if !ok {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, "the %v has no PIN yet", account.User)
	}
	if u.user.Locked() {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_PIN_LOCKED, "%d wrong PINs in a row", u.user.Failures)
	}
	countFirst := u.user.Failures > 0
	if countFirst {
		if err := e.count(ctx, account, u.user.Epoch, func(n int) int { return n + 1 }); err != nil {
			return nil, nil, err
		}
	}
	root, err := vault.UnwrapRoot(u.user.Root, pin, rootLabel(account, v.header.Serial))
	if errors.Is(err, vault.ErrWrongPIN) {
		if !countFirst {
			if err := e.count(ctx, account, u.user.Epoch, func(n int) int { return n + 1 }); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, pkcs11.CKR_PIN_INCORRECT
	}
	if err != nil {
		return nil, nil, err
	}
	if countFirst {
		if err := e.count(ctx, account, u.user.Epoch, func(int) int { return 0 }); err != nil {
			root.Zero()
			return nil, nil, err
		}
	}
	return root, e.view.Load(), nil
}

func rootLabel(account auth.Account, serial string) vault.Label {
	return vault.Label{Kind: account.Record, ID: serial, Version: 1}
}

// count changes a user's failure counter, whatever else happens to the record meanwhile. A medium that cannot be written
// cannot count: then the cost of the KDF alone stands between a guesser and the PIN (docs/limits.md).
func (e *Engine) count(ctx context.Context, account auth.Account, epoch uint64, next func(int) int) error {
	for {
		v := e.view.Load()
		o := e.open.Load()
		if v == nil || o == nil {
			return errNoToken
		}
		if o.store.ReadOnly() {
			return nil
		}
		u, ok := v.users[account.Role]
		if !ok || u.user.Epoch != epoch {
			return pkcs11.Errorf(pkcs11.CKR_PIN_INCORRECT, "the PIN was replaced at the same time")
		}
		changed := *u.user
		changed.Failures = next(changed.Failures)
		err := e.putUser(ctx, v, account, &changed)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := e.refresh(); err != nil {
			return err
		}
	}
}

// putUser writes a user's record over the one that v shows.
func (e *Engine) putUser(ctx context.Context, v *view, account auth.Account, u *auth.User) error {
	b, err := u.Marshal()
	if err != nil {
		return err
	}
	cmp := store.Compare{Key: account.Record, Modified: v.users[account.Role].revision}
	return e.commit(ctx, v, []store.Compare{cmp}, []store.Op{{Key: account.Record, Value: b}})
}

// setPIN wraps the root under a new PIN and ends the user's credentials.
func (e *Engine) setPIN(ctx context.Context, v *view, account auth.Account, root *secret.Bytes, pin []byte) error {
	if err := auth.CheckNewPIN(pin); err != nil {
		return err
	}
	wrapped, err := vault.WrapRoot(root, pin, e.opts.KDF, rootLabel(account, v.header.Serial))
	if err != nil {
		return err
	}
	u := &auth.User{Epoch: 1, Root: wrapped}
	if old, ok := v.users[account.Role]; ok {
		u.Epoch = old.user.Epoch + 1
	}
	return e.putUser(ctx, v, account, u)
}

// InitPIN gives the normal user a PIN. PKCS#11 v3.2, C_InitPIN.
func (e *Engine) InitPIN(ctx context.Context, cred hsm.Credential, pin []byte) (err error) {
	defer answer(&err)
	if err := e.refresh(); err != nil {
		return err
	}
	if err := e.may(cred, auth.SetUserPIN); err != nil {
		return err
	}
	account, err := auth.AccountOf(pkcs11.CKU_USER)
	if err != nil {
		return err
	}
	e.loginMu.Lock()
	defer e.loginMu.Unlock()
	root := cred.(*credential).root.Clone()
	defer root.Zero()
	return e.setPIN(ctx, e.view.Load(), account, root, pin)
}

// SetPIN replaces a user's own PIN. PKCS#11 v3.2, C_SetPIN.
func (e *Engine) SetPIN(ctx context.Context, user pkcs11.UserType, oldPIN, newPIN []byte) (cred hsm.Credential, err error) {
	defer answer(&err)
	account, err := auth.AccountOf(user)
	if err != nil {
		return nil, err
	}
	if err := auth.CheckNewPIN(newPIN); err != nil {
		return nil, err
	}
	e.loginMu.Lock()
	defer e.loginMu.Unlock()
	root, v, err := e.checkPIN(ctx, account, oldPIN)
	if err != nil {
		return nil, err
	}
	if err := e.setPIN(ctx, v, account, root, newPIN); err != nil {
		root.Zero()
		return nil, err
	}
	now := e.view.Load()
	c := &credential{account: account, epoch: now.users[account.Role].user.Epoch, serial: now.header.Serial, root: root}
	return e.hold(ctx, c)
}

// verifyUserPIN checks the normal user's PIN and changes no login.
func (e *Engine) verifyUserPIN(ctx context.Context, pin []byte) error {
	account, err := auth.AccountOf(pkcs11.CKU_USER)
	if err != nil {
		return err
	}
	e.loginMu.Lock()
	defer e.loginMu.Unlock()
	root, _, err := e.checkPIN(ctx, account, pin)
	if err != nil {
		return err
	}
	root.Zero()
	return nil
}
