package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// token is an open token and who is logged in to it.
type token struct {
	hsm.HSM
	app  *app
	slot config.Slot
	cred hsm.Credential // nil: nobody
}

// openToken opens the token of the chosen slot, which must exist.
func (a *app) openToken() (*token, error) {
	slot, err := a.chosenSlot()
	if err != nil {
		return nil, err
	}
	if empty(slot) {
		return nil, notFound("slot %d has no token yet: there is no %s", "make one: coffer token init --label NAME", slot.ID, slot.Path)
	}
	return a.openSlot(slot)
}

// empty reports whether a slot has no token because there is no file. What is behind a node shows when it is asked.
func empty(slot config.Slot) bool {
	if slot.Remote() {
		return false
	}
	_, err := os.Stat(slot.Path)
	return errors.Is(err, fs.ErrNotExist)
}

// openSlot opens a slot, whether or not there is a token in it.
func (a *app) openSlot(slot config.Slot) (*token, error) {
	if slot.Socket != "" {
		if err := somebodyListens(slot.Socket); err != nil {
			return nil, err
		}
	}
	h, err := a.open(slot)
	if err != nil {
		return nil, err
	}
	return &token{HSM: h, app: a, slot: slot}, nil
}

// close logs out and gives the token back; it may be called twice. What had to be written is written already.
func (t *token) close() {
	if t.HSM == nil {
		return
	}
	if t.cred != nil {
		t.Logout(context.Background(), t.cred)
	}
	t.Close()
	t.HSM, t.cred = nil, nil
}

// login logs a user in, with his PIN from wherever it comes.
func (t *token) login(ctx context.Context, user pkcs11.UserType) error {
	kind := pinUser
	if user == pkcs11.CKU_SO {
		kind = pinSO
	}
	if err := t.initialized(ctx); err != nil {
		return err
	}
	pin, err := t.app.pin(kind, false)
	if err != nil {
		return err
	}
	cred, err := t.Login(ctx, user, t.app.nameOf(user), pin.Expose())
	if err != nil {
		return &loginError{user, err}
	}
	t.cred = cred
	return nil
}

// nameOf is who logs in as a type of user.
func (a *app) nameOf(user pkcs11.UserType) string {
	if user == pkcs11.CKU_SO {
		return a.adminName
	}
	return a.userName
}

// initialized refuses early, so that nobody is asked for a PIN in vain.
func (t *token) initialized(ctx context.Context) error {
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		return notFound("the token in slot %d is not initialised", "coffer token init --label NAME", t.slot.ID)
	}
	return nil
}

// withToken runs f on the chosen slot's token, logged in as user unless public is true.
func (a *app) withToken(ctx context.Context, public bool, f func(*token) error) error {
	t, err := a.openToken()
	if err != nil {
		return err
	}
	defer t.close()
	if public {
		err = t.initialized(ctx)
	} else {
		err = t.login(ctx, pkcs11.CKU_USER)
	}
	if err != nil {
		return err
	}
	return f(t)
}

// withSO runs f on the chosen slot's token, logged in as the security officer.
func (a *app) withSO(ctx context.Context, f func(*token) error) error {
	t, err := a.openToken()
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.login(ctx, pkcs11.CKU_SO); err != nil {
		return err
	}
	return f(t)
}

// withPublic runs f first without a login, because most keys that it wants are public. Where that does not find the key,
// or the key needs one, f runs once more after a login. With login set it is logged in at once.
func (a *app) withPublic(ctx context.Context, login bool, f func(*token) error) error {
	return a.withToken(ctx, !login, func(t *token) error {
		err := f(t)
		if err == nil || t.cred != nil {
			return err
		}
		if p := explain(err); p.code != exitNotFound && p.rv != pkcs11.CKR_USER_NOT_LOGGED_IN {
			return err
		}
		if !a.pinGiven(pinUser) && !a.interactive() {
			return err
		}
		if err := t.login(ctx, pkcs11.CKU_USER); err != nil {
			return err
		}
		return f(t)
	})
}
