package cryptoki

import (
	"sync"
	"sync/atomic"
)

// numbered is what an application has a handle of: a pointer that knows its own.
type numbered[T any] interface {
	*T
	number() *uint // constant once it is in the table
}

// numbers finds what the handles of an application stand for. Looking one up takes no lock, allocates nothing and writes
// nothing. Handles that follow each other are in different shards, so that threads that give and take back handles at the
// same time hardly ever wait for each other.
type numbers[T any, P numbered[T]] struct {
	shards [numberShards]numberShard[T, P]
}

const (
	numberShards = 16
	fewestPlaces = 8 // of a shard
)

// numberShard has the handles that are its own number modulo numberShards.
//
// The place of a handle is what is left of it modulo the number of places, a power of two; a handle whose place is taken
// is never given. So two that fit into the table also fit into one of twice the size.
type numberShard[T any, P numbered[T]] struct {
	places atomic.Pointer[[]atomic.Pointer[T]]

	mu   sync.Mutex // guards what is in the places
	used int

	_ [64]byte // another shard's lock is in another cache line
}

func (t *numbers[T, P]) shard(h uint) *numberShard[T, P] { return &t.shards[h%numberShards] }

// placeOf is where a handle is if it is there at all.
func placeOf[T any](places []atomic.Pointer[T], h uint) *atomic.Pointer[T] {
	return &places[h/numberShards&uint(len(places)-1)]
}

// load returns what a handle stands for. It may have been removed this moment.
func (t *numbers[T, P]) load(h uint) (P, bool) {
	places := t.shard(h).places.Load()
	if places == nil {
		return nil, false
	}
	v := P(placeOf(*places, h).Load())
	return v, v != nil && *v.number() == h
}

// add gives v the next handle whose place is free.
func (t *numbers[T, P]) add(v P, last *atomic.Uint64) {
	for {
		if h := uint(last.Add(1)); t.shard(h).add(v, h) {
			return
		}
	}
}

// add gives v the handle h if its place is free.
func (s *numberShard[T, P]) add(v P, h uint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := placeOf(s.room(), h)
	if place.Load() != nil {
		return false
	}
	*v.number() = h
	place.Store(v)
	s.used++
	return true
}

// room returns the places, of which at least half are free. The caller holds mu.
func (s *numberShard[T, P]) room() []atomic.Pointer[T] {
	old := s.places.Load()
	switch {
	case old == nil:
		places := make([]atomic.Pointer[T], fewestPlaces)
		s.places.Store(&places)
	case 2*s.used >= len(*old):
		places := make([]atomic.Pointer[T], 2*len(*old))
		for i := range *old {
			if v := P((*old)[i].Load()); v != nil {
				placeOf(places, *v.number()).Store(v)
			}
		}
		s.places.Store(&places)
	}
	return *s.places.Load()
}

// remove takes v out, if it is there.
func (t *numbers[T, P]) remove(v P) {
	h := *v.number()
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	places := s.places.Load()
	if places != nil && placeOf(*places, h).CompareAndSwap(v, nil) {
		s.used--
	}
}

// each runs f for all that are there. f may remove them; of what is added meanwhile it may see some.
func (t *numbers[T, P]) each(f func(P)) {
	for i := range t.shards {
		places := t.shards[i].places.Load()
		if places == nil {
			continue
		}
		for j := range *places {
			if v := P((*places)[j].Load()); v != nil {
				f(v)
			}
		}
	}
}
