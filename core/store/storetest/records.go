package storetest

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

func emptyStore(t *testing.T, s store.Store) {
	require.False(t, s.ReadOnly())
	_, err := s.Get(context.Background(), "token")
	require.ErrorIs(t, err, store.ErrNotFound)
	pairs, revision := state(t, s, "")
	require.Empty(t, pairs)
	events, now, err := s.Since(context.Background(), "", revision)
	require.NoError(t, err)
	require.Empty(t, events)
	require.Equal(t, revision, now)
}

func putGetDelete(t *testing.T, s store.Store) {
	made := commit(t, s, put("user/so", "1"))
	require.Positive(t, made)
	require.Equal(t, store.Record{Key: "user/so", Value: []byte("1"), Created: made, Modified: made}, get(t, s, "user/so"))

	changed := commit(t, s, put("user/so", "2"))
	require.Equal(t, made+1, changed)
	require.Equal(t, store.Record{Key: "user/so", Value: []byte("2"), Created: made, Modified: changed}, get(t, s, "user/so"))

	require.Equal(t, made+2, commit(t, s, del("user/so")))
	_, err := s.Get(context.Background(), "user/so")
	require.ErrorIs(t, err, store.ErrNotFound)

	again := commit(t, s, put("user/so", "3"))
	require.Equal(t, again, get(t, s, "user/so").Created, "a record made anew is a new record")
}

func values(t *testing.T, s store.Store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for key, value := range map[string][]byte{
		"nil": nil, "empty": {}, "zero": {0}, "all": all, "page": bytes.Repeat([]byte{7}, 4096), "max": make([]byte, store.MaxValue),
		strings.Repeat("k", store.MaxKey): []byte("long key"),
	} {
		commit(t, s, store.Op{Key: key, Value: value})
		require.True(t, bytes.Equal(value, get(t, s, key).Value), key)
	}
}

func independentSlices(t *testing.T, s store.Store) {
	value := []byte("one")
	commit(t, s, store.Op{Key: "k", Value: value})
	value[0] = 'X'
	got := get(t, s, "k")
	require.Equal(t, "one", string(got.Value))
	commit(t, s, put("k", "two"))
	require.Equal(t, "one", string(got.Value), "what was read stays")
	commit(t, s, del("k"))
	require.Equal(t, "one", string(got.Value), "what was read stays")
}

func list(t *testing.T, s store.Store) {
	revision := commit(t, s, put("object/b", "2"), put("object/a", "1"), put("object", "x"), put("object0", "y"),
		put("objecu/", "z"), put("object/~", "3"), put("object/gone", ""), put("OBJECT/a", "upper"), put("~~", "last"))
	revision = max(revision, commit(t, s, del("object/gone")))
	pairs, at := state(t, s, "object/")
	require.Equal(t, []string{"object/a=1", "object/b=2", "object/~=3"}, pairs)
	require.Equal(t, revision, at)
	pairs, _ = state(t, s, "")
	require.Equal(t, []string{"OBJECT/a=upper", "object=x", "object/a=1", "object/b=2", "object/~=3", "object0=y", "objecu/=z", "~~=last"}, pairs)
	pairs, _ = state(t, s, "~")
	require.Equal(t, []string{"~~=last"}, pairs)
	pairs, _ = state(t, s, "%")
	require.Empty(t, pairs, "a prefix is no pattern")
	pairs, _ = state(t, s, "objec_")
	require.Empty(t, pairs, "a prefix is no pattern")
}

func invalid(t *testing.T, s store.Store) {
	ctx := context.Background()
	_, err := s.Get(ctx, "")
	require.ErrorIs(t, err, store.ErrInvalid)
	_, _, err = s.List(ctx, "a b")
	require.ErrorIs(t, err, store.ErrInvalid)
	_, _, err = s.Since(ctx, "\xff", 0)
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = s.Commit(ctx, nil, []store.Op{put("good", ""), put("", "")})
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = s.Commit(ctx, nil, []store.Op{put("twice", ""), del("twice")})
	require.ErrorIs(t, err, store.ErrInvalid)
	pairs, _ := state(t, s, "")
	require.Empty(t, pairs)
}

func canceled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Commit(ctx, nil, []store.Op{put("k", "v")})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Get(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = s.List(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = s.Since(ctx, "", 0)
	require.ErrorIs(t, err, context.Canceled)
	pairs, _ := state(t, s, "")
	require.Empty(t, pairs)
	commit(t, s, put("k", "v")) // and it is not the worse for it
}

func closed(t *testing.T, s store.Store) {
	commit(t, s, put("k", "v"))
	require.NoError(t, s.Close())
	ctx := context.Background()
	_, err := s.Get(ctx, "k")
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, _, err = s.List(ctx, "")
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, _, err = s.Since(ctx, "", 0)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = s.Commit(ctx, nil, []store.Op{put("k", "v")})
	require.ErrorIs(t, err, store.ErrUnavailable)
	_ = s.Changed()
}
