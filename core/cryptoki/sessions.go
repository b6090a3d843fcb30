package cryptoki

import (
	"sync"
	"sync/atomic"
)

// sessions finds the sessions of a run by their handles. Looking one up takes no lock and writes nothing.
//
// A session's place is its handle modulo the number of places, a power of two; a handle whose place is taken is never
// given. So two sessions that fit into the table also fit into one of twice the size.
type sessions struct {
	places atomic.Pointer[[]atomic.Pointer[session]]

	mu   sync.Mutex // guards what is in the places
	open int
}

const fewestPlaces = 64

// load returns the session of a handle. It may have been closed this moment.
func (t *sessions) load(h SessionHandle) (*session, bool) {
	places := t.places.Load()
	if places == nil {
		return nil, false
	}
	x := (*places)[h&uint(len(*places)-1)].Load()
	return x, x != nil && x.handle == h
}

// add gives a session the next handle whose place is free.
func (t *sessions) add(x *session, last *atomic.Uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places := t.room()
	for {
		x.handle = SessionHandle(last.Add(1))
		if place := &places[x.handle&uint(len(places)-1)]; place.Load() == nil {
			place.Store(x)
			t.open++
			return
		}
	}
}

// room returns the places, of which at least half are free. The caller holds mu.
func (t *sessions) room() []atomic.Pointer[session] {
	old := t.places.Load()
	switch {
	case old == nil:
		places := make([]atomic.Pointer[session], fewestPlaces)
		t.places.Store(&places)
	case 2*t.open >= len(*old):
		places := make([]atomic.Pointer[session], 2*len(*old))
		for i := range *old {
			if x := (*old)[i].Load(); x != nil {
				places[x.handle&uint(len(places)-1)].Store(x)
			}
		}
		t.places.Store(&places)
	}
	return *t.places.Load()
}

// remove takes a session out, once.
func (t *sessions) remove(x *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	places := *t.places.Load()
	places[x.handle&uint(len(places)-1)].Store(nil)
	t.open--
}
