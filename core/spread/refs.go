package spread

import "sync/atomic"

// Refs counts references to something that ends when nobody holds it any more. It begins with one, its owner's, which Start
// gives. While the owner holds it, others come and go, from many threads without meeting: once they have met a number of
// times, each counts on a line of its own. When the owner has let go nobody else gets in that way.
//
// Whoever has got in on a line has added himself there before he saw the owner's reference, and whoever ends it sees that the
// owner's is gone before he looks at the lines: one of the two sees the other.
type Refs struct {
	n     atomic.Int32 // the owner's, and of those who came while there were no lines
	met   atomic.Int32
	over  atomic.Bool
	lines atomic.Pointer[[seats]line[atomic.Int32]]
}

// Hold is a reference, to be given back once: where it is counted.
type Hold int8

const (
	// Owner is the reference that Start gives, and that of who came before there were lines or has no seat.
	Owner Hold = 0
	none  Hold = -1
)

// Start gives the owner his reference.
func (r *Refs) Start() { r.n.Store(1) }

// Acquire returns a reference; without ok there is none to be had any more. Then the Hold must be given back all the same,
// for who looked meanwhile took it for one.
func (r *Refs) Acquire(s Seat) (h Hold, ok bool) {
	if lines := r.lines.Load(); lines != nil && s != Nowhere {
		lines[s].value.Add(1)
		return Hold(s) + 1, r.n.Load() > 0
	}
	for {
		n := r.n.Load()
		if n == 0 {
			return none, false
		}
		if r.n.CompareAndSwap(n, n+1) {
			return Owner, true
		}
		r.meet()
	}
}

// meet is what happens when two threads are there at the same moment.
func (r *Refs) meet() {
	if r.met.Add(1) == patience {
		r.lines.CompareAndSwap(nil, new([seats]line[atomic.Int32]))
	}
}

// Release gives a reference back. ended says that it was the last, to one caller alone.
func (r *Refs) Release(h Hold) (ended bool) {
	switch {
	case h == none:
		return false
	case h == Owner:
		if r.n.Add(-1) > 0 {
			return false
		}
	default:
		r.lines.Load()[h-1].value.Add(-1)
		if r.n.Load() > 0 {
			return false
		}
	}
	if lines := r.lines.Load(); lines != nil {
		for i := range lines {
			if lines[i].value.Load() != 0 {
				return false // he will see that n is 0
			}
		}
	}
	return r.over.CompareAndSwap(false, true)
}
