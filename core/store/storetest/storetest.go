// Package storetest is the contract of store.Store as tests. Each implementation runs it.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// Open returns a new, empty store, which the test closes.
type Open func(t *testing.T) store.Store

// Again opens what s keeps once more, while s is open or after it was closed.
type Again func(t *testing.T, s store.Store) store.Store

// Run tests the stores that open makes. With again nil what needs it is skipped: a store that keeps nothing has none.
func Run(t *testing.T, open Open, again Again) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"EmptyStore", emptyStore},
		{"PutGetDelete", putGetDelete},
		{"ValuesComeBackAsTheyWere", values},
		{"ReturnedAndGivenSlicesAreIndependent", independentSlices},
		{"ListIsOrderedByKeyAndKeepsToThePrefix", list},
		{"InvalidRequestsAreRefused", invalid},
		{"CanceledContextIsHonoured", canceled},
		{"CommitIsAllOrNothing", allOrNothing},
		{"CompareDecides", compare},
		{"NothingChangedUsesNoRevision", noChange},
		{"SinceTellsEachKeyOnceInOrder", since},
		{"SinceTellsOfDeletions", sinceDeleted},
		{"SinceForgetsOldDeletionsAndSaysSo", sinceCompacted},
		{"ChangedFollowsCommits", changed},
		{"ClosedStoreIsUnavailable", closed},
		{"ConcurrentIncrementsLoseNothing", increments},
		{"ReadersSeeWholeCommits", wholeCommits},
		{"FollowerEndsWithTheSameState", follower},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			defer func() { require.NoError(t, s.Close()) }()
			c.run(t, s)
		})
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store, Again)
	}{
		{"StateSurvivesReopening", reopened},
		{"TwoHandlesSeeEachOther", twoHandles},
		{"TwoHandlesDoNotOverwriteEachOther", twoHandlesIncrement},
	} {
		t.Run(c.name, func(t *testing.T) {
			if again == nil {
				t.Skip("this store cannot be opened twice")
			}
			s := open(t)
			defer func() { _ = s.Close() }() // some close it themselves
			c.run(t, s, again)
		})
	}
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

// commit applies ops, which must succeed.
func commit(t *testing.T, s store.Store, ops ...store.Op) int64 {
	t.Helper()
	revision, err := s.Commit(context.Background(), nil, ops)
	require.NoError(t, err)
	return revision
}

// catchUp waits until s shows another handle's commit of that revision, if s is one that others' commits reach late and
// has an Await to wait with. All others must show it at once.
func catchUp(t *testing.T, s store.Store, revision int64) {
	t.Helper()
	if late, ok := s.(interface {
		Await(ctx context.Context, revision int64) error
	}); ok {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, late.Await(ctx, revision))
	}
}

func get(t *testing.T, s store.Store, key string) store.Record {
	t.Helper()
	r, err := s.Get(context.Background(), key)
	require.NoError(t, err)
	return r
}

// state returns the key=value pairs of List.
func state(t *testing.T, s store.Store, prefix string) (pairs []string, revision int64) {
	t.Helper()
	records, revision, err := s.List(context.Background(), prefix)
	require.NoError(t, err)
	for _, r := range records {
		pairs = append(pairs, r.Key+"="+string(r.Value))
	}
	return pairs, revision
}
