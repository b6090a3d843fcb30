package etcd

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// TestApart: what is kept apart is in etcd, commits decide by it, and the mirror has nothing of it, whether it came before
// the Store was opened or after.
func TestApart(t *testing.T) {
	address, prefix := server(t)
	o := Options{Client: client(t, address), Prefix: prefix, Apart: "op/"}
	one := open(t, o)
	const many = 3 * firstPage
	for i := range many {
		commit(t, one, put(fmt.Sprintf("op/%03d", i), "done"), put("k", fmt.Sprint(i)))
	}
	commit(t, one, put("oq", "after"), put("on", "before"), del("op/000"))
	two := open(t, o)
	ctx := within(t)
	for name, s := range map[string]*Store{"follows": one, "opened after": two} {
		t.Run(name, func(t *testing.T) {
			all, _, err := s.List(ctx, "")
			require.NoError(t, err)
			require.Equal(t, []string{"k", "on", "oq"}, keysOf(all))
			require.Len(t, s.mirror.entries, 3)
			events, now, err := s.Since(ctx, "", 0)
			require.NoError(t, err)
			require.Len(t, events, 3)

			r, err := s.Get(ctx, "op/001")
			require.NoError(t, err)
			require.Equal(t, "done", string(r.Value))
			require.Equal(t, r.Created, r.Modified)
			_, err = s.Get(ctx, "op/000")
			require.ErrorIs(t, err, store.ErrNotFound)
			list, at, err := s.List(ctx, "op/")
			require.NoError(t, err)
			require.Len(t, list, many-1)
			require.Equal(t, r.Modified, list[0].Modified)
			require.Empty(t, list[0].Value)
			require.GreaterOrEqual(t, at, now)
			list, _, err = s.List(ctx, "op/00")
			require.NoError(t, err)
			require.Len(t, list, 9)

			_, err = s.Commit(ctx, []store.Compare{{Key: "op/001"}}, []store.Op{put("k", "twice")})
			require.ErrorIs(t, err, store.ErrConflict)
		})
	}
	before := one.Changed()
	revision := commit(t, two, del("op/001"))
	require.NoError(t, one.Await(ctx, revision))
	require.Equal(t, before, one.Changed(), "nothing that is mirrored has changed")

	_, err := Open(ctx, Options{Client: o.Client, Prefix: prefix, Apart: "\n"})
	require.ErrorIs(t, err, store.ErrInvalid)
}

func keysOf(list []store.Record) (keys []string) {
	for _, r := range list {
		keys = append(keys, r.Key)
	}
	return keys
}
