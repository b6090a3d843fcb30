package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ListUsers lists the users, the token's own first.
func (e *Engine) ListUsers(_ context.Context, cred hsm.Credential) (list []hsm.User, err error) {
	defer answer(&err)
	v, err := e.now()
	if err != nil {
		return nil, err
	}
	if err := e.may(cred, auth.SeeUsers); err != nil {
		return nil, err
	}
	for _, u := range v.users {
		if u.user != nil {
			list = append(list, hsm.User{Type: u.account.User, Name: u.account.Name, Role: u.role.String(),
				Failures: u.user.Failures, Locked: u.user.Locked()})
		}
	}
	slices.SortFunc(list, func(a, b hsm.User) int {
		own := func(u hsm.User) int { return min(len(u.Name), 1) }
		return cmp.Or(cmp.Compare(own(a), own(b)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// CreateUser makes a user with a name.
func (e *Engine) CreateUser(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string, pin []byte) (err error) {
	defer answer(&err)
	if err := auth.CheckName(name); err != nil {
		return err
	}
	if err := auth.CheckNewPIN(pin); err != nil {
		return err
	}
	c, err := e.call(ctx, "CreateUser", []byte{byte(user)}, []byte(name), pin)
	if err != nil {
		return err
	}
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	for {
		v, account, err := e.target(cred, user, name)
		if err != nil {
			return err
		}
		if v.users[account.Record].user != nil {
			return c.unless(ctx, doIt, errTaken)
		}
		if err = e.firstPIN(ctx, c, cred, account, pin); !errors.Is(err, errReplaced) {
			return err
		}
	}
}

// firstPIN makes the user of an account. In a token of one machine his PIN opens the root, which is the administrator's
// login's to give.
func (e *Engine) firstPIN(ctx context.Context, c *call, cred hsm.Credential, account auth.Account, pin []byte) error {
	root, v, err := e.rootOf(cred.(*credential))
	if err != nil {
		return err
	}
	defer root.Zero()
	_, err = e.setPIN(ctx, c, v, account, root, pin, byOther)
	return err
}

var errTaken = pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "there is a user of that type and name already")

// target returns the account that an administrator wants to manage, whether or not it is there.
func (e *Engine) target(cred hsm.Credential, user pkcs11.UserType, name string) (*view, auth.Account, error) {
	account, err := auth.AccountOf(user)
	if err != nil {
		return nil, account, err
	}
	v, err := e.now()
	if err != nil {
		return nil, account, err
	}
	if err := e.may(cred, auth.ManageUsers); err != nil {
		return nil, account, err
	}
	if name != "" {
		account, err = e.named(account, name)
	}
	return v, account, err
}

// DeleteUser removes a user; his credentials end. Nobody deletes himself, and who deletes must be there when it is done: so
// an administrator always stays.
func (e *Engine) DeleteUser(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string) (err error) {
	defer answer(&err)
	c, err := e.call(ctx, "DeleteUser", []byte{byte(user)}, []byte(name))
	if err != nil {
		return err
	}
	for {
		v, account, err := e.target(cred, user, name)
		if err != nil {
			return err
		}
		self := cred.(*credential).account
		if self.Record == account.Record {
			return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "nobody deletes himself: let another administrator do it")
		}
		if v.users[account.Record].user == nil {
			return c.unless(ctx, doIt, errNobody)
		}
		cmps := []store.Compare{
			{Key: account.Record, Modified: v.users[account.Record].revision},
			{Key: self.Record, Modified: v.users[self.Record].revision},
		}
		err = e.commit(ctx, c, doIt, v, cmps, []store.Op{{Key: account.Record, Delete: true}})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// ResetPIN gives a user a new PIN, which unlocks him and ends his credentials. One's own is changed with C_SetPIN.
func (e *Engine) ResetPIN(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string, pin []byte) (err error) {
	defer answer(&err)
	c, err := e.call(ctx, "ResetPIN", []byte{byte(user)}, []byte(name), pin)
	if err != nil {
		return err
	}
	v, account, err := e.target(cred, user, name)
	if err != nil {
		return err
	}
	switch {
	case cred.(*credential).account.Record == account.Record:
		return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "one's own PIN is changed with C_SetPIN, which asks for the old one")
	case v.users[account.Record].user == nil:
		return errNobody
	}
	return e.givePIN(ctx, c, cred, account, pin, auth.ManageUsers)
}
