package engine

import (
	"context"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

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
	return e.hold(ctx, account, v.epoch(account.Role), v.header.Serial, root)
}

// errReplaced answers who gave the PIN of a user or of a token that has just been replaced.
var errReplaced = pkcs11.Errorf(pkcs11.CKR_PIN_INCORRECT, "the PIN or the token was replaced at the same time")

// hold makes a live credential, which takes over the root, and unlocks the private objects for who may see them.
func (e *Engine) hold(ctx context.Context, account auth.Account, epoch uint64, serial string, root *secret.Bytes) (hsm.Credential, error) {
	c := &credential{engine: e, account: account, epoch: epoch, serial: serial, root: root}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Under the root of a token that is gone, private objects would be written that nobody can read again.
	if v := e.view.Load(); v == nil || v.header.Serial != serial || v.epoch(account.Role) > epoch {
		c.end()
		return nil, errReplaced
	}
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
	if c, ok := cred.(*credential); ok && c.engine == e {
		e.release(c)
	}
	return nil
}

// release ends a credential.
func (e *Engine) release(c *credential) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.end()
	delete(e.holders, c)
	e.lockUnlessHeld()
}

// dismiss ends the credentials that are not good any more, whether or not anybody uses them again. The caller holds mu.
func (e *Engine) dismiss(v *view) {
	for c := range e.holders {
		if !c.good(v) {
			c.end()
			delete(e.holders, c)
		}
	}
	e.lockUnlessHeld()
}

// lockUnlessHeld locks the private objects when the last credential that may see them has ended. The caller holds mu.
func (e *Engine) lockUnlessHeld() {
	for c := range e.holders {
		if c.account.Role.May(auth.ReadPrivate) {
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

// gate is what a store has that several processes use at once: Alone waits until no other process is between Alone and
// done. It ends with the process and, so that nobody waits for one that was stopped, after a while by itself.
type gate interface {
	Alone(ctx context.Context) (done func(), err error)
}

// checkPIN opens the root key with a PIN and counts failures; it returns the view in which it found the user. The caller
// holds loginMu.
//
// The first wrong PIN is counted after it was tried, so that a login costs no write while all is well. Once there has
// been one, each attempt is counted before it is tried, so that a process which is killed, or many at once, gain
// nothing; and one process at a time tries, so that those who are right do not lock each other out.
func (e *Engine) checkPIN(ctx context.Context, account auth.Account, pin []byte) (*secret.Bytes, *view, error) {
	v, u, err := e.userNow(account)
	if err == nil && u.Failures > 0 {
		var done func()
		if done, err = e.alone(ctx); err != nil {
			return nil, nil, err
		}
		if v, u, err = e.userNow(account); err == nil && u.Failures > 0 {
			defer done()
		} else {
			done() // one of those before has given the right PIN: the others need not wait for each other
		}
	}
	if err != nil {
		return nil, nil, err
	}
	countFirst := u.Failures > 0
	if countFirst {
		if err := e.count(ctx, account, v, attempt); err != nil {
			return nil, nil, err
		}
	}
	root, err := vault.UnwrapRoot(u.Root, pin, rootLabel(account, v.header))
	if errors.Is(err, vault.ErrWrongPIN) {
		if !countFirst {
			if err := e.count(ctx, account, v, func(n int) (int, error) { return n + 1, nil }); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, pkcs11.CKR_PIN_INCORRECT
	}
	if err != nil {
		return nil, nil, err
	}
	if countFirst {
		if err := e.count(ctx, account, v, func(int) (int, error) { return 0, nil }); err != nil {
			root.Zero()
			return nil, nil, err
		}
	}
	return root, v, nil
}

// alone waits at the store's gate, where it has one.
func (e *Engine) alone(ctx context.Context) (done func(), err error) {
	if o := e.open.Load(); o != nil {
		if g, ok := o.store.(gate); ok {
			return g.Alone(ctx)
		}
	}
	return func() {}, nil
}

// attempt counts an attempt, unless there have been enough.
func attempt(failures int) (int, error) {
	if failures >= auth.MaxFailures {
		return 0, pkcs11.Errorf(pkcs11.CKR_PIN_LOCKED, "%d wrong PINs in a row", failures)
	}
	return failures + 1, nil
}

// userNow returns the user of an account as he is now.
func (e *Engine) userNow(account auth.Account) (*view, *auth.User, error) {
	v, err := e.now()
	if err != nil {
		return nil, nil, err
	}
	u, ok := v.users[account.Role]
	if !ok {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, "the %v has no PIN yet", account.User)
	}
	return v, u.user, nil
}

func rootLabel(account auth.Account, h header) vault.Label {
	return vault.Label{Kind: account.Record, ID: h.identity, Version: 1}
}

// count changes the failure counter of the user that was shows, whatever else happens to the record meanwhile. A medium
// that cannot be written cannot count: then the cost of the KDF alone stands between a guesser and the PIN
// (docs/limits.md).
func (e *Engine) count(ctx context.Context, account auth.Account, was *view, next func(int) (int, error)) error {
	for {
		v, u, err := e.sameUser(account, was)
		if err != nil {
			return err
		}
		changed := *u
		if changed.Failures, err = next(u.Failures); err != nil {
			return err
		}
		if o := e.open.Load(); o != nil && o.store.ReadOnly() {
			return nil
		}
		if err := e.putUser(ctx, v, account, &changed); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// sameUser returns the user that was shows as he is now; errReplaced if his PIN or the token is another.
func (e *Engine) sameUser(account auth.Account, was *view) (*view, *auth.User, error) {
	v, err := e.now()
	if err != nil {
		return nil, nil, err
	}
	u, old := v.users[account.Role].user, was.users[account.Role].user
	if v.header.Serial != was.header.Serial || (u == nil) != (old == nil) || u != nil && u.Epoch != old.Epoch {
		return nil, nil, errReplaced
	}
	return v, u, nil
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
