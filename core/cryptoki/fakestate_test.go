package cryptoki

import (
	"bytes"
	"context"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// A state of the fake is the data that an operation has gathered. An operation that streams has none.

func (f *fake) SaveOperation(_ context.Context, op hsm.Operation) ([]byte, error) {
	o := op.(*fakeOp)
	o.check(nil)
	if o.m == pkcs11.CKM_AES_GCM {
		return nil, pkcs11.CKR_STATE_UNSAVEABLE
	}
	return bytes.Clone(o.data), nil
}

func (f *fake) RestoreOperation(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, state []byte) (hsm.Operation, error) {
	op, err := f.Begin(ctx, cred, kind, m, key)
	if err != nil {
		return nil, err
	}
	op.(*fakeOp).data = bytes.Clone(state)
	return op, nil
}
