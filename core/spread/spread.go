// Package spread keeps what many threads write off one another's cache lines. What one thread at a time writes costs it a few
// nanoseconds; what two write in turn travels between their processors each time, which takes longer than looking up a key.
package spread

import "sync/atomic"

// Seat is where somebody who comes again and again finds his own line. Any seat does for anything: who shares one waits for
// the other now and then.
type Seat uint8

// Nowhere is the seat of who comes for the first time, or does not come again: a seat costs a write that all see.
const Nowhere Seat = 255

// seats are enough for the threads that are at the same key at the same moment.
const seats = 8

// Seats gives seats out, all equally often. Those that come together, one behind the other, have Seats of their own.
type Seats struct{ given atomic.Uint32 }

// Seated returns a seat for who had at so far and comes again: the same, unless that was nowhere.
func (s *Seats) Seated(at Seat) Seat {
	if at != Nowhere {
		return at
	}
	return Seat(s.given.Add(1) % seats)
}

// line has a value for itself.
type line[T any] struct {
	value T
	_     [64]byte
}

// patience is how often threads meet before lines are made for them: most keys are used by one at a time.
const patience = 16
