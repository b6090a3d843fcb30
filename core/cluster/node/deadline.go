package node

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, with its parent, or when it is cancelled. Unlike context.WithDeadline's it
// costs nothing until somebody waits for its end, which few requests do: they only ask whether it has come.
type deadline struct {
	parent context.Context
	at     time.Time

	mu      sync.Mutex
	ended   bool            // cancelled
	context context.Context // what somebody waits for; nil: nobody does
	cancel  context.CancelFunc
}

var _ context.Context = (*deadline)(nil)

// end cancels the context. It may be called more than once.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}

// real returns a context of the standard library that ends with this one; nil if nobody has needed it yet.
func (d *deadline) real() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.context
}

// Done implements context.Context, as do the methods below.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.context == nil {
		d.context, d.cancel = context.WithDeadline(d.parent, d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.context.Done()
}

func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.context != nil:
		return d.context.Err()
	case d.ended:
		return context.Canceled
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return d.parent.Err()
}

func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.parent.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Value asks the real context if there is one, so that what is derived from it finds out how to end with it.
func (d *deadline) Value(key any) any {
	if c := d.real(); c != nil {
		return c.Value(key)
	}
	return d.parent.Value(key)
}
