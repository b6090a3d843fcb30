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
	// patient is how long the stream is not read while its reader serves.
	patient = 150 * time.Microsecond
)

// baton is held by the goroutine that reads the stream.
type baton struct {
	mu     sync.Mutex
	serves *call // what its holder serves; nil: he reads
	timer  *time.Timer
}

// hold marks that the reader serves c; after a while next takes its place.
func (b *baton) hold(c *call, next func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serves = c
	if b.timer == nil {
		b.timer = time.AfterFunc(patient, func() {
			b.mu.Lock()
			passed := b.serves != nil
			b.serves = nil
			b.mu.Unlock()
			if passed {
				next()
			}
		})
		return
	}
	b.timer.Reset(patient)
}

// back says whether who has served c is still the reader.
func (b *baton) back(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.serves != c {
		return false
	}
	b.serves = nil
	b.timer.Stop()
	return true
}

// serveHere serves a request that came alone in the reader's goroutine. still says whether this goroutine is the reader
// afterwards; here is false if the request is for a worker.
func (t *stream) serveHere(c *call) (here, still bool) {
	t.mu.Lock()
	only := len(t.running) == 1
	t.mu.Unlock()
	lane := t.lanes[c.lane]
	if !only || c.lane != quick || !lane.enter() {
		return false, true
	}
	t.baton.hold(c, func() { go t.readOn() })
	r := c.settle()
	lane.leave()
	still = t.baton.back(c)
	c.reply(r, still)
	return true, still
}
