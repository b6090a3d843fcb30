package node

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	errClosing = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node is stopping, %w", wire.ErrElsewhere)
	errBusy    = pkcs11.Errorf(pkcs11.CKR_DEVICE_MEMORY, "too much is running already, %w", wire.ErrElsewhere)
)

// admit makes room for a request. While there is none, nothing more is read, which slows the client down; only when that
// lasts is the request refused, for pings wait behind it.
func (t *stream) admit(c *call, elements int) (err error) {
	q := c.request
	t.mu.Lock()
	_, twice := t.running[q.Id]
	ended := t.ended
	if !ended {
		t.calls.Add(1) // before anything is taken that must be given back before the stream has ended
	}
	t.mu.Unlock()
	if ended {
		return errClosing
	}
	defer func() {
		if err != nil {
			t.calls.Done()
		}
	}()
	if q.Id == 0 || twice {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "request %d is running, or is no number for a request", q.Id)
	}
	c.room = proto.Size(q) + elements*elementCost + c.row.room(q.Body)
	if _, ok := t.places.take(t.ctx, 1, t.limits.Patience); !ok {
		return errBusy
	}
	came := t.pipe.Arriving().handOver()
	c.ofHolder, c.ofServer = came[0], came[1]
	for _, r := range c.rooms() {
		want := min(c.room, r.of.size)
		if more := want - *r.taken; more < 0 {
			r.of.give(-more)
		} else if _, ok := r.of.take(t.ctx, more, t.limits.Patience); !ok {
			c.leaveRooms()
			return errBusy
		}
		*r.taken = want
	}
	limit := min(usualTime, t.limits.Time)
	if q.TimeoutMs > 0 {
		limit = min(time.Duration(q.TimeoutMs)*time.Millisecond, t.limits.Time)
	}
	c.limit = deadline{parent: t.ctx, at: c.came.Add(limit)}
	c.ctx = &c.limit
	t.Server.running.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		c.limit.end()
		c.giveBack(nil)
		return errClosing
	}
	t.running[q.Id] = c
	return nil
}
