package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestCounts: what one node has changed is counted by the other, which nobody has asked anything since.
func TestCounts(t *testing.T) {
	a, b, so, user := newGroup(t).ready()
	require.Equal(t, hsm.Counts{Users: 2}, b.Counts())
	o := newKey(t, a, bg, user, onToken)
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
	for range auth.MaxFailures {
		_, err := a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	require.Equal(t, hsm.Counts{TokenObjects: 1, Users: 3, Locked: 1}, b.Counts())

	sealed, _, err := a.SealObject(newKey(t, a, bg, user))
	require.NoError(t, err)
	_, err = b.OpenObject(sealed)
	require.NoError(t, err)
	require.NoError(t, a.Destroy(bg, user, o))
	require.NoError(t, a.ResetPIN(bg, so, pkcs11.CKU_USER, "alice", pin))
	require.Equal(t, hsm.Counts{SessionObjects: 1, Users: 3}, b.Counts())
}
