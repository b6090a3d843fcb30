package member

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestClusterGrowsAndEveryNodeHasEveryKey(t *testing.T) {
	h := first(t)
	nodes := h.grow(2)
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.generate(n.user()).ID())
	}
	for _, n := range nodes {
		cred := n.user()
		for _, id := range ids {
			require.NoError(t, n.sign(cred, id))
		}
		got, members, err := n.m.Coverage(within(t), ids)
		require.NoError(t, err)
		require.Equal(t, uint32(3), members)
		require.Equal(t, []uint32{3, 3, 3}, got)
		s, err := n.m.Status(within(t))
		require.NoError(t, err)
		require.True(t, s.Quorum)
		require.Equal(t, uint32(3), s.Voters)
		leaders := 0
		for _, w := range s.Members {
			require.Equal(t, "ready", w.State)
			require.GreaterOrEqual(t, w.Revision, int64(1))
			if w.Leader {
				leaders++
			}
		}
		require.Equal(t, 1, leaders)
	}

	// What is destroyed is gone from all at once when the call returns.
	cred := nodes[1].user()
	require.NoError(t, nodes[1].engine.Destroy(within(t), cred, nodes[1].engine.TokenObject(ids[0], true)))
	for _, n := range nodes {
		require.Equal(t, []bool{false, true, true}, n.engine.Holds(ids))
		require.ErrorIs(t, n.sign(n.user(), ids[0]), pkcs11.CKR_KEY_HANDLE_INVALID)
	}
}
