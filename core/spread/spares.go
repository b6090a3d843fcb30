package spread

import "sync/atomic"

// Spares is what operations with a key have finished with and the next can begin with, such as a MAC's state. Unlike a
// sync.Pool's, its memory goes with the key, and a key that is used by one thread at a time has no more than one. The zero
// value is empty and ready.
type Spares[T any] struct {
	first atomic.Pointer[T]
	more  atomic.Pointer[[seats]line[atomic.Pointer[T]]] // once threads have met at first
}

// Take returns a spare that is now the caller's alone; nil if there is none in reach of his seat.
func (s *Spares[T]) Take(at Seat) *T {
	if at != Nowhere {
		if more := s.more.Load(); more != nil {
			return more[at].value.Swap(nil)
		}
	}
	return s.first.Swap(nil)
}

// Put takes what the caller uses no more; the collector gets it where there is no room.
func (s *Spares[T]) Put(at Seat, v *T) {
	more := s.more.Load()
	if more == nil || at == Nowhere {
		if s.first.CompareAndSwap(nil, v) || at == Nowhere {
			return
		}
		more = new([seats]line[atomic.Pointer[T]])
		if !s.more.CompareAndSwap(nil, more) {
			more = s.more.Load()
		}
	}
	more[at].value.Store(v)
}
