package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/store"
)

// Commits that wait for their turn at the same time are written in one transaction: nearly all of a commit is waiting for
// the disk, which takes as long for many as for one. Each has its own revision and its own answer, as if they had come
// one after the other; none is answered before all are on disk.

// together are the commits of this Store that wait to be written.
type together struct {
	writing chan struct{} // held by the one of them that writes for all
	all     chan struct{} // told when nobody is missing any more; has room for one

	mu      sync.Mutex // guards these
	waiting []*pending // in the order in which they came
	missing int        // so many more may come
	until   time.Time  // and are waited for
}

// pending is one commit on its way.
type pending struct {
	compares []store.Compare
	ops      []store.Op

	done     chan struct{} // closed when there is the answer
	revision int64
	err      error
}

// What is written in one transaction at most: a full one keeps other processes waiting.
const (
	mostTogether      = 64
	mostTogetherBytes = 4 << 20 // and one more commit
)

// Those who have just been answered are waited for during a part of the time that their transaction took, and not longer than
// that: otherwise eight callers would be written one and seven, one and seven.
const (
	forOthers     = 4 // a quarter
	mostForOthers = 20 * time.Millisecond
)

func newTogether() together {
	return together{writing: make(chan struct{}, 1), all: make(chan struct{}, 1)}
}

// commit waits until c has its answer, and writes for all who wait when nobody else does.
func (t *together) commit(ctx context.Context, s *Store, c *pending) (int64, error) {
	t.join(c)
	select {
	case <-c.done:
	case t.writing <- struct{}{}:
		c.err = t.writeUntil(ctx, s, c)
	case <-ctx.Done():
		if t.leave(c) {
			return 0, ctx.Err()
		}
		<-c.done
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.revision, nil
}

// writeUntil writes what waits, until c is written, and returns c's error. The caller is who writes for all, until then.
func (t *together) writeUntil(ctx context.Context, s *Store, c *pending) error {
	defer func() { <-t.writing }()
	if c.answered() {
		return c.err
	}
	t.gather()
	end, err := s.sync.turn(ctx)
	if err != nil {
		t.leave(c)
		return err
	}
	defer end()
	for !c.answered() {
		s.writeAll(t.take())
	}
	return c.err
}

// join puts c behind those who wait.
func (t *together) join(c *pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, c)
	if t.missing--; t.missing == 0 {
		select {
		case t.all <- struct{}{}:
		default:
		}
	}
}

// gather waits for those who may come again.
func (t *together) gather() {
	t.mu.Lock()
	missing, left := t.missing, time.Until(t.until)
	t.mu.Unlock()
	if missing > 0 && left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-t.all:
		case <-timer.C:
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missing = 0
	select {
	case <-t.all: // it came too late
	default:
	}
}

func (c *pending) answered() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// take returns those that have waited longest.
func (t *together) take() []*pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(t.waiting), mostTogether) && bytes <= mostTogetherBytes {
		for _, op := range t.waiting[n].ops {
			bytes += len(op.Value)
		}
		n++
	}
	batch := slices.Clone(t.waiting[:n])
	t.waiting = slices.Delete(t.waiting, 0, n) // and their values are not held any longer
	return batch
}

// leave takes c back; false if it is being written.
func (t *together) leave(c *pending) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.waiting {
		if other == c {
			t.waiting = slices.Delete(t.waiting, i, i+1)
			return true
		}
	}
	return false
}

// writeAll writes commits and answers them. What one of them alone may have caused is answered to that one alone.
func (s *Store) writeAll(batch []*pending) {
	began := time.Now()
	err := fmt.Errorf("%w: the database broke off", store.ErrUnavailable) // after a panic, which is its caller's: nobody waits for ever
	defer func() { s.together.answer(batch, err, min(time.Since(began)/forOthers, mostForOthers)) }()
	err = s.transact(batch)
	if len(batch) > 1 && (errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrDamaged)) {
		for len(batch) > 0 {
			one := batch[:1]
			batch = batch[1:]
			s.writeAll(one)
		}
	}
}

// answer gives those who wait for these commits their answers: err, if it is one, or their own. Where there are several
// callers, these may all come again soon, and for so long are waited for.
func (t *together) answer(batch []*pending, err error, patience time.Duration) {
	if len(batch) == 0 {
		return
	}
	if err != nil {
		patience = 0
		for _, c := range batch {
			c.err = err
		}
	}
	t.mu.Lock()
	if len(batch)+len(t.waiting) > 1 {
		t.missing, t.until = len(batch), time.Now().Add(patience)
	}
	t.mu.Unlock()
	for _, c := range batch {
		close(c.done)
	}
}
