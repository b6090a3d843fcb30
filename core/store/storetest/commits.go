package storetest

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

func allOrNothing(t *testing.T, s store.Store) {
	revision := commit(t, s, put("a", "1"), put("b", "1"), put("c", "1"))
	require.Equal(t, revision, get(t, s, "a").Modified)
	require.Equal(t, revision, get(t, s, "c").Modified)

	_, err := s.Commit(context.Background(), []store.Compare{{Key: "a", Modified: revision}, {Key: "b", Modified: revision + 7}},
		[]store.Op{put("a", "2"), del("c"), put("d", "2")})
	require.ErrorIs(t, err, store.ErrConflict)
	pairs, at := state(t, s, "")
	require.Equal(t, []string{"a=1", "b=1", "c=1"}, pairs)
	require.Equal(t, revision, at)
}

func compare(t *testing.T, s store.Store) {
	ctx := context.Background()
	try := func(modified int64, op store.Op) error {
		_, err := s.Commit(ctx, []store.Compare{{Key: "k", Modified: modified}}, []store.Op{op})
		return err
	}
	require.ErrorIs(t, try(5, put("k", "1")), store.ErrConflict, "there is no record")
	require.NoError(t, try(0, put("k", "1")))
	require.ErrorIs(t, try(0, put("k", "2")), store.ErrConflict, "there is one")
	first := get(t, s, "k").Modified
	require.NoError(t, try(first, put("k", "2")))
	require.ErrorIs(t, try(first, put("k", "3")), store.ErrConflict, "it was changed")
	require.NoError(t, try(get(t, s, "k").Modified, del("k")))
	require.ErrorIs(t, try(first+2, put("k", "4")), store.ErrConflict, "a deletion is no record")
	require.NoError(t, try(0, put("k", "5")))

	_, err := s.Commit(ctx, []store.Compare{{Key: "other", Modified: 1}}, nil)
	require.ErrorIs(t, err, store.ErrConflict, "a commit may only compare")
	_, err = s.Commit(ctx, []store.Compare{{Key: "other"}}, nil)
	require.NoError(t, err)
}

func noChange(t *testing.T, s store.Store) {
	revision := commit(t, s, put("k", "v"))
	g := s.Changed()
	require.Equal(t, revision, commit(t, s))
	require.Equal(t, revision, commit(t, s, del("other")))
	require.Equal(t, revision+1, commit(t, s, del("other"), put("k", "v")), "a put is a change, even of the same value")
	require.NotEqual(t, g, s.Changed())
}

func since(t *testing.T, s store.Store) {
	start := commit(t, s, put("before", "x"))
	commit(t, s, put("object/b", "1"), put("object/a", "1"))
	second := commit(t, s, put("object/c", "1"), put("user/so", "1"))
	last := commit(t, s, put("object/b", "2"))

	events, now, err := s.Since(context.Background(), "object/", start)
	require.NoError(t, err)
	require.Equal(t, last, now)
	require.Equal(t, []store.Event{
		{Record: store.Record{Key: "object/a", Value: []byte("1"), Created: start + 1, Modified: start + 1}},
		{Record: store.Record{Key: "object/c", Value: []byte("1"), Created: second, Modified: second}},
		{Record: store.Record{Key: "object/b", Value: []byte("2"), Created: start + 1, Modified: last}},
	}, events)

	events, now, err = s.Since(context.Background(), "user/", last)
	require.NoError(t, err)
	require.Empty(t, events)
	require.Equal(t, last, now)
}

func sinceDeleted(t *testing.T, s store.Store) {
	start := commit(t, s, put("a", "1"), put("b", "1"), put("c", "1"))
	commit(t, s, del("b"))
	commit(t, s, del("a"))
	commit(t, s, put("b", "2"))
	last := commit(t, s, put("new", ""), del("c"))
	events, now, err := s.Since(context.Background(), "", start)
	require.NoError(t, err)
	require.Equal(t, last, now)
	require.Len(t, events, 4)
	require.Equal(t, store.Event{Record: store.Record{Key: "a", Modified: start + 2}, Deleted: true}, events[0])
	require.Equal(t, "b", events[1].Key)
	require.False(t, events[1].Deleted)
	require.Equal(t, store.Event{Record: store.Record{Key: "c", Modified: last}, Deleted: true}, events[2])
	require.Equal(t, "new", events[3].Key)
	require.Empty(t, events[3].Value)
}

func sinceCompacted(t *testing.T, s store.Store) {
	start := commit(t, s, put("stays", "1"))
	_, _, err := s.Since(context.Background(), "", start+1)
	require.ErrorIs(t, err, store.ErrCompacted, "a revision that was not reached yet")

	const most = 1000 // rounds; every store forgets by then
	for i := range most {
		var puts, dels []store.Op
		for j := range store.MaxOps {
			key := "gone/" + strconv.Itoa(i) + "/" + strconv.Itoa(j)
			puts, dels = append(puts, put(key, "")), append(dels, del(key))
		}
		before := commit(t, s, puts...)
		last := commit(t, s, dels...)
		if i%10 != 9 {
			continue
		}
		events, now, err := s.Since(context.Background(), "gone/", before)
		require.NoError(t, err, "the last change must never be forgotten")
		require.Len(t, events, store.MaxOps)
		require.Equal(t, last, now)
		if _, _, err := s.Since(context.Background(), "none/", start); err != nil {
			require.ErrorIs(t, err, store.ErrCompacted)
			require.Greater(t, i, 10, "a few deletions must be remembered")
			pairs, _ := state(t, s, "")
			require.Equal(t, []string{"stays=1"}, pairs)
			return
		}
	}
	t.Fatalf("%d deletions are still remembered", most*store.MaxOps)
}

func changed(t *testing.T, s store.Store) {
	seen := map[uint64]bool{s.Changed(): true}
	for i := range 20 {
		commit(t, s, put("k", strconv.Itoa(i)))
		g := s.Changed()
		require.False(t, seen[g], "a generation came back")
		seen[g] = true
	}
	commit(t, s, del("k"))
	require.False(t, seen[s.Changed()])
}
