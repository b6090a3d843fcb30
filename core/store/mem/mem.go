// Package mem is a store.Store in memory, for tests and for tokens that are not to be kept. Nothing is durable, and a
// closed store is gone.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/store"
)

// maxTombstones bounds how many deletions are remembered; past it the older half is forgotten.
const maxTombstones = 8192

// Store implements store.Store. Its Changed is exact: a commit shows as soon as it returns.
type Store struct {
	revision atomic.Int64 // written under mu

	mu         sync.RWMutex
	records    map[string]store.Event // the last event of each key
	tombstones int                    // how many of them are deletions
	compacted  int64                  // deletions up to this revision are forgotten
	closed     bool
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{records: map[string]store.Event{}} }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return store.Record{}, err
	}
	e, ok := s.records[key]
	if !ok || e.Deleted {
		return store.Record{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	return own(e).Record, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	events, err := s.pick(prefix, func(e store.Event) bool { return !e.Deleted })
	if err != nil {
		return nil, 0, err
	}
	slices.SortFunc(events, func(a, b store.Event) int { return strings.Compare(a.Key, b.Key) })
	records := make([]store.Record, len(events))
	for i, e := range events {
		records[i] = e.Record
	}
	return records, s.revision.Load(), nil
}

// Since implements store.Store.
func (s *Store) Since(ctx context.Context, prefix string, revision int64) ([]store.Event, int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	now := s.revision.Load()
	if revision < s.compacted || revision > now {
		return nil, 0, fmt.Errorf("%w: %d, known are %d to %d", store.ErrCompacted, revision, s.compacted, now)
	}
	events, err := s.pick(prefix, func(e store.Event) bool { return e.Modified > revision })
	if err != nil {
		return nil, 0, err
	}
	slices.SortFunc(events, func(a, b store.Event) int {
		return cmp.Or(cmp.Compare(a.Modified, b.Modified), strings.Compare(a.Key, b.Key))
	})
	return events, now, nil
}

// pick returns copies, in no order. The caller holds mu.
func (s *Store) pick(prefix string, want func(store.Event) bool) ([]store.Event, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	var events []store.Event
	for key, e := range s.records {
		if strings.HasPrefix(key, prefix) && want(e) {
			events = append(events, own(e))
		}
	}
	return events, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if err := store.Check(compares, ops); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	for _, c := range compares {
		have := int64(0)
		if e := s.records[c.Key]; !e.Deleted {
			have = e.Modified
		}
		if have != c.Modified {
			return 0, fmt.Errorf("%w: %s is at revision %d, expected %d", store.ErrConflict, c.Key, have, c.Modified)
		}
	}
	next := s.revision.Load() + 1
	changed := false
	for _, op := range ops {
		changed = s.apply(op, next) || changed
	}
	if !changed {
		return next - 1, nil
	}
	s.forget()
	s.revision.Store(next)
	return next, nil
}

// apply reports whether the op changed anything.
func (s *Store) apply(op store.Op, revision int64) bool {
	old, known := s.records[op.Key]
	alive := known && !old.Deleted
	e := store.Event{Record: store.Record{Key: op.Key, Created: revision, Modified: revision}}
	switch {
	case op.Delete && !alive:
		return false
	case op.Delete:
		e.Created, e.Deleted = 0, true
		s.tombstones++
	default:
		e.Value = append([]byte{}, op.Value...)
		if alive {
			e.Created = old.Created
		} else if known {
			s.tombstones--
		}
	}
	s.records[op.Key] = e
	return true
}

// forget drops the older half of the tombstones when there are too many.
func (s *Store) forget() {
	if s.tombstones <= maxTombstones {
		return
	}
	var at []int64
	for _, e := range s.records {
		if e.Deleted {
			at = append(at, e.Modified)
		}
	}
	slices.Sort(at)
	s.compacted = at[len(at)/2]
	for key, e := range s.records {
		if e.Deleted && e.Modified <= s.compacted {
			delete(s.records, key)
			s.tombstones--
		}
	}
}

// Changed implements store.Store.
func (s *Store) Changed() uint64 { return uint64(s.revision.Load()) }

// ReadOnly implements store.Store.
func (s *Store) ReadOnly() bool { return false }

// Close implements store.Store. The records are dropped.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.records = true, nil
	return nil
}

func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	return ctx.Err()
}

func own(e store.Event) store.Event {
	if !e.Deleted {
		e.Value = bytes.Clone(e.Value)
	}
	return e
}
