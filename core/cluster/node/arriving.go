package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// arriving is the memory that holds what has come of a stream's next requests. It is taken from the rooms that running requests
// are taken from, so that who sends much and slowly, or never the rest, costs a node no more than who sends all of it.
// belongs, resize and add wait for room; the others do not.
type arriving struct {
	// refuse ends the connection, when add has found no room.
	refuse  func()
	nobodys int // what it may hold as long as it has no rooms

	mu       sync.Mutex
	rooms    [2]*room // the holder's and the server's; nil: nobody has said yet whose stream it is
	taken    [2]int   // from the rooms
	patience time.Duration
	size     int
	runs     []run // what size consists of, where it is counted by frames
	refused  bool
	over     bool // the stream has ended
}

// run is some frames of data that have come one after the other.
type run struct{ data, cost int }

const (
	// unasked is what a stream may hold anyway. More is taken from the rooms in steps of the same size.
	unasked = 16 << 10
	// nobodys is what a stream may hold as long as nobody knows whose it is: its handler has not begun yet, or takes one
	// small message only.
	nobodys = 256 << 10
	// mostArriving is what the frames of the longest message may take. In very small ones it would be more than there is.
	mostArriving = 4 * wire.MaxMessage
	runLimit     = 16 << 10 // cost of a run that takes in another frame
	// patienceRPC is how often the patience for a request is had with what arrives over gRPC, where it is the connection
	// that is lost.
	patienceRPC = 10
)

var errArriving = errors.New("too much is arriving at the node at once")

// asked is how much of size is taken from a room.
func asked(size int) int {
	if size <= unasked {
		return 0
	}
	return (size - 1) / unasked * unasked
}

// belongs says from which rooms is taken, what has come already included.
func (a *arriving) belongs(patience time.Duration, holder, server *room) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rooms, a.patience = [2]*room{holder, server}, patience
	return a.ask(1)
}

// resize says how much memory there is to be. An error means that there is no room for it.
func (a *arriving) resize(size int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.size
	a.size = size
	err := a.ask(1)
	if err != nil {
		a.size = before
	}
	return err
}

// add counts a frame of data that takes cost bytes of memory.
func (a *arriving) add(data, cost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.refused {
		return
	}
	if n := len(a.runs); n > 0 && a.runs[n-1].cost+cost <= runLimit {
		a.runs[n-1].data += data
		a.runs[n-1].cost += cost
	} else {
		a.runs = append(a.runs, run{data, cost})
	}
	a.size += cost
	if a.ask(patienceRPC) != nil && !a.over {
		a.refused = true
		a.refuse()
	}
}

// remove counts that the first data bytes have gone.
func (a *arriving) remove(data int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.runs) > 0 && data >= a.runs[0].data {
		data -= a.runs[0].data
		a.size -= a.runs[0].cost
		a.runs = a.runs[1:]
	}
	if len(a.runs) == 0 {
		a.runs = nil
	} else if r := &a.runs[0]; data > 0 {
		less := r.cost * data / r.data
		r.data -= data
		r.cost -= less
		a.size -= less
	}
}

// ask takes from the rooms what the size wants more. What it wants less is for the request that has come: handOver or forgo
// says what becomes of that, and of what two have taken at the same time. The caller holds mu, which is free while it waits.
func (a *arriving) ask(times time.Duration) error {
	if a.over || a.size > mostArriving || a.rooms[0] == nil && a.size > a.nobodys {
		return errArriving
	}
	if a.rooms[0] == nil {
		return nil
	}
	want := asked(a.size)
	end := time.Now().Add(times * a.patience)
	for i, r := range a.rooms {
		more := min(want, r.size) - a.taken[i]
		if more <= 0 {
			continue
		}
		a.mu.Unlock()
		_, ok := r.take(context.Background(), more, time.Until(end))
		a.mu.Lock()
		switch {
		case !ok:
			return errArriving
		case a.over:
			r.give(more)
			return errArriving
		}
		a.taken[i] += more
	}
	return nil
}

// handOver leaves to a request that has come whole what was taken for it while it came: so much of each room.
func (a *arriving) handOver() (spare [2]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want := asked(a.size)
	for i := range spare {
		spare[i] = max(0, a.taken[i]-want)
		a.taken[i] -= spare[i]
	}
	return spare
}

// forgo gives back what was handed over to nobody.
func (a *arriving) forgo() {
	for i, n := range a.handOver() {
		if n > 0 {
			a.rooms[i].give(n)
		}
	}
}

// end gives everything back, when nothing is read any more. It returns whether the stream has ended for want of room.
func (a *arriving) end() (refused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over, a.size, a.runs = true, 0, nil
	for i, n := range a.taken {
		if n > 0 {
			a.rooms[i].give(n)
		}
	}
	a.taken = [2]int{}
	return a.refused
}
