package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWrongPINsCountWhateverTheCallerDoes: who gives up while his PIN is tried, or whose time is over then, has tried it; and
// who gives up before learns nothing.
func TestWrongPINsCountWhateverTheCallerDoes(t *testing.T) {
	near := &bent{Store: mem.New()}
	e, cred := readyOn(t, near)
	require.NoError(t, e.Logout(ctx, cred))
	officer, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	failures := func() int {
		list, err := e.ListUsers(ctx, officer)
		require.NoError(t, err)
		return list[1].Failures
	}
	impatient := func(pin []byte) error {
		ctx, giveUp := context.WithCancel(ctx)
		defer giveUp()
		near.beforeCommit = func([]store.Op) error { giveUp(); return nil }
		_, err := e.Login(ctx, pkcs11.CKU_USER, "", pin)
		return err
	}
	rv(t, pkcs11.CKR_PIN_INCORRECT, impatient([]byte("wrong")))
	require.Equal(t, 1, failures())
	for _, pin := range [][]byte{[]byte("wrong"), userPIN} { // each is to be counted before it is tried now
		require.ErrorIs(t, impatient(pin), context.Canceled)
	}
	require.Equal(t, 1, failures())

	ctx, giveUp := context.WithCancel(ctx)
	commits := 0
	near.beforeCommit = func([]store.Op) error {
		if commits++; commits == 2 {
			giveUp()
		}
		return nil
	}
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.ErrorIs(t, err, context.Canceled) // there is nobody to give the login to
	require.Zero(t, failures(), "the right one is not left among the wrong")
}

// TestWhatCannotBeCountedIsNotTried, but for the first one: else whoever fills the store might try all PINs.
func TestWhatCannotBeCountedIsNotTried(t *testing.T) {
	near := &bent{Store: mem.New()}
	e, cred := readyOn(t, near)
	require.NoError(t, e.Logout(ctx, cred))
	full := func([]store.Op) error { return store.ErrFull }
	near.beforeCommit = full
	_, err := e.Login(ctx, pkcs11.CKU_USER, "", []byte("wrong"))
	rv(t, pkcs11.CKR_DEVICE_MEMORY, err)
	for range 3 {
		_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
		rv(t, pkcs11.CKR_DEVICE_MEMORY, err)
	}
	officer, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN) // nobody has tried that one
	require.NoError(t, err)

	near.beforeCommit = nil
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", []byte("wrong"))
	rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	list, err := e.ListUsers(ctx, officer)
	require.NoError(t, err)
	require.Equal(t, 2, list[1].Failures, "with the one from before")
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.NoError(t, err)
	list, err = e.ListUsers(ctx, officer)
	require.NoError(t, err)
	require.Zero(t, list[1].Failures)

	near.beforeCommit = func([]store.Op) error { return errors.New("the right PIN needs no count") }
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.NoError(t, err)
}
