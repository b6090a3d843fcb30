package node

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Requests run in lanes, so that what takes long holds up nothing else.
const (
	quick   = iota // computing, at most some milliseconds
	storing        // mostly waits for the store
	heavy          // making key pairs, checking PINs, hashing all objects: much time, or much memory
	waiting        // waits for other nodes
	numLanes
)

// laneLimits are how many requests run at once. In the quick lane it is more than there are processors, because some of
// its requests do wait; in the heavy one no more than that, because each of them keeps one busy.
func laneLimits() [numLanes]int {
	n := runtime.GOMAXPROCS(0)
	return [numLanes]int{quick: 8 * n, storing: 64, heavy: max(2, n), waiting: 64}
}

// lane runs calls with a bounded number of goroutines. Streams take turns, so that one with a thousand requests
// delays another's by one of them.
type lane struct {
	mu      sync.Mutex
	wake    *sync.Cond
	limit   int // of workers
	workers int
	idle    int      // workers that wait and have not been woken
	turns   []*queue // those that hold something
	closed  bool
	ended   sync.WaitGroup
}

// queue is what one stream has waiting in one lane.
type queue struct {
	calls []*call
	count atomic.Int32 // of calls, for who does not hold the lane's lock
}

func (q *queue) waiting() int { return int(q.count.Load()) }

func newLane(limit int) *lane {
	l := &lane{limit: limit}
	l.wake = sync.NewCond(&l.mu)
	return l
}

// put hands a call over; false if the lane is closed.
func (l *lane) put(q *queue, c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	q.calls = append(q.calls, c)
	q.count.Add(1)
	if len(q.calls) == 1 {
		l.turns = append(l.turns, q)
	}
	l.rouse()
	return true
}

// rouse gets a worker for one more call. The caller holds mu.
func (l *lane) rouse() {
	switch {
	case l.idle > 0:
		l.idle--
		l.wake.Signal()
	case l.workers < l.limit:
		l.workers++
		l.ended.Go(l.work)
	}
}

func (l *lane) work() {
	for {
		c := l.next()
		if c == nil {
			return
		}
		c.serve()
	}
}

// next waits for a call; nil when the worker is to end.
func (l *lane) next() *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.turns) == 0 {
		if l.closed || l.workers > l.limit {
			l.workers--
			return nil
		}
		l.idle++
		l.wake.Wait()
	}
	if l.workers > l.limit && !l.closed { // the others do what there is
		l.workers--
		return nil
	}
	q := l.turns[0]
	l.turns[0] = nil
	l.turns = l.turns[1:]
	c := q.calls[0]
	q.calls[0] = nil
	q.calls = q.calls[1:]
	q.count.Add(-1)
	if len(q.calls) > 0 {
		l.turns = append(l.turns, q)
	} else {
		q.calls = nil
	}
	return c
}

// enter lets who is no worker do what a worker does, until leave; false if there is no room, or others come first.
func (l *lane) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.turns) > 0 || l.workers-l.idle >= l.limit {
		return false
	}
	l.limit--
	l.ended.Add(1)
	return true
}

func (l *lane) leave() {
	l.mu.Lock()
	l.limit++
	if len(l.turns) > 0 {
		l.rouse()
	}
	l.mu.Unlock()
	l.ended.Done()
}

// aside runs f, which waits and computes nothing: another worker takes this one's place meanwhile.
func (l *lane) aside(f func()) {
	l.mu.Lock()
	l.limit++
	if len(l.turns) > 0 {
		l.rouse()
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.limit--
		l.mu.Unlock()
	}()
	f()
}

// close lets the workers do what is there (their streams have ended, so it is not much) and waits for them.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.idle = 0
	l.wake.Broadcast()
	l.mu.Unlock()
	l.ended.Wait()
}

// room is a number of bytes, or of whatever is counted, that may be held at once.
type room struct {
	mu    sync.Mutex
	size  int
	free  int // less than 0 after force
	queue []*waiter
}

type waiter struct {
	need  int
	ready chan struct{}
}

func newRoom(n int) *room { return &room{size: n, free: n} }

// take waits for n, at most for as long as patience; false if there was none. More than the whole room counts as the
// whole room: what it took is returned for give.
func (r *room) take(ctx context.Context, n int, patience time.Duration) (taken int, ok bool) {
	if n = min(n, r.size); n <= 0 {
		return n, true
	}
	r.mu.Lock()
	if len(r.queue) == 0 && r.free >= n {
		r.free -= n
		r.mu.Unlock()
		return n, true
	}
	w := &waiter{n, make(chan struct{})}
	r.queue = append(r.queue, w)
	r.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-w.ready:
		return n, true
	case <-t.C:
	case <-ctx.Done():
	}
	return n, !r.leave(w)
}

// leave takes a waiter out of the queue; false if it has been served meanwhile.
func (r *room) leave(w *waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, x := range r.queue {
		if x == w {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			r.serve()
			return true
		}
	}
	return false
}

// force takes n that are in use already.
func (r *room) force(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free -= n
}

// give returns what was taken.
func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.serve()
}

// serve lets in whoever comes next. The caller holds mu.
func (r *room) serve() {
	for len(r.queue) > 0 && r.free >= r.queue[0].need {
		w := r.queue[0]
		r.queue = r.queue[1:]
		r.free -= w.need
		close(w.ready)
	}
}
