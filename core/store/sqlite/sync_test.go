package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/coffer-hsm/coffer/core/store"
)

func TestChangedAsksNobodyWhileNothingHappens(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	require.True(t, s.sync.mapped())
	put(t, s, "k", "v")
	s.due.Store(false)
	found := s.found
	s.found = -1 // asking would find this wrong
	seen := s.Changed()
	for range 1000 {
		require.Equal(t, seen, s.Changed())
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = s.Changed() }))
	put(t, s, "k", "w")
	require.NotEqual(t, seen, s.Changed(), "the word alone must tell")
	require.EqualValues(t, -1, s.found)
	s.found = found
}

// soon is within what time that happens which does not depend on the machine's speed.
const soon = 20 * time.Second

// TestAStoreThatNobodyLooksAtIsNotAskedAgain: the timer is set by asking alone.
func TestAStoreThatNobodyLooksAtIsNotAskedAgain(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	asked := func() uint64 {
		start := time.Now()
		seen := s.Changed()
		require.True(t, !s.due.Load() || time.Since(start) >= askEvery, "it has just been asked")
		return seen
	}
	seen := asked()
	require.Eventually(t, s.due.Load, soon, time.Millisecond)
	require.Equal(t, seen, asked(), "asked again, and nothing found")
}

func TestSyncFileOfSomeoneElseIsLeftAlone(t *testing.T) {
	for name, content := range map[string]string{"short": "short", "long": "something else entirely"} {
		path := filepath.Join(t.TempDir(), "token.db")
		require.NoError(t, os.WriteFile(path+"-sync", []byte(content), 0o600))
		s := mustOpen(t, path, Options{Create: true})
		require.False(t, s.sync.mapped(), name)
		seen := s.Changed()
		require.Equal(t, seen, s.Changed())
		put(t, s, "k", "v")
		require.NotEqual(t, seen, s.Changed())
		raw, err := os.ReadFile(path + "-sync")
		require.NoError(t, err)
		require.Equal(t, content, string(raw))
	}
}

func TestLostSyncFileOnlyDelays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	one := mustOpen(t, path, Options{Create: true})
	require.NoError(t, os.Remove(path+"-sync"))
	two := mustOpen(t, path, Options{}) // makes another
	seen := one.Changed()
	put(t, two, "k", "v")
	require.Eventually(t, func() bool { return one.Changed() != seen }, soon, time.Millisecond)
}

// holdTurn takes the turn in another process's stead: a lock of an open file description excludes those of this process.
func holdTurn(t *testing.T, s *Store) (release func()) {
	f, err := os.OpenFile(s.Path()+"-sync", os.O_RDWR, 0)
	require.NoError(t, err)
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockTurn, Len: 1}
	require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock))
	return func() {
		lock := unix.Flock_t{Type: unix.F_UNLCK, Start: lockTurn, Len: 1}
		require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock))
	}
}

func TestWriterWaitsForItsTurnButNotForEver(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	release := holdTurn(t, s)

	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := s.Commit(short, nil, []store.Op{{Key: "given-up"}})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	start := time.Now()
	put(t, s, "k", "without the turn")
	require.GreaterOrEqual(t, time.Since(start), patience)
	_, err = s.Get(ctx, "given-up")
	require.ErrorIs(t, err, store.ErrNotFound, "the next one wrote what was answered with an error")

	release()
	require.Eventually(t, func() bool { return len(s.sync.turns.slot) == 0 }, soon, time.Millisecond, "the turn must be given back")
	s.sync.turns.patience = soon
	start = time.Now()
	put(t, s, "k", "with it")
	require.Less(t, time.Since(start), soon)
}

func TestStoreClosesWhileWaitingForTheTurn(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	s.sync.turns.patience = soon // it shall not go ahead before it is closed
	release := holdTurn(t, s)
	result := make(chan error)
	go func() {
		_, err := s.Commit(ctx, nil, nil)
		result <- err
	}()
	require.Eventually(t, func() bool { return len(s.sync.turns.slot) == 1 }, soon, time.Millisecond)
	require.NoError(t, s.Close())
	release()
	require.Error(t, <-result)
}

func TestLockHeldByAnotherIsReportedAsBusy(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	other := mustOpen(t, s.Path(), Options{})
	_, err := s.write.Exec("PRAGMA busy_timeout=20")
	require.NoError(t, err)
	tx, err := other.write.Begin()
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "k"}})
	require.ErrorIs(t, err, store.ErrBusy)
	_, err = s.Get(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound, "a writer holds up no reader")
	require.NoError(t, tx.Rollback())
	put(t, s, "k", "v")
}
