package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// answered is what a commit came to.
type answered struct {
	revision int64
	err      error
}

// commitTogether has commits wait for their turn at the same time, in this order, and returns what each came to.
func commitTogether(t *testing.T, s *Store, commits ...*pending) []answered {
	s.together.writing <- struct{}{}
	results := make([]chan answered, len(commits))
	for i, c := range commits {
		results[i] = make(chan answered, 1)
		go func() {
			revision, err := s.Commit(ctx, c.compares, c.ops)
			results[i] <- answered{revision, err}
		}()
		require.Eventually(t, func() bool { return waiting(s) == i+1 }, soon, time.Millisecond)
	}
	<-s.together.writing
	list := make([]answered, len(commits))
	for i := range results {
		list[i] = <-results[i]
	}
	return list
}

func waiting(s *Store) int {
	s.together.mu.Lock()
	defer s.together.mu.Unlock()
	return len(s.together.waiting)
}

// logged counts the transactions in the write-ahead log: in each one's last frame stands the size of the database.
func logged(t *testing.T, s *Store) (n int) {
	const header, frame = 32, 24
	log, err := os.ReadFile(s.path + "-wal")
	require.NoError(t, err)
	page := int(binary.BigEndian.Uint32(log[8:]))
	for at := header; at+frame+page <= len(log); at += frame + page {
		if binary.BigEndian.Uint32(log[at+4:]) != 0 {
			n++
		}
	}
	return n
}

func TestCommitsThatWaitAreOneTransaction(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	before := put(t, s, "first", "1")
	transactions := logged(t, s)
	got := commitTogether(t, s,
		&pending{ops: []store.Op{{Key: "a", Value: []byte("1")}}},
		&pending{compares: []store.Compare{{Key: "a"}}, ops: []store.Op{{Key: "b"}}},                                         // there is one now
		&pending{compares: []store.Compare{{Key: "a", Modified: before + 1}}, ops: []store.Op{{Key: "first", Delete: true}}}, // the one before
		&pending{ops: []store.Op{{Key: "first", Delete: true}}},                                                              // which has gone
		&pending{ops: []store.Op{{Key: "a", Value: []byte("2")}, {Key: "c"}}},
	)
	require.Equal(t, transactions+1, logged(t, s))
	require.ErrorIs(t, got[1].err, store.ErrConflict)
	got[1].err = nil
	require.Equal(t, []answered{{before + 1, nil}, {}, {before + 2, nil}, {before + 2, nil}, {before + 3, nil}}, got)

	records, revision, err := s.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, before+3, revision)
	require.Equal(t, []store.Record{
		{Key: "a", Value: []byte("2"), Created: before + 1, Modified: before + 3},
		{Key: "c", Created: before + 3, Modified: before + 3},
	}, records)
}

func TestACommitThatDoesNotFitFailsAlone(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	put(t, s, "first", "1")
	var pages int
	require.NoError(t, s.write.QueryRow("PRAGMA page_count").Scan(&pages))
	_, err := s.write.Exec(fmt.Sprintf("PRAGMA max_page_count=%d", pages+20))
	require.NoError(t, err)
	got := commitTogether(t, s,
		&pending{ops: []store.Op{{Key: "a", Value: []byte("1")}}},
		&pending{ops: []store.Op{{Key: "large", Value: make([]byte, 200<<10)}}},
		&pending{ops: []store.Op{{Key: "b", Value: []byte("1")}}},
	)
	require.NoError(t, got[0].err)
	require.ErrorIs(t, got[1].err, store.ErrFull)
	require.NoError(t, got[2].err)
	require.Equal(t, got[0].revision+1, got[2].revision)
	_, err = s.Get(ctx, "large")
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestWhoGivesUpWaitingLeavesNothing(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	s.together.writing <- struct{}{}
	impatient, giveUp := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		_, err := s.Commit(impatient, nil, []store.Op{{Key: "given-up"}})
		result <- err
	}()
	require.Eventually(t, func() bool { return waiting(s) == 1 }, soon, time.Millisecond)
	giveUp()
	require.ErrorIs(t, <-result, context.Canceled)
	<-s.together.writing
	put(t, s, "k", "v")
	_, err := s.Get(ctx, "given-up")
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestAFullTransactionIsFollowedByAnother(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	before := put(t, s, "first", "1")
	transactions := logged(t, s)
	var many []*pending
	for i := range mostTogether + 3 {
		many = append(many, &pending{ops: []store.Op{{Key: fmt.Sprint("k", i)}}})
	}
	for i, a := range commitTogether(t, s, many...) {
		require.Equal(t, answered{before + int64(i) + 1, nil}, a)
	}
	require.Equal(t, transactions+2, logged(t, s))
}

// TestThoseWhoMayComeAgainAreWaitedFor: the wait ends with the last of them, for its time is an hour.
func TestThoseWhoMayComeAgainAreWaitedFor(t *testing.T) {
	s := newTogether()
	batch := []*pending{{done: make(chan struct{})}, {done: make(chan struct{})}}
	for range 3 { // also where nobody waits for those who have come
		s.answer([]*pending{{done: make(chan struct{})}, {done: make(chan struct{})}}, nil, time.Hour)
		s.join(&pending{})
		s.join(&pending{})
	}
	s.answer(batch, nil, time.Hour)
	s.join(&pending{})
	gathered := make(chan struct{})
	go func() { s.gather(); close(gathered) }()
	s.join(&pending{})
	<-gathered

	s.waiting = nil
	s.answer([]*pending{{done: make(chan struct{})}}, nil, time.Hour)
	s.gather() // one caller by himself waits for nobody
}

// TestAPanicIsItsCallersAlone: the others have an answer, and the next commit is written.
func TestAPanicIsItsCallersAlone(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	before := put(t, s, "first", "1")
	whole := s.w
	s.together.writing <- struct{}{}
	s.w = writeStatements{} // with which the transaction cannot but fail so
	results := make(chan error, 3)
	for i := range cap(results) {
		go func() {
			defer func() {
				if p := recover(); p != nil {
					results <- errBrokenOff
				}
			}()
			_, err := s.Commit(ctx, nil, []store.Op{{Key: "k"}})
			results <- err
		}()
		require.Eventually(t, func() bool { return waiting(s) == i+1 }, soon, time.Millisecond)
	}
	<-s.together.writing
	panics := 0
	for range cap(results) {
		if err := <-results; err == errBrokenOff {
			panics++
		} else {
			require.ErrorIs(t, err, store.ErrUnavailable)
		}
	}
	require.Equal(t, 1, panics)
	s.w = whole
	require.Equal(t, before+1, put(t, s, "k", "v"))
}

var errBrokenOff = errors.New("a panic")

// TestAnswersAreTrueWhenManyGiveUp: of callers through two stores of one file, who give up at any time, each whom a revision
// was answered has it to himself, and what was answered so is there, in that order.
func TestAnswersAreTrueWhenManyGiveUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	stores := []*Store{mustOpen(t, path, Options{Create: true}), mustOpen(t, path, Options{})}
	before := put(t, stores[0], "first", "1")
	var mu sync.Mutex
	written := map[string]int64{} // by key, of those who did not give up
	revisions := map[int64]bool{}
	var all sync.WaitGroup
	for worker := range 12 {
		all.Go(func() {
			last, s := before, stores[worker%2]
			for i := range 25 {
				impatient, end := context.WithTimeout(ctx, rand.N(20*time.Millisecond))
				key := fmt.Sprintf("%d/%d", worker, i)
				revision, err := s.Commit(impatient, []store.Compare{{Key: key}}, []store.Op{{Key: key, Value: []byte("v")}})
				end()
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %v", key, err)
					}
					continue
				}
				mu.Lock()
				if revision <= last || revisions[revision] {
					t.Errorf("%s has revision %d after %d, which somebody has: %v", key, revision, last, revisions[revision])
				}
				last, written[key], revisions[revision] = revision, revision, true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	records, now, err := stores[1].List(ctx, "")
	require.NoError(t, err)
	require.EqualValues(t, before+int64(len(records))-1, now, "each commit has a revision of its own, and nobody else has one")
	for _, r := range records {
		if revision, ok := written[r.Key]; ok {
			require.Equal(t, revision, r.Modified)
			delete(written, r.Key)
		}
	}
	require.Empty(t, written)
	require.Empty(t, stores[0].together.waiting)
	require.Empty(t, stores[1].together.waiting)
}
