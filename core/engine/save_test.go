package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestSavedStatesThatCannotBe: what no SaveOperation has returned is refused, and leaves nothing running.
func TestSavedStatesThatCannotBe(t *testing.T) {
	a, _, _, user := newGroup(t).ready()
	key := newKey(t, a, bg, user, pkcs11.Attr(pkcs11.CKA_SIGN, true))
	cmac := pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}
	op, err := a.Begin(bg, user, hsm.OpSign, cmac, key)
	require.NoError(t, err)
	fresh, err := a.SaveOperation(bg, op)
	require.NoError(t, err)
	require.Equal(t, []byte{savedFresh}, fresh)
	_, err = op.Update(bg, nil, []byte("some"))
	require.NoError(t, err)
	state, err := a.SaveOperation(bg, op)
	require.NoError(t, err)
	op.Close()
	_, err = a.SaveOperation(bg, op)
	require.Equal(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, pkcs11.RVOf(err), "it has ended")
	_, err = a.SaveOperation(bg, nil)
	require.Equal(t, pkcs11.CKR_STATE_UNSAVEABLE, pkcs11.RVOf(err))
	for _, bad := range [][]byte{nil, {}, {2}, {savedFresh, 1}, {savedBegun}, state[:len(state)-1], append([]byte{savedFresh}, state[1:]...)} {
		_, err := a.RestoreOperation(bg, user, hsm.OpSign, cmac, key, bad)
		require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err), "%x", bad)
	}
	_, err = a.RestoreOperation(bg, user, hsm.OpVerify, cmac, key, state)
	require.Equal(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.RVOf(err), "the key is asked again")
	op, err = a.RestoreOperation(bg, user, hsm.OpSign, cmac, key, state)
	require.NoError(t, err)
	op.Close()
}
