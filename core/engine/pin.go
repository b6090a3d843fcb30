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

// setPIN wraps the root of the token that was shows under a new PIN, which ends the user's credentials, and returns the
// user.
func (e *Engine) setPIN(ctx context.Context, was *view, account auth.Account, root *secret.Bytes, pin []byte) (*auth.User, error) {
	if err := auth.CheckNewPIN(pin); err != nil {
		return nil, err
	}
	wrapped, err := vault.WrapRoot(root, pin, e.opts.KDF, rootLabel(account, was.header))
	if err != nil {
		return nil, err
	}
	for {
		v, old, err := e.sameUser(account, was)
		if err != nil {
			return nil, err
		}
		u := &auth.User{Epoch: 1, Root: wrapped}
		if old != nil {
			u.Epoch = old.Epoch + 1
		}
		if err := e.putUser(ctx, v, account, u); !errors.Is(err, store.ErrConflict) {
			return u, err
		}
	}
}

// InitPIN gives the normal user a PIN. PKCS#11 v3.2, C_InitPIN.
func (e *Engine) InitPIN(ctx context.Context, cred hsm.Credential, pin []byte) (err error) {
	defer answer(&err)
	account, err := auth.AccountOf(pkcs11.CKU_USER)
	if err != nil {
		return err
	}
	e.loginMu.Lock()
	defer e.loginMu.Unlock()
	for {
		if err := e.initPIN(ctx, cred, account, pin); !errors.Is(err, errReplaced) {
			return err
		}
		// The user has a new PIN meanwhile; the SO's word is the last.
	}
}

func (e *Engine) initPIN(ctx context.Context, cred hsm.Credential, account auth.Account, pin []byte) error {
	if err := e.refresh(); err != nil {
		return err
	}
	if err := e.may(cred, auth.SetUserPIN); err != nil {
		return err
	}
	root, v, err := e.rootOf(cred.(*credential))
	if err != nil {
		return err
	}
	defer root.Zero()
	_, err = e.setPIN(ctx, v, account, root, pin)
	return err
}

// rootOf copies the root of a credential that has not ended, with the token that it opens.
func (e *Engine) rootOf(c *credential) (*secret.Bytes, *view, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v := e.view.Load(); c.good(v) {
		return c.root.Clone(), v, nil
	}
	return nil, nil, errEnded
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
	u, err := e.setPIN(ctx, v, account, root, newPIN)
	if err != nil {
		root.Zero()
		return nil, err
	}
	return e.hold(ctx, account, u.Epoch, v.header.Serial, root)
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
