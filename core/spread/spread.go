// Package spread keeps what many threads write off one another's cache lines. What one thread at a time writes costs it a few
// nanoseconds; what two write in turn travels between their processors each time, which takes longer than looking up a key.
package spread

import "sync/atomic"

// Seat is where somebody who comes again and again finds his own line. Any seat does for anything: who shares one waits for
// the other now and then.
type Seat uint8

// Nowhere is the seat of who does not come again.
const Nowhere Seat = 255

// seats are enough for the threads that are at the same key at the same moment.
const seats = 8

var taken atomic.Uint32

// NewSeat returns a seat, all equally often.
func NewSeat() Seat { return Seat(taken.Add(1) % seats) }

// line has a value for itself.
type line[T any] struct {
	value T
	_     [64]byte
}

// patience is how often threads meet before lines are made for them: most keys are used by one at a time.
const patience = 16
