package etcd

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

func newMirror(tombstones int, at int64, changes ...change) *mirror {
	m := &mirror{}
	m.init(tombstones)
	m.begin(changes, at)
	return m
}

func TestMirrorNeverMovesBackwards(t *testing.T) {
	m := newMirror(10, 5, change{"k", []byte("5"), 5, 5})
	m.apply([]change{{"k", []byte("7"), 5, 7}}, 7)
	changed := m.changed.Load()
	for _, c := range []struct {
		name    string
		changes []change
		at      int64
	}{
		{"the same again", []change{{"k", []byte("7"), 5, 7}}, 7},
		{"an earlier one", []change{{"k", []byte("6"), 5, 6}}, 6},
		{"an earlier deletion", []change{{key: "k", modified: 6}}, 6},
		{"an earlier progress", nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.apply(c.changes, c.at)
			require.Equal(t, "7", string(m.entries["k"].value))
			require.Equal(t, int64(7), m.applied.Load())
			require.Equal(t, changed, m.changed.Load())
		})
	}
	m.apply([]change{{"k", []byte("6"), 5, 6}, {"k", []byte("8"), 5, 8}}, 8)
	require.Equal(t, "8", string(m.entries["k"].value), "what is late in a response does not keep the rest back")
	require.Equal(t, changed+1, m.changed.Load())
	m.apply(nil, 9)
	require.Equal(t, int64(9), m.applied.Load())
	require.Equal(t, changed+1, m.changed.Load(), "progress is no change")
}

func TestMirrorForgetsTheOldestTombstones(t *testing.T) {
	m := newMirror(3, 1)
	for i := range int64(5) {
		key := strconv.FormatInt(i, 10)
		m.apply([]change{{key, nil, 10 * (i + 1), 10 * (i + 1)}}, 10*(i+1))
		m.apply([]change{{key: key, modified: 10*(i+1) + 1}}, 10*(i+1)+1)
	}
	require.Len(t, m.entries, 3)
	require.Equal(t, int64(21), m.compacted)
	_, _, err := m.since("", 20)
	require.ErrorIs(t, err, store.ErrCompacted)
	events, now, err := m.since("", 21)
	require.NoError(t, err)
	require.Len(t, events, 3)
	require.Equal(t, int64(51), now)

	m.apply([]change{{"2", nil, 60, 60}}, 60)
	require.Equal(t, 2, m.dead.n, "a record made anew is no tombstone")
	require.Equal(t, 1, m.live.n)
	_, _, err = m.since("", 0)
	require.NoError(t, err, "from 0 on everything can be told")
}
