package cryptoki

import (
	"sync"
	"sync/atomic"
)

// numbered is the part of what an application has a handle of that the table knows.
type numbered[T any] struct {
	handle uint // constant once it is in the table
	whole  *T
}

// numbers finds what the handles of an application stand for. Looking one up takes no lock, allocates nothing and writes
// nothing. Handles that follow each other are in different shards, so that threads that give and take back handles at the
// same time hardly ever wait for each other.
type numbers[T any] struct {
	shards [numberShards]numberShard[T]
}

const (
	numberShards = 16
	fewestPlaces = 8 // of a shard
)

// numberShard has the handles that are its own number modulo numberShards.
//
// The place of a handle is what is left of it modulo the number of places, a power of two; a handle whose place is taken
// is never given. So two that fit into the table also fit into one of twice the size.
type numberShard[T any] struct {
	places atomic.Pointer[[]seat[T]]

	mu   sync.Mutex // guards what is in the places
	used int

	_ [64]byte // another shard's lock is in another cache line
}

// seat is a place of the table.
type seat[T any] = atomic.Pointer[numbered[T]]

func (t *numbers[T]) shard(h uint) *numberShard[T] { return &t.shards[h%numberShards] }

// placeOf is where a handle is if it is there at all.
func placeOf[T any](places []seat[T], h uint) *seat[T] {
	return &places[h/numberShards&uint(len(places)-1)]
}

// load returns what a handle stands for. It may have been removed this moment.
func (t *numbers[T]) load(h uint) (*T, bool) {
	places := t.shard(h).places.Load()
	if places == nil {
		return nil, false
	}
	if n := placeOf(*places, h).Load(); n != nil && n.handle == h {
		return n.whole, true
	}
	return nil, false
}

// add gives v, of which n is the part, the next handle whose place is free.
func (t *numbers[T]) add(v *T, n *numbered[T], last *atomic.Uint64) {
	n.whole = v
	for {
		if h := uint(last.Add(1)); t.shard(h).add(n, h) {
			return
		}
	}
}

// add gives n the handle h if its place is free.
func (s *numberShard[T]) add(n *numbered[T], h uint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := placeOf(s.room(), h)
	if place.Load() != nil {
		return false
	}
	n.handle = h
	place.Store(n)
	s.used++
	return true
}

// room returns the places, of which at least half are free. The caller holds mu.
func (s *numberShard[T]) room() []seat[T] {
	old := s.places.Load()
	switch {
	case old == nil:
		places := make([]seat[T], fewestPlaces)
		s.places.Store(&places)
	case 2*s.used >= len(*old):
		places := make([]seat[T], 2*len(*old))
		for i := range *old {
			if n := (*old)[i].Load(); n != nil {
				placeOf(places, n.handle).Store(n)
			}
		}
		s.places.Store(&places)
	}
	return *s.places.Load()
}

// remove takes n out, if it is there.
func (t *numbers[T]) remove(n *numbered[T]) {
	s := t.shard(n.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	places := s.places.Load()
	if places != nil && placeOf(*places, n.handle).CompareAndSwap(n, nil) {
		s.used--
	}
}

// each runs f for all that are there. f may remove them; of what is added meanwhile it may see some.
func (t *numbers[T]) each(f func(*T)) {
	for i := range t.shards {
		places := t.shards[i].places.Load()
		if places == nil {
			continue
		}
		for j := range *places {
			if n := (*places)[j].Load(); n != nil {
				f(n.whole)
			}
		}
	}
}
