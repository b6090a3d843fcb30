package engine

import (
	"bytes"
	"context"
	"errors"
	"time"

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
	c, err := e.call(ctx, "Login", []byte{byte(user)}, []byte(name), pin)
	if err != nil {
		return nil, err
	}
	done, err := e.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	account, pin, err = e.identify(account, name, pin)
	if err != nil {
		return nil, err
	}
	root, v, err := e.checkPIN(ctx, c, account, pin)
	if err != nil {
		return nil, err
	}
	cred, err = e.hold(ctx, account, v.epoch(account), v.header.life, root)
	if err == nil {
		e.review(ctx)
	}
	return cred, err
}

// turn waits for a place among those who check PINs, in the order of arrival.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	select {
	case e.logins <- struct{}{}:
		return func() { <-e.logins }, nil
	case <-ctx.Done():
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "waiting to check a PIN: %w", ctx.Err())
	}
}

// identify tells whose PIN it is, and which part of it: name:PIN is that of the user of that name if there is one.
func (e *Engine) identify(own auth.Account, name string, pin []byte) (auth.Account, []byte, error) {
	if name != "" {
		account, err := e.named(own, name)
		return account, pin, err
	}
	prefix, rest, cut := bytes.Cut(pin, []byte{':'})
	if !cut || auth.CheckName(string(prefix)) != nil {
		return own, pin, nil
	}
	v, err := e.now()
	if errors.Is(err, errNoToken) {
		return own, pin, nil
	}
	if err != nil {
		return own, nil, err
	}
	account, err := e.named(own, string(prefix))
	if err != nil || v.users[account.Record].user == nil {
		return own, pin, err
	}
	return account, rest, nil
}

// named returns the account of a user with a name, whether or not there is one.
func (e *Engine) named(own auth.Account, name string) (auth.Account, error) {
	if e.node == nil {
		return own.Named(name, namedRecord(own.User, name)), nil
	}
	key, err := e.node.userRecord(own.User, name)
	return own.Named(name, key), err
}

// errReplaced answers who gave the PIN of a user or of a token that has just been replaced.
var errReplaced = pkcs11.Errorf(pkcs11.CKR_PIN_INCORRECT, "the PIN or the token was replaced at the same time")

// hold makes a live credential, which takes over the root, and unlocks the private objects for who may see them.
func (e *Engine) hold(ctx context.Context, account auth.Account, epoch uint64, life string, root *secret.Bytes) (hsm.Credential, error) {
	c := &credential{engine: e, account: account, role: account.Role, epoch: epoch, life: life, root: root}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Under the root of a token that is gone, private objects would be written that nobody can read again.
	v := e.view.Load()
	if v == nil || v.header.life != life || v.epoch(account) > epoch {
		c.end()
		return nil, errReplaced
	}
	if e.node != nil { // nothing is unlocked, and nobody has to log out
		c.role, c.holder = v.users[account.Record].role, hsm.CallerOf(ctx).Holder
		return c, nil
	}
	if c.role.May(auth.ReadPrivate) && e.private.Load() == nil {
		b, err := vault.NewBarrier(c.root, v.header.Serial)
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

// release ends a credential. A node's may be held elsewhere: it ends by itself.
func (e *Engine) release(c *credential) {
	if e.node != nil {
		return
	}
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
		if c.role.May(auth.ReadPrivate) {
			return
		}
	}
	e.lock()
}

// lock forgets the private objects. The caller holds mu.
func (e *Engine) lock() {
	if e.node != nil {
		return
	}
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

// checkPIN opens the root key with a PIN, or on a node just checks the PIN, and counts failures; it returns the view in
// which it found the user. The caller has its turn.
//
// The first wrong PIN is counted after it was tried, so that a login costs no write while all is well. Once there has
// been one, each attempt is counted before it is tried, so that a process which is killed, or many at once, gain
// nothing; and one process at a time tries, so that those who are right do not lock each other out. A first one that could not
// be counted, for the store is full for instance, is counted with the next attempt, before that is tried.
//
// Counts of a request that is sent again are not made again: the very same PIN was tried by the first.
func (e *Engine) checkPIN(ctx context.Context, c *call, account auth.Account, pin []byte) (*secret.Bytes, *view, error) {
	v, u, err := e.userNow(account)
	if errors.Is(err, errNobody) {
		return nil, nil, e.refuseNobody(pin)
	}
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
	_, owed := e.uncounted.Load(account.Record)
	countFirst := u.Failures > 0 || owed
	if countFirst {
		err := e.count(ctx, c, countAttempt, account, v, pick(owed, attemptAndOwed, attempt))
		if pkcs11.RVOf(err) == pkcs11.CKR_PIN_LOCKED {
			err = c.unless(ctx, countAttempt, err) // the last attempt, sent again, is not one too many
		}
		if err != nil {
			return nil, nil, err
		}
		e.uncounted.Delete(account.Record)
	}
	root, err := e.tryPIN(u, pin, v, account)
	// Who gives up now has tried it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countWithin)
	defer cancel()
	if errors.Is(err, vault.ErrWrongPIN) {
		if !countFirst {
			err := e.count(ctx, c, countAttempt, account, v, func(n int) (int, error) { return n + 1, nil })
			if err != nil && !errors.Is(err, errReplaced) {
				e.uncounted.Store(account.Record, true)
			}
			if err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, pkcs11.CKR_PIN_INCORRECT
	}
	if err != nil {
		return nil, nil, err
	}
	if countFirst {
		if err := e.count(ctx, c, takeBack, account, v, func(int) (int, error) { return 0, nil }); err != nil {
			root.Zero()
			return nil, nil, err
		}
	}
	return root, v, nil
}

// countWithin is how long the store may take to count a PIN that was tried, whoever still waits for the answer.
const countWithin = 10 * time.Second

// tryPIN tries a PIN: vault.ErrWrongPIN. On a node there is no root to return.
func (e *Engine) tryPIN(u *auth.User, pin []byte, v *view, account auth.Account) (*secret.Bytes, error) {
	if e.node != nil {
		return nil, vault.VerifyPIN(u.Root, pin, pinLabel(account, v.header))
	}
	return vault.UnwrapRoot(u.Root, pin, rootLabel(account, v.header))
}

// refuseNobody answers who logs in as a user that is not there, after the time that a user's PIN takes.
func (e *Engine) refuseNobody(pin []byte) error {
	if _, err := vault.NewVerifier(pin, e.opts.KDF, vault.Label{}); err != nil {
		return err
	}
	return pkcs11.CKR_PIN_INCORRECT
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

// attemptAndOwed is attempt where one before could not be counted.
func attemptAndOwed(failures int) (int, error) {
	n, err := attempt(failures)
	return n + 1, err
}

// userNow returns the user of an account as he is now.
func (e *Engine) userNow(account auth.Account) (*view, *auth.User, error) {
	v, err := e.now()
	if err != nil {
		return nil, nil, err
	}
	u := v.users[account.Record].user
	if u == nil && account.Name != "" {
		return nil, nil, errNobody
	}
	if u == nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, "the %v has no PIN yet", account.User)
	}
	return v, u, nil
}

// errNobody: there is no user of that name.
var errNobody = pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "there is no user of that type and name")

func rootLabel(account auth.Account, h header) vault.Label {
	return vault.Label{Kind: account.Record, ID: h.identity, Version: 1}
}

// pinLabel is rootLabel for the verifier of a node's user.
func pinLabel(account auth.Account, h header) vault.Label {
	return vault.Label{Kind: "pin", ID: account.Record + "@" + h.life, Version: 1}
}

// count changes the failure counter of the user that was shows, whatever else happens to the record meanwhile. A medium
// that cannot be written cannot count: then the cost of the KDF alone stands between a guesser and the PIN
// (docs/limits.md).
func (e *Engine) count(ctx context.Context, c *call, s step, account auth.Account, was *view, next func(int) (int, error)) error {
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
		if err := e.putUser(ctx, c, s, v, account, &changed); !errors.Is(err, store.ErrConflict) {
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
	u, old := v.users[account.Record].user, was.users[account.Record].user
	if v.header.life != was.header.life || (u == nil) != (old == nil) || u != nil && u.Epoch != old.Epoch {
		return nil, nil, errReplaced
	}
	return v, u, nil
}

// putUser writes a user's record over the one that v shows, and more with it.
func (e *Engine) putUser(ctx context.Context, c *call, s step, v *view, account auth.Account, u *auth.User, more ...store.Op) error {
	b, err := e.marshalUser(v.header, account, u)
	if err != nil {
		return err
	}
	cmp := store.Compare{Key: account.Record, Modified: v.users[account.Record].revision}
	return e.commit(ctx, c, s, v, []store.Compare{cmp}, append(more, store.Op{Key: account.Record, Value: b}))
}

func (e *Engine) marshalUser(h header, account auth.Account, u *auth.User) ([]byte, error) {
	if e.node != nil {
		return e.node.sealUser(h, account.Record, u)
	}
	return u.Marshal()
}
