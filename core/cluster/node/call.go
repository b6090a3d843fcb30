package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// call is one request from its arrival until its reply is sent.
type call struct {
	ctx     context.Context
	limit   deadline // what ctx comes from
	stream  *stream
	request *wire.Request
	row     *row
	kind    int // as it is counted
	came    time.Time
	lane    int
	// What it has taken of the stream's, the holder's and the server's room, of what it will need in all.
	ofStream, ofHolder, ofServer, room int

	cred     hsm.Credential
	isolated bool
	body     *wire.Reply // its Body is the answer; nil: done
}

func (c *call) hsm() hsm.Portable { return c.stream.opts.HSM }

// serve runs the call in a lane.
func (c *call) serve() { c.reply(c.settle(), false) }

// settle makes the reply; nil if nobody waits for it.
func (c *call) settle() *wire.Reply {
	if c.stream.ctx.Err() != nil {
		return nil
	}
	return c.answer()
}

// answer runs the request. What a handler does wrong is its own request's failure and no other's.
func (c *call) answer() (r *wire.Reply) {
	defer func() {
		if p := recover(); p != nil {
			r = c.stream.failed(c.request.Id, c.stream.panicked(c.row.name, p))
		}
	}()
	if err := c.run(); err != nil {
		return c.failure(err)
	}
	// The revision is that of after the call: it must cover what the call has done and has seen.
	r = c.stream.reply(c.request.Id)
	if c.body != nil {
		r.Body = c.body.Body
	}
	r.Isolated = c.isolated
	if n := proto.Size(r); n > wire.MaxMessage {
		wipeReply(r)
		return c.failure(pkcs11.Errorf(pkcs11.CKR_DEVICE_MEMORY, "the answer takes %d bytes, at most %d can be sent: ask for less at once", n, wire.MaxMessage))
	} else if more := n - c.row.room(c.request.Body); more > 0 {
		for _, r := range c.rooms() {
			r.of.force(more)
			*r.taken += more
		}
	}
	return r
}

// panicked logs a fault of ours, without the value, which may hold a secret, and without arguments for the same reason.
func (s *Server) panicked(name string, p any) error {
	var at strings.Builder
	pcs := make([]uintptr, 24)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		fmt.Fprintf(&at, "\n\t%s %s:%d", f.Function, f.File, f.Line)
		if !more {
			break
		}
	}
	s.log("%s: panic of type %T at%s", name, p, at.String())
	return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "the node met a fault in itself; its log says where")
}

func (c *call) failure(err error) *wire.Reply {
	err = c.classify(err)
	c.note(err)
	r := c.stream.failed(c.request.Id, err)
	r.Isolated = c.isolated
	return r
}

// classify says of an error whether asking again makes sense. What changes something and meets a store that does not
// answer, or a deadline, may have been done: the same operation may be asked for again, here or elsewhere. Nothing tells
// a store without a quorum from one that is broken, and the client's own deadline ends both.
func (c *call) classify(err error) error {
	if errors.Is(err, wire.ErrElsewhere) || errors.Is(err, wire.ErrUnknown) {
		return err
	}
	rv := pkcs11.RVOf(err)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case ended && rv == pkcs11.CKR_GENERAL_ERROR:
		rv = pkcs11.CKR_DEVICE_ERROR
	case rv != pkcs11.CKR_DEVICE_ERROR:
		return err
	}
	switch {
	case c.row.effectOf(c.request.Body) != none:
		return pkcs11.Errorf(rv, "%v: %w", err, wire.ErrUnknown)
	case c.stream.isClosed():
		return pkcs11.Errorf(rv, "%v: %w", err, wire.ErrElsewhere)
	}
	return pkcs11.Errorf(rv, "%w", err)
}

// noted are the failures that an operator may want to know of; what a caller did wrong is the caller's business.
var noted = map[pkcs11.RV]bool{
	pkcs11.CKR_DEVICE_ERROR: true, pkcs11.CKR_DEVICE_MEMORY: true, pkcs11.CKR_GENERAL_ERROR: true,
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED: true, pkcs11.CKR_PIN_LOCKED: true,
}

func (c *call) note(err error) {
	if noted[pkcs11.RVOf(err)] {
		c.stream.log("%s for %s: %w", c.row.name, c.stream.who.Holder, err)
	}
}

// smallReply is what the reader sends by himself, in bytes of what it takes in memory. A large one might have him wait for
// a slow client, and nothing would be read meanwhile.
const smallReply = 32 << 10

// reply sends the reply, if there is one, and lets another request have the same number. Only the reader sends by
// himself.
func (c *call) reply(r *wire.Reply, reader bool) {
	t := c.stream
	t.ledger.answered(c.kind, c.came, r)
	c.limit.end()
	wipeRequest(c.request)
	t.mu.Lock()
	delete(t.running, c.request.Id)
	t.mu.Unlock()
	defer t.calls.Done()
	switch {
	case r == nil:
		c.giveBack(nil)
	case reader && c.ofStream <= smallReply && t.sending.TryLock():
		if t.pipe.Send(r) != nil {
			t.pipe.Close() // so that whoever reads next sees it too
		}
		t.sending.Unlock()
		c.giveBack(r)
	default:
		t.done.put(outgoing{r, c}, t.queues[c.lane].waiting())
	}
}

// giveBack is called when the reply has been sent, or will not be.
func (c *call) giveBack(r *wire.Reply) {
	if r != nil {
		wipeReply(r)
	}
	c.leaveRooms()
	c.stream.Server.running.Add(-1)
}

// elementCost is what an element of a request takes in memory beside its own bytes, at most: a message in a list is a struct,
// and a pointer in a slice that has grown.
const elementCost = 96

// part is what a call has taken of a room.
type part struct {
	of    *room
	taken *int
}

func (c *call) rooms() [3]part {
	t := c.stream
	return [...]part{{t.bytes, &c.ofStream}, {t.holder.bytes, &c.ofHolder}, {t.shared, &c.ofServer}}
}

// leaveRooms gives back what the call has taken so far, and its place.
func (c *call) leaveRooms() {
	for _, r := range c.rooms() {
		r.of.give(*r.taken)
	}
	c.stream.places.give(1)
}

// operationSize is the length of an operation's name in bytes.
const operationSize = 16

// run checks what holds for every request, and runs it.
func (c *call) run() error {
	s, q, row := c.stream, c.request, c.row
	switch {
	case c.ctx.Err() != nil:
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the request was not begun in its time, %w", wire.ErrElsewhere)
	case row.who == members && s.who.Member == "":
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "only a node may ask that")
	case !row.always && s.isDraining():
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node is draining, %w", wire.ErrElsewhere)
	case len(q.Operation) != 0 && len(q.Operation) != operationSize:
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "an operation's name has %d bytes, this one %d", operationSize, len(q.Operation))
	}
	if err := c.current(); err != nil {
		return err
	}
	// What the node has taken in meanwhile may be that this client is to be refused.
	if _, err := s.welcome(s.who); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%s is not welcome any more", s.who.Holder)
	}
	// Nor is a PIN checked: a wrong one could not be counted, so nobody is to guess here.
	if c.isolated && row.effectOf(q.Body) != none {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node reaches no quorum, so nothing can be changed and no PIN be checked, %w", wire.ErrElsewhere)
	}
	c.ctx = hsm.WithCaller(c.ctx, hsm.Caller{Holder: s.who.Holder, Operation: string(q.Operation)})
	if len(q.Credential) > 0 && !row.open {
		var err error
		if c.cred, err = s.credential(q.Credential); errors.Is(err, hsm.ErrExpired) {
			return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "%v by this node's clock, %w", err, wire.ErrElsewhere)
		} else if err != nil {
			return err
		}
	}
	if row.who == managers {
		if err := c.hsm().May(c.cred, hsm.ManageCluster); err != nil {
			return err
		}
	}
	return row.run(c)
}

// slowLook is from when on looking whether the node is current counts as waiting.
const slowLook = time.Millisecond

// current returns when this node may answer, and knows at least what the caller knows.
func (c *call) current() (err error) {
	s := c.stream
	behind := c.request.MinRevision > c.hsm().Revision()
	if c.row.stale && !behind {
		return nil
	}
	look := func() {
		if c.row.who == members { // a node that asks just for this has its own time
			err = c.catchUp(c.ctx, behind)
			return
		}
		ctx := &deadline{parent: c.ctx, at: time.Now().Add(s.limits.CatchUp)}
		defer ctx.end()
		err = c.catchUp(ctx, behind)
	}
	if behind || s.lagging.Load() {
		s.lanes[c.lane].aside(look)
	} else {
		look()
	}
	return err
}

// catchUp waits for the cluster's word that this node may answer, and for the revision.
func (c *call) catchUp(ctx context.Context, behind bool) (err error) {
	s := c.stream
	began := time.Now()
	if !c.row.stale {
		c.isolated, err = s.opts.Cluster.Current(ctx)
		if slow := time.Since(began) > slowLook; slow != s.lagging.Load() {
			s.lagging.Store(slow)
		}
		if err != nil {
			return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node has not caught up: %v, %w", err, wire.ErrElsewhere)
		}
	}
	if !behind {
		return nil
	}
	if err := c.hsm().Await(ctx, c.request.MinRevision); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node is behind revision %d: %v, %w", c.request.MinRevision, err, wire.ErrElsewhere)
	}
	return nil
}
