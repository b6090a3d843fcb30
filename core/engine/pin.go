package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// chooser is who chooses a new PIN.
type chooser bool

const (
	bySelf  chooser = true
	byOther chooser = false
)

// setPIN wraps the root of the token that was shows under a new PIN, which ends the user's credentials, and returns the
// user. On a node the new PIN gets a verifier, and who is only to activate the token does so.
func (e *Engine) setPIN(ctx context.Context, c *call, was *view, account auth.Account, root *secret.Bytes, pin []byte, by chooser) (*auth.User, error) {
	if err := auth.CheckNewPIN(pin); err != nil {
		return nil, err
	}
	wrapped, err := e.wrapPIN(was.header, account, root, pin)
	if err != nil {
		return nil, err
	}
	for {
		v, old, err := e.sameUser(account, was)
		if err != nil {
			return nil, err
		}
		u, more, err := e.renewed(v, account, old, by)
		if err != nil {
			return nil, err
		}
		u.Root = wrapped
		if err := e.putUser(ctx, c, doIt, v, account, u, more...); !errors.Is(err, store.ErrConflict) {
			return u, err
		}
	}
}

func (e *Engine) wrapPIN(h header, account auth.Account, root *secret.Bytes, pin []byte) ([]byte, error) {
	if e.node != nil {
		return vault.NewVerifier(pin, e.opts.KDF, pinLabel(account, h))
	}
	return vault.WrapRoot(root, pin, e.opts.KDF, rootLabel(account, h))
}

// renewed returns a user's record of the next epoch, without a PIN, and what is to be written with it.
func (e *Engine) renewed(v *view, account auth.Account, old *auth.User, by chooser) (u *auth.User, more []store.Op, err error) {
	u = &auth.User{Epoch: 1}
	if old != nil {
		u.Epoch = old.Epoch + 1
	}
	if e.node == nil && account.Name == "" {
		return u, nil, nil
	}
	role := account.Role
	if old != nil {
		role = v.users[account.Record].role
	} else {
		u.Epoch = firstEpoch()
	}
	if next, changes := role.Activated(); changes && by == bySelf {
		role = next
		h := v.header
		h.dormant = false
		op, err := e.node.sealHeader(h)
		if err != nil {
			return nil, nil, err
		}
		more = []store.Op{op}
	}
	u.Type, u.Name, u.Role = account.User, account.Name, role.String()
	return u, more, nil
}

// firstEpoch is where the epochs of a user begin, but for the own users of a token of one machine: not where those of one began who had the same name and was
// deleted, for his credentials may still be about.
func firstEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) >> 2
}

// InitPIN gives the normal user a PIN. PKCS#11 v3.2, C_InitPIN.
func (e *Engine) InitPIN(ctx context.Context, cred hsm.Credential, pin []byte) (err error) {
	defer answer(&err)
	account, err := auth.AccountOf(pkcs11.CKU_USER)
	if err != nil {
		return err
	}
	c, err := e.call(ctx, "InitPIN", pin)
	if err != nil {
		return err
	}
	return e.givePIN(ctx, c, cred, account, pin, auth.SetUserPIN)
}

// givePIN sets the PIN of another user, who may have none yet.
func (e *Engine) givePIN(ctx context.Context, c *call, cred hsm.Credential, account auth.Account, pin []byte, a auth.Action) error {
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	for {
		if err := e.initPIN(ctx, c, cred, account, pin, a); !errors.Is(err, errReplaced) {
			return err
		}
		// The user has a new PIN meanwhile; the SO's word is the last.
	}
}

func (e *Engine) initPIN(ctx context.Context, c *call, cred hsm.Credential, account auth.Account, pin []byte, a auth.Action) error {
	if err := e.refresh(); err != nil {
		return err
	}
	if err := e.may(cred, a); err != nil {
		return err
	}
	root, v, err := e.rootOf(cred.(*credential))
	if err != nil {
		return err
	}
	defer root.Zero()
	_, err = e.setPIN(ctx, c, v, account, root, pin, byOther)
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
//
// A user with a name may give both PINs as name:PIN, as he does in Login.
func (e *Engine) SetPIN(ctx context.Context, user pkcs11.UserType, name string, oldPIN, newPIN []byte) (cred hsm.Credential, err error) {
	defer answer(&err)
	account, err := auth.AccountOf(user)
	if err != nil {
		return nil, err
	}
	c, err := e.call(ctx, "SetPIN", []byte{byte(user)}, []byte(name), oldPIN, newPIN)
	if err != nil {
		return nil, err
	}
	done, err := e.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	account, oldPIN, err = e.identify(account, name, oldPIN)
	if err != nil {
		return nil, err
	}
	if name == "" && account.Name != "" {
		newPIN = bytes.TrimPrefix(newPIN, []byte(account.Name+":"))
	}
	if err := auth.CheckNewPIN(newPIN); err != nil {
		return nil, err
	}
	if before, err := c.did(ctx, doIt); err != nil {
		return nil, err
	} else if before { // the old PIN is wrong now
		_, v, err := e.checkPIN(ctx, c, account, newPIN)
		if err != nil {
			return nil, err
		}
		return e.hold(ctx, account, v.epoch(account), v.header.life, nil)
	}
	root, v, err := e.checkPIN(ctx, c, account, oldPIN)
	if err != nil {
		return nil, err
	}
	if e.node != nil && !v.users[account.Record].role.May(auth.SetOwnPIN) {
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the user's role does not let him choose a PIN")
	}
	u, err := e.setPIN(ctx, c, v, account, root, newPIN, bySelf)
	if err != nil {
		root.Zero()
		return nil, err
	}
	return e.hold(ctx, account, u.Epoch, v.header.life, root)
}

// verifyPIN checks the PIN of who is logged in, or of the normal user, and changes no login.
func (e *Engine) verifyPIN(ctx context.Context, cred hsm.Credential, pin []byte) error {
	account, err := auth.AccountOf(pkcs11.CKU_USER)
	if err != nil {
		return err
	}
	c, err := e.call(ctx, "Authenticate", pin)
	if err != nil {
		return err
	}
	if who, ok := cred.(*credential); ok && who.account.Name != "" {
		account = who.account
		pin = bytes.TrimPrefix(pin, []byte(account.Name+":"))
	}
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	root, _, err := e.checkPIN(ctx, c, account, pin)
	if err != nil {
		return err
	}
	root.Zero()
	return nil
}
