package engine

import (
	"context"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What a saved operation begins with: whether it has taken data, and its mechanism's state follows.
const (
	savedFresh = 0
	savedBegun = 1
)

// SaveOperation returns the state of an operation between two parts, in the clear: it stays in this process. (What leaves
// it is SealOperation's.)
func (e *Engine) SaveOperation(_ context.Context, op hsm.Operation) (state []byte, err error) {
	defer answer(&err)
	switch o := op.(type) {
	case *digestOp:
		return hashes.AppendState([]byte{savedBegun}, o.hash)
	case *held:
		return o.save()
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "no operation of this engine")
}

func (h *held) save() ([]byte, error) {
	switch {
	case h.version == nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
	case h.version.head.Bool(pkcs11.CKA_ALWAYS_AUTHENTICATE):
		return nil, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "the key asks for a context-specific login for each operation")
	case !h.begun:
		return []byte{savedFresh}, nil
	}
	state, err := h.state()
	if err != nil {
		return nil, err
	}
	defer clear(state)
	return append([]byte{savedBegun}, state...), nil
}

// RestoreOperation goes on from what SaveOperation has returned.
func (e *Engine) RestoreOperation(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, state []byte) (op hsm.Operation, err error) {
	defer answer(&err)
	if op, err = e.Begin(ctx, cred, kind, m, key); err != nil {
		return nil, err
	}
	if err := restore(op, state); err != nil {
		op.Close()
		return nil, err
	}
	return op, nil
}

func restore(op hsm.Operation, state []byte) error {
	if len(state) == 0 || state[0] > savedBegun {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a state of %d bytes", len(state))
	}
	begun, state := state[0] == savedBegun, state[1:]
	if o, ok := op.(*digestOp); ok {
		return hashes.Resume(o.hash, state)
	}
	h := op.(*held)
	switch {
	case h.mustAuthenticate:
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the key asks for a context-specific login")
	case !begun && len(state) > 0:
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%d bytes of state of an operation that has taken nothing", len(state))
	case !begun:
		return nil
	}
	r, err := h.resumable()
	if err != nil {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%w", err)
	}
	if err := r.Resume(state); err != nil {
		return err
	}
	h.begun = true
	return nil
}
