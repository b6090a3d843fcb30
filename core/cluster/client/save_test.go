package client

import (
	"bytes"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func restored(t *testing.T, c *Client, kind hsm.OpKind, state []byte) (hsm.Operation, error) {
	t.Helper()
	return c.RestoreOperation(ctx, nil, kind, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, tokenObject(c, "k"), state)
}

// TestSavedOperationsGoOn: from whatever point, and the first one goes on too.
func TestSavedOperationsGoOn(t *testing.T) {
	data := make([]byte, 4000)
	rand.New(rand.NewSource(4)).Read(data)
	for name, what := range map[string]*wire.Begun{"hash": begunHash, "mac": begunMAC, "ctr": begunCTR, "blocks": begunBlocks, "hold": begunHold} {
		t.Run(name, func(t *testing.T) {
			c, _ := with(t, what, 2)
			kind := hsm.OpEncrypt
			if name == "hash" || name == "mac" {
				kind = hsm.OpSign
			}
			whole, err := begin(t, c, kind).Finish(ctx, nil, data)
			require.NoError(t, err)
			for _, cut := range []int{0, 1, 17, 160, 3000} {
				op := begin(t, c, kind)
				out, err := op.Update(ctx, nil, data[:cut])
				require.NoError(t, err)
				state, err := c.SaveOperation(ctx, op)
				require.NoError(t, err)
				if s, ok := op.(*stepwise); ok {
					assert.LessOrEqual(t, s.unsent.len(), mostCarried, "what is carried stays small")
				}
				next, err := restored(t, c, kind, bytes.Clone(state))
				require.NoError(t, err)
				for _, op := range []hsm.Operation{op, next} {
					got, err := op.Finish(ctx, bytes.Clone(out), data[cut:])
					require.NoError(t, err)
					assert.Equal(t, whole, got, "cut at %d", cut)
				}
				_, err = c.SaveOperation(ctx, op)
				assert.Equal(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, pkcs11.RVOf(err), "it has ended")
				for _, bad := range [][]byte{nil, {9}, {savedThere, 0}, state[:len(state)-1], {savedFresh, 0}} {
					if len(bad) >= savedHeader && name != "hash" {
						continue // cut where data wait: sealed states are never cut
					}
					_, err := restored(t, c, kind, bad)
					assert.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err), "%x", bad)
				}
			}
		})
	}
}

func TestWhatCannotBeSaved(t *testing.T) {
	c, _ := with(t, begunAEAD, 1)
	op := begin(t, c, hsm.OpEncrypt)
	state, err := c.SaveOperation(ctx, op)
	require.NoError(t, err, "it has taken nothing")
	_, err = restored(t, c, hsm.OpEncrypt, state)
	require.NoError(t, err)
	_, err = op.Update(ctx, nil, []byte("data"))
	require.NoError(t, err)
	_, err = c.SaveOperation(ctx, op)
	assert.Equal(t, pkcs11.CKR_STATE_UNSAVEABLE, pkcs11.RVOf(err))

	other, _ := with(t, begunMAC, 1)
	_, err = c.SaveOperation(ctx, begin(t, other, hsm.OpSign))
	assert.Equal(t, pkcs11.CKR_STATE_UNSAVEABLE, pkcs11.RVOf(err), "another token's")

	asks, _ := with(t, &wire.Begun{Shape: begunMAC.Shape, Parts: true, Resumable: true, MustAuthenticate: true}, 1)
	op = begin(t, asks, hsm.OpSign)
	require.NoError(t, op.Authenticate(ctx, []byte("1234")))
	_, err = asks.SaveOperation(ctx, op)
	assert.Equal(t, pkcs11.CKR_STATE_UNSAVEABLE, pkcs11.RVOf(err), "one PIN is for one operation")
	_, err = restored(t, asks, hsm.OpSign, []byte{savedFresh})
	assert.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err))
}
