package node

import (
	"sync"
	"time"
)

// outbox is the replies of a stream that wait for its writer. While the stream has more requests waiting than replies,
// some are held back and sent together: waking the writer, sending, and all that a reply sets in motion on the other side
// is then paid once for many. The caller whose reply is held waits for no longer than the others that are in the queue,
// and never longer than holdTime.
type outbox struct {
	ready chan struct{} // the writer has something to take; it has room for one

	mu     sync.Mutex
	list   []outgoing
	held   bool // they are: the timer runs
	timer  *time.Timer
	closed bool
}

const (
	holdTime = 200 * time.Microsecond
	maxHeld  = 16
)

func (b *outbox) init() {
	b.ready = make(chan struct{}, 1)
	b.timer = time.AfterFunc(time.Hour, b.rouse)
	b.timer.Stop()
}

// put adds a reply. waiting is how many requests are behind it.
func (b *outbox) put(o outgoing, waiting int) {
	b.mu.Lock()
	b.list = append(b.list, o)
	if n := len(b.list); n < maxHeld && n <= waiting/2 {
		if !b.held {
			b.held = true
			b.timer.Reset(holdTime)
		}
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	b.rouse()
}

func (b *outbox) rouse() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take moves the replies to list. last says that there will be no more.
func (b *outbox) take(list []outgoing) (_ []outgoing, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list = append(list, b.list...)
	clear(b.list)
	b.list = b.list[:0]
	if b.held {
		b.held = false
		b.timer.Stop()
	}
	return list, b.closed
}

// close lets the writer end when it has sent what is there.
func (b *outbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.rouse()
}
