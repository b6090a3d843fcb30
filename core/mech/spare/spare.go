// Package spare keeps, with a key, what one operation has finished with and the next can begin with: a cipher with its
// round keys, a MAC's state. Unlike a sync.Pool's, its memory goes with the key, and a key that is used by one thread at a
// time has no more than one.
package spare

import "sync/atomic"

// Set is a handful of spares. The zero value is empty and ready; it may be used from many goroutines at once.
type Set[T any] struct{ places [8]atomic.Pointer[T] }

// Take returns a spare that is now the caller's alone; nil if there is none.
func (s *Set[T]) Take() *T {
	for i := range s.places {
		if v := s.places[i].Load(); v != nil && s.places[i].CompareAndSwap(v, nil) {
			return v
		}
	}
	return nil
}

// Put takes what the caller uses no more; the collector gets it where there are enough.
func (s *Set[T]) Put(v *T) {
	for i := range s.places {
		if s.places[i].Load() == nil && s.places[i].CompareAndSwap(nil, v) {
			return
		}
	}
}
