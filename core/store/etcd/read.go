package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/store"
)

// Get implements store.Store, from the mirror; from etcd for what is kept apart.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	if err := s.usable(ctx); err != nil {
		return store.Record{}, err
	}
	if s.isApart(key) {
		return s.getApart(ctx, key)
	}
	s.mirror.mu.RLock()
	e := s.mirror.entries[key]
	if e == nil || e.created == 0 {
		s.mirror.mu.RUnlock()
		return store.Record{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	r := e.record()
	s.mirror.mu.RUnlock()
	return r, nil
}

// List implements store.Store, from the mirror. It looks at every record, whatever the prefix. What is kept apart it tells
// only when it is asked for nothing else, and then from etcd and without values.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, int64, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	if s.isApart(prefix) {
		return s.listApart(ctx, prefix)
	}
	records, now := s.mirror.list(prefix)
	slices.SortFunc(records, func(a, b store.Record) int { return strings.Compare(a.Key, b.Key) })
	return records, now, nil
}

// Since implements store.Store, from the mirror. It looks at what changed after the revision and no more.
func (s *Store) Since(ctx context.Context, prefix string, revision int64) ([]store.Event, int64, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	events, now, err := s.mirror.since(prefix, revision)
	if err != nil {
		return nil, 0, err
	}
	slices.SortFunc(events, func(a, b store.Event) int {
		return cmp.Or(cmp.Compare(a.Modified, b.Modified), strings.Compare(a.Key, b.Key))
	})
	return events, now, nil
}

// list returns the records with the prefix, in no order.
func (m *mirror) list(prefix string) ([]store.Record, int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var records []store.Record
	if prefix == "" {
		records = make([]store.Record, 0, m.live.n)
	}
	for e := m.live.head; e != nil; e = e.next {
		if strings.HasPrefix(e.key, prefix) {
			records = append(records, e.record())
		}
	}
	return records, m.applied.Load()
}

// since is list for events after the revision. Before revision 1 there was nothing, so whoever asks from 0 misses no
// deletion.
func (m *mirror) since(prefix string, revision int64) ([]store.Event, int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.applied.Load()
	if revision > now || revision < m.compacted && revision != 0 {
		return nil, 0, fmt.Errorf("%w: %d, known are %d to %d", store.ErrCompacted, revision, m.compacted, now)
	}
	var events []store.Event
	for _, o := range []*order{&m.live, &m.dead} {
		for e := o.tail; e != nil && e.modified > revision; e = e.prev {
			if strings.HasPrefix(e.key, prefix) {
				events = append(events, store.Event{Record: e.record(), Deleted: e.created == 0})
			}
		}
	}
	return events, now, nil
}

func (e *entry) record() store.Record {
	return store.Record{Key: e.key, Value: e.value, Created: e.created, Modified: e.modified}
}
