package client

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// traits say how a request is to be treated.
type traits struct {
	changes  bool      // it carries the name of an operation, so that sending it twice does it once
	observes bool      // its answer tells of the token's state: what is asked later must not be answered from before
	light    bool      // its duration tells how fast a node is
	excess   pkcs11.RV // the answer for a request that is too large; CKR_DEVICE_MEMORY unless set
	at       *node     // only this one is asked
}

var (
	pure     = traits{}
	reading  = traits{observes: true, light: true}
	searches = traits{observes: true}
	changing = traits{changes: true, observes: true}
	stepping = traits{light: true, excess: pkcs11.CKR_DATA_LEN_RANGE}
)

// request is one call with all that its attempts need.
type request struct {
	traits
	cred *credential
	q    *wire.Request
}

// waiter is what a call needs to wait; used again by later ones.
type waiter struct {
	call  call
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	w.call.answer = make(chan answer, 1)
	return w
}}

// attempts is what has been tried since the last pause.
type attempts struct {
	nodes  []*node
	seats  [4]*node
	pause  time.Duration
	last   error // what the last attempt came to
	stands bool  // all nodes that were asked in this round said that they cannot and that another might
	since  int64 // when the first one failed
}

func (a *attempts) has(n *node) bool { return slices.Contains(a.nodes, n) }

func (a *attempts) failed(n *node, err error, now int64) {
	if a.since == 0 {
		a.since = now
	}
	if len(a.nodes) == 0 {
		a.nodes, a.stands = a.seats[:0], true
	}
	a.nodes = append(a.nodes, n)
	a.stands = a.stands && errors.Is(err, wire.ErrElsewhere)
	a.last = err
}

// Pauses when all nodes have been tried, and how long nodes that all say that they cannot are asked again: a new leader
// of the store is found in that time.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 250 * time.Millisecond
	patience   = 4 * time.Second
)

// do sends a request and returns its reply, whoever gives it.
func (c *Client) do(ctx context.Context, t traits, cred *credential, q *wire.Request) (*wire.Reply, error) {
	return c.send(ctx, request{traits: t, cred: cred, q: q})
}

func (c *Client) send(ctx context.Context, q request) (*wire.Reply, error) {
	if q.changes {
		q.q.Operation = make([]byte, 16)
		rand.Read(q.q.Operation)
	}
	if q.excess == 0 {
		q.excess = pkcs11.CKR_DEVICE_MEMORY
	}
	deadline := c.now() + int64(c.opts.Timeout)
	if d, ok := ctx.Deadline(); ok {
		deadline = min(deadline, c.now()+int64(time.Until(d)))
	}
	w := waiters.Get().(*waiter)
	defer waiters.Put(w)
	w.timer.Reset(time.Duration(deadline - c.now()))
	defer w.timer.Stop()
	var tried attempts
	for {
		changes := (<-chan struct{})(nil)
		n, x := c.choose(q.at, &tried)
		if x == nil {
			changes = c.changes()
			n, x = c.choose(q.at, &tried)
		}
		if x == nil {
			if err := c.rest(ctx, w, &tried, changes); err != nil {
				return nil, err
			}
			continue
		}
		r, err := c.try(ctx, w, n, x, &q, deadline)
		if err == nil {
			return r, nil
		}
		if !isRetry(err) {
			return nil, err
		}
		tried.failed(n, err, c.now())
	}
}

// choose picks a node with its connection.
func (c *Client) choose(at *node, tried *attempts) (*node, *conn) {
	if at == nil {
		return c.pick(tried)
	}
	if tried.has(at) {
		return at, nil
	}
	return at, at.conn.Load()
}

// rest waits when there is nobody left to ask: for a change if there was nobody, else for a while. An error ends the
// call.
func (c *Client) rest(ctx context.Context, w *waiter, tried *attempts, changes <-chan struct{}) error {
	var pause <-chan time.Time
	if len(tried.nodes) > 0 {
		if tried.stands && (pkcs11.RVOf(tried.last) == pkcs11.CKR_USER_NOT_LOGGED_IN || c.now()-tried.since > int64(patience)) {
			return tried.last
		}
		tried.pause = min(max(2*tried.pause, firstRetry), lastRetry)
		t := time.NewTimer(c.jitter(tried.pause))
		defer t.Stop()
		pause = t.C
		tried.nodes = nil
	}
	select {
	case <-pause:
	case <-changes:
	case <-ctx.Done():
		return ended(ctx)
	case <-c.ctx.Done():
		return errClosed
	case <-w.timer.C:
		return c.tooLate(tried.last)
	}
	return nil
}

// try asks one node.
func (c *Client) try(ctx context.Context, w *waiter, n *node, x *conn, r *request, deadline int64) (*wire.Reply, error) {
	q := r.q
	q.MinRevision = c.observed.Load()
	q.TimeoutMs = uint32(max((deadline-c.now())/int64(time.Millisecond), 1))
	if r.cred != nil {
		q.Credential = r.cred.bytes()
	}
	f, err := x.encode(q, r.excess)
	if err != nil {
		return nil, err
	}
	id, k := q.Id, &w.call
	k.sample = r.light
	n.busy.Add(1)
	defer n.busy.Add(-1)
	sent, alone := x.start(k, id, f)
	if !sent {
		return nil, onTheWay(n, x.why())
	}
	if alone {
		x.lead(k)
	}
	var a answer
	select {
	case a = <-k.answer:
	case <-ctx.Done():
		x.giveUpOne(k, id)
		return nil, ended(ctx)
	case <-w.timer.C:
		x.giveUpOne(k, id)
		return nil, c.tooLate(onTheWay(n, errSilent))
	}
	if a.err != nil {
		if c.ctx.Err() != nil {
			return nil, errClosed
		}
		return nil, onTheWay(n, a.err)
	}
	if r.observes {
		raise(&c.observed, a.reply.GetRevision())
	}
	return a.reply, a.reply.GetFailure().Err()
}

// giveUpOne stops waiting and tells the node so.
func (x *conn) giveUpOne(k *call, id uint64) {
	x.forget(k, id)
	x.tell(&wire.Request{Body: &wire.Request_Cancel{Cancel: &wire.Cancel{Id: id}}})
}

// onTheWay is the error of an attempt whose outcome is not known.
func onTheWay(n *node, err error) error {
	return &pkcs11.Error{RV: pkcs11.CKR_DEVICE_ERROR, Text: "node " + n.name() + ": " + err.Error(), Cause: wire.ErrUnknown}
}

// ended answers a call whose context has ended.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "no node has answered in time: %w", ctx.Err())
	}
	return pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "the call was given up: %w", ctx.Err())
}

// tooLate answers a call that no node has answered in time. "Some problem has occurred with the token and/or slot"
// (PKCS#11 v3.2, CKR_DEVICE_ERROR): the token has not gone, so that CKR_DEVICE_REMOVED would be wrong.
func (c *Client) tooLate(last error) error {
	states := c.states()
	if now, was := c.now(), c.downLog.Load(); (was == 0 || now-was > int64(time.Second)) && c.downLog.CompareAndSwap(was, now) {
		c.log("no node has answered within %v: %s", c.opts.Timeout, states)
	}
	if last == nil {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "no node could be reached within %v: %s", c.opts.Timeout, states)
	}
	return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "no node has answered within %v, the last: %v", c.opts.Timeout, last) // no %w: this is no retry
}
