package node

import (
	"sync"
	"time"
)

// Who reads a stream serves a request by himself if it came alone: handing it to a worker, and the reply to the writer,
// takes longer than many a request. If it does take long, another goroutine goes on reading meanwhile, so that pings and
// whatever follows are not held up.

const (
	// lull is how long the reader must have waited for a request that came alone; what was there already is one of many.
	lull = 2 * time.Microsecond
	// patient is how long the stream is not read while its reader serves; twice that at most, for the clock is looked at
	// now and then: a timer for each request would cost as much as a worker.
	patient = time.Millisecond
	// slow is how long a request may take the reader if he is to serve the next one too, and caution how many he then
	// leaves to workers.
	slow    = 300 * time.Microsecond
	caution = 64
)

// baton is held by the goroutine that reads the stream.
type baton struct {
	mu     sync.Mutex
	serves *call // what its holder serves; nil: he reads
	since  time.Time
	timer  *time.Timer
	armed  bool
	used   bool // since the timer last went off
	pass   func()

	leave int // so many requests are for workers; the reader's own
}

// hold marks that the reader serves c. After a while pass is called, and another reader takes its place.
func (b *baton) hold(c *call, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serves, b.since, b.used = c, now, true
	switch {
	case b.armed:
	case b.timer == nil:
		b.timer = time.AfterFunc(patient, b.look)
	default:
		b.timer.Reset(patient)
	}
	b.armed = true
}

// look passes the baton on if its holder has served for too long.
func (b *baton) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.serves != nil && time.Since(b.since) >= patient {
		b.serves, b.armed, b.leave = nil, false, caution
		go b.pass()
		return
	}
	if b.armed = b.serves != nil || b.used; b.armed {
		b.timer.Reset(patient)
	}
	b.used = false
}

// back says whether who has served c is still the reader.
func (b *baton) back(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.serves != c {
		return false
	}
	b.serves = nil
	if time.Since(b.since) > slow {
		b.leave = caution
	}
	return true
}

// serveHere serves a request that came alone in the reader's goroutine. still says whether this goroutine is the reader
// afterwards; here is false if the request is for a worker.
func (t *stream) serveHere(c *call) (here, still bool) {
	if c.lane != quick {
		return false, true
	}
	if t.baton.leave > 0 {
		t.baton.leave--
		return false, true
	}
	t.mu.Lock()
	only := len(t.running) == 1
	t.mu.Unlock()
	lane := t.lanes[c.lane]
	if !only || !lane.enter() {
		return false, true
	}
	t.baton.hold(c, time.Now())
	r := c.settle()
	lane.leave()
	still = t.baton.back(c)
	c.reply(r, still)
	return true, still
}
