package engine

import (
	"context"
	"errors"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Bootstrap writes the first records of a cluster: a token that is not activated yet, and its temporary administrator, whose
// PIN is the activation code. He can do nothing but choose a PIN of his own (SetPIN), which makes him an administrator and the
// token initialised. CKR_ACTION_PROHIBITED where there is a token already. Root and PIN stay the caller's.
func Bootstrap(ctx context.Context, s store.Store, root *secret.Bytes, serial, label string, activationPIN []byte) (err error) {
	defer answer(&err)
	if err := auth.CheckNewPIN(activationPIN); err != nil {
		return err
	}
	n, err := newNode(&NodeOptions{Root: root, Serial: serial})
	if err != nil {
		return err
	}
	defer n.close()
	so, err := auth.AccountOf(pkcs11.CKU_SO)
	if err != nil {
		return err
	}
	so.Role = auth.Preliminary
	ops, err := n.newToken(activationPIN, vault.DefaultKDF, n.newHeader(label, true), so)
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, []store.Compare{{Key: tokenKey}, {Key: so.Record}}, ops)
	if errors.Is(err, store.ErrConflict) {
		return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the store holds a token already")
	}
	return err
}
