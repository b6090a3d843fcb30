package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// FuzzSealed gives a node what a near side may have made up: only what a node has sealed opens. The plaintext behind the seal is
// fuzzed too, for a node of another version may have sealed it.
func FuzzSealed(f *testing.F) {
	g := newGroup(f)
	e, _, _, user := g.ready()
	cred, err := e.SealCredential(user)
	require.NoError(f, err)
	key := newKey(f, e, bg, user, pkcs11.Attr(pkcs11.CKA_SIGN, true))
	object, _, err := e.SealObject(key)
	require.NoError(f, err)
	cmac := pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}
	op, err := e.Begin(bg, user, hsm.OpSign, cmac, key)
	require.NoError(f, err)
	_, err = op.Update(bg, nil, []byte("data"))
	require.NoError(f, err)
	operation, err := e.SealOperation(op)
	require.NoError(f, err)
	binding, err := originOf(op).binding()
	require.NoError(f, err)
	_, state, err := stateOf(op)
	require.NoError(f, err)
	v := key.(*entry).current.Load()
	session, err := marshalSession(v)
	require.NoError(f, err)
	genuine := map[string]bool{string(cred): true, string(object): true, string(operation): true}
	for _, seed := range [][]byte{cred, object, operation, state, session, nil, make([]byte, 45)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !genuine[string(b)] {
			_, err := e.OpenCredential(b, "")
			wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			_, err = e.OpenObject(b)
			wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
			_, err = e.OpenOperation(bg, user, hsm.OpSign, cmac, key, b)
			wantRV(t, pkcs11.CKR_SAVED_STATE_INVALID, err)
		}
		sealed, err := sealBlob(e.node.cluster, credentialKind, "", b)
		require.NoError(t, err)
		_, _ = e.OpenCredential(sealed, "")
		keys := e.node.keys.Load()
		sealed, err = sealBlob(keys.barrier, sessionKind, "", b)
		require.NoError(t, err)
		if o, err := e.OpenObject(sealed); err == nil {
			_, _ = e.Size(bg, user, o)
		}
		sealed, err = sealBlob(keys.barrier, operationKind, binding, b)
		require.NoError(t, err)
		if op, err := e.OpenOperation(bg, user, hsm.OpSign, cmac, key, sealed); err == nil {
			_, _ = op.Finish(bg, nil, []byte("more"))
			op.Close()
		}
	})
}
