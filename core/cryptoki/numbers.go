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
// nothing.
//
// The place of a handle is the handle modulo the number of places, a power of two; a handle whose place is taken is never
// given. So two that fit into the table also fit into one of twice the size.
type numbers[T any, P numbered[T]] struct {
	places atomic.Pointer[[]atomic.Pointer[T]]

	mu   sync.Mutex // guards what is in the places
	used int
}

const fewestPlaces = 64

// load returns what a handle stands for. It may have been removed this moment.
func (t *numbers[T, P]) load(h uint) (P, bool) {
	places := t.places.Load()
	if places == nil {
		return nil, false
	}
	v := P((*places)[h&uint(len(*places)-1)].Load())
	return v, v != nil && *v.number() == h
}

// add gives v the next handle whose place is free.
func (t *numbers[T, P]) add(v P, last *atomic.Uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places := t.room()
	for {
		h := uint(last.Add(1))
		if place := &places[h&uint(len(places)-1)]; place.Load() == nil {
			*v.number() = h
			place.Store(v)
			t.used++
			return
		}
	}
}

// room returns the places, of which at least half are free. The caller holds mu.
func (t *numbers[T, P]) room() []atomic.Pointer[T] {
	old := t.places.Load()
	switch {
	case old == nil:
		places := make([]atomic.Pointer[T], fewestPlaces)
		t.places.Store(&places)
	case 2*t.used >= len(*old):
		places := make([]atomic.Pointer[T], 2*len(*old))
		for i := range *old {
			if v := P((*old)[i].Load()); v != nil {
				places[*v.number()&uint(len(places)-1)].Store(v)
			}
		}
		t.places.Store(&places)
	}
	return *t.places.Load()
}

// remove takes v out, if it is there.
func (t *numbers[T, P]) remove(v P) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places := t.places.Load()
	if places != nil && (*places)[*v.number()&uint(len(*places)-1)].CompareAndSwap(v, nil) {
		t.used--
	}
}

// each runs f for all that are there. f may remove them; of what is added meanwhile it may see some.
func (t *numbers[T, P]) each(f func(P)) {
	places := t.places.Load()
	if places == nil {
		return
	}
	for i := range *places {
		if v := P((*places)[i].Load()); v != nil {
			f(v)
		}
	}
}
