package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Who waits alone for a reply reads the stream by himself, if its pipe allows that: a reader that wakes him would be a
// second goroutine, and often a second processor, on the way. Everybody else's replies are read by the stream's reader,
// and it is he who watches a stream on which nothing happens.

// turn is the turn of reading.
type turn struct {
	reading sync.Mutex    // held by who reads
	call    chan struct{} // it is the reader's turn; has room for one

	watching atomic.Bool // the timer runs
	used     atomic.Bool // since it last went off
	timer    *time.Timer
}

const (
	// leading is how long who waits alone reads by himself at most: meanwhile nothing else ends his wait.
	leading = 2 * time.Millisecond
	// unread is how long nobody reads a stream on which nobody waits; twice that at most.
	unread = 5 * time.Millisecond
)

func (t *turn) init() {
	t.call = make(chan struct{}, 1)
	t.call <- struct{}{}
	t.timer = time.AfterFunc(time.Hour, t.look)
	t.timer.Stop()
}

// callReader has the reader read from now on.
func (t *turn) callReader() {
	select {
	case t.call <- struct{}{}:
	default:
	}
}

// rest leaves the stream unread for a while.
func (t *turn) rest() {
	t.used.Store(true)
	if !t.watching.Swap(true) {
		t.timer.Reset(unread)
	}
}

func (t *turn) look() {
	if t.used.Swap(false) {
		t.timer.Reset(unread)
		return
	}
	t.watching.Store(false)
	t.callReader()
}

// lead reads until k's reply is there, or for a while. The caller waits alone; if the reader is at work already, he goes
// on.
func (x *conn) lead(k *call) {
	if !x.pipe.mayLead() || !x.turn.reading.TryLock() {
		return
	}
	x.pipe.lead(leading)
	for end := x.client.now() + int64(leading); len(k.answer) == 0 && x.client.now() < end; { // others' replies may come all the time
		r, err := x.pipe.recv()
		if err != nil { // the time is over, or the reader finds the same
			break
		}
		x.take(r)
	}
	x.pipe.lead(0)
	x.turn.reading.Unlock()
	x.passOn()
}

// passOn comes after the end of a turn: somebody may have begun to wait meanwhile.
func (x *conn) passOn() {
	if x.waiting() {
		x.turn.callReader()
	} else {
		x.turn.rest()
	}
}

func (x *conn) waiting() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pending) > 0
}

// read takes replies until the stream ends, in the turns that are the reader's.
func (x *conn) read() {
	for range x.turn.call {
		x.turn.reading.Lock()
		err := x.readOn()
		x.turn.reading.Unlock()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the node has ended it")
			}
			x.end(fmt.Errorf("%w: %w", errLost, err))
			return
		}
		x.passOn()
	}
}

// readOn reads until nobody waits any more, or the stream ends.
func (x *conn) readOn() error {
	for {
		r, err := x.pipe.recv()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded): // somebody else's
			continue
		case err != nil:
			return err
		}
		x.take(r)
		if x.pipe.mayLead() && !x.waiting() {
			return nil
		}
	}
}
