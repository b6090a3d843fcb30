package node

import (
	"context"
	"errors"
	"io"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

type service struct {
	wire.UnimplementedNodeServer
	server *Server
}

// stream is one client's connection for requests. One goroutine reads and one writes; the lanes' do the work.
type stream struct {
	*Server
	pipe   pipe
	who    guest
	holder *holder
	shared *room           // with other holders
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc

	queues [numLanes]queue // guarded by the lanes
	places *room           // for requests
	bytes  *room           // of requests and replies
	// Replies of requests, with room for each that may run, so that no worker waits for a slow client; and those of the
	// reader, who may.
	done  outbox
	now   chan outgoing
	calls sync.WaitGroup
	// Held by who sends: the writer, or the reader when he has served a request.
	sending sync.Mutex
	replies []*wire.Reply // what is being sent together
	baton   baton
	over    chan error // takes why reading has ended

	mu      sync.Mutex
	ended   bool // no request is admitted any more
	running map[uint64]*call
	opened  map[string]openedCredential
}

// outgoing is a reply with what is to be given back when it is sent.
type outgoing struct {
	reply *wire.Reply
	call  *call // nil: the reader's
}

func (v service) Calls(rpc wire.Node_CallsServer) error {
	return v.server.converse(rpcPipe{rpc, arrivingOn(rpc.Context())})
}

// converse reads requests until the client goes away. Whatever takes time runs beside the reading, so that a ping is
// answered while a key is being generated.
func (s *Server) converse(p pipe) error {
	who, err := s.identify(p.Context())
	if err != nil {
		return err
	}
	defer s.streams.Add(-1)
	most, shared := s.limits.Streams, s.bytes
	if who.Member != "" {
		most, shared = most+kept(most), s.membersBytes
	}
	if n := s.streams.Add(1); n > int64(most) {
		s.refusing(tooMany)("%s: refused, %d streams are open", who.Holder, n-1)
		return status.Error(codes.ResourceExhausted, "too many streams are open")
	}
	holder, ok := s.holders.enter(who.Holder, s.limits)
	if !ok {
		s.refusing(tooMany)("%s: refused, so many streams of this client are open that others need the rest", who.Holder)
		return status.Error(codes.ResourceExhausted, "too many streams of this client are open")
	}
	defer s.holders.leave(who.Holder)
	arriving := p.Arriving()
	defer func() {
		if arriving.end() {
			s.refusing(tooMany)("%s: a connection was closed: %w", who.Holder, errArriving)
		}
	}()
	if err := arriving.belongs(s.limits.Patience, holder.bytes, shared); err != nil {
		s.ledger.refused[tooMany].Add(1)
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	s.ledger.streams.Add(1)
	t := &stream{
		Server: s, pipe: p, who: who, holder: holder, shared: shared, places: newRoom(s.limits.Running), bytes: newRoom(s.limits.StreamBytes),
		now: make(chan outgoing, 16), over: make(chan error, 1),
		running: map[uint64]*call{}, opened: map[string]openedCredential{},
	}
	t.done.init()
	t.baton.pass = t.readOn
	t.ctx, t.cancel = context.WithCancel(p.Context())
	var writer sync.WaitGroup
	writer.Go(t.write)
	defer func() {
		t.cancel()
		t.pipe.Close()
		t.end()
		t.calls.Wait()
		writer.Wait()
		t.clear()
	}()
	go t.greetAndRead() // it ends with the stream
	select {
	case err = <-t.over:
	case <-s.stopping:
		return status.Error(codes.Unavailable, "the node is stopping")
	}
	if errors.Is(err, io.EOF) { // the client asks nothing more, and still listens
		t.calls.Wait()
		t.done.close()
		writer.Wait()
		return nil
	}
	return err
}

// end has no more requests admitted.
func (t *stream) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

// clear gives back what the replies have taken that nobody will read.
func (t *stream) clear() {
	list, _ := t.done.take(nil)
	for _, o := range list {
		o.call.giveBack(o.reply)
	}
}

// greetAndRead takes the stream's first request, which is Hello, and the others.
func (t *stream) greetAndRead() {
	q, elements, err := t.receive()
	if err == nil {
		if _, hello := q.Body.(*wire.Request_Hello); !hello {
			err = status.Error(codes.FailedPrecondition, "the first request of a stream is Hello")
		} else {
			_, err = t.take(q, elements, false)
		}
	}
	if err != nil {
		t.over <- err
		return
	}
	t.readOn()
}

// readOn takes requests until the stream ends, or another goroutine has taken over.
func (t *stream) readOn() {
	for {
		began := time.Now()
		q, elements, err := t.receive()
		still := true
		if err == nil {
			still, err = t.take(q, elements, time.Since(began) >= lull)
		}
		if err != nil {
			t.over <- err
			return
		}
		if !still {
			return
		}
	}
}

// receive waits for a request from who is welcome.
func (t *stream) receive() (q *wire.Request, elements int, err error) {
	for {
		q, elements, err = t.pipe.Recv()
		if !errors.Is(err, errBusy) {
			break
		}
		if err := t.refuse(q.Id, unknownKind, time.Now(), errBusy); err != nil {
			return nil, 0, err
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if _, err := t.welcome(t.who); err != nil {
		t.refusing(notAllowed)("%s is not welcome any more: %w", t.who.Holder, err)
		return nil, 0, errUnwelcome
	}
	return q, elements, nil
}

// take answers a request or hands it to a lane. still says whether this goroutine goes on reading. An error ends the
// stream.
func (t *stream) take(q *wire.Request, elements int, alone bool) (still bool, err error) {
	switch body := q.Body.(type) {
	case *wire.Request_Hello:
		return true, t.greet(q.Id, body.Hello)
	case *wire.Request_Ping:
		return true, t.answerNow(t.reply(q.Id))
	case *wire.Request_Cancel:
		t.giveUp(body.Cancel.GetId())
		return true, nil
	}
	row, known := rows[reflect.TypeOf(q.Body)]
	came, kind := time.Now(), kindOf(row, q.Body)
	if !known {
		return true, t.refuse(q.Id, kind, came, pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "this node does not know the request"))
	}
	c := &call{stream: t, request: q, row: row, kind: kind, came: came, lane: row.laneOf(q.Body)}
	if err := t.admit(c, elements); err != nil {
		wipeRequest(q)
		return true, t.refuse(q.Id, kind, came, err)
	}
	if alone {
		if here, still := t.serveHere(c); here {
			return still, nil
		}
	}
	if !t.lanes[c.lane].put(&t.queues[c.lane], c) {
		c.reply(c.failure(errClosing), false)
	}
	return true, nil
}

// refuse answers a request that does not run.
func (t *stream) refuse(id uint64, kind int, came time.Time, why error) error {
	r := t.failed(id, why)
	t.ledger.answered(kind, came, r)
	return t.answerNow(r)
}

// giveUp cancels a request.
func (t *stream) giveUp(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.running[id]; c != nil {
		c.limit.end()
	}
}

func (t *stream) greet(id uint64, h *wire.Hello) error {
	if h.GetProtocol() < wire.MinProtocol {
		t.refusing(oldProtocol)("%s speaks protocol %d, this node from %d on", t.who.Holder, h.GetProtocol(), wire.MinProtocol)
		return status.Errorf(codes.FailedPrecondition, "protocol %d is too old, this node speaks %d to %d", h.GetProtocol(), wire.MinProtocol, wire.Protocol)
	}
	r := t.reply(id)
	r.Body = &wire.Reply_Hello{Hello: &wire.HelloReply{
		Protocol: min(h.GetProtocol(), wire.Protocol), Version: t.hello.Version, Cluster: t.hello.Cluster,
		Member: t.hello.Member, Zone: t.hello.Zone, Mechanisms: t.hello.Mechanisms, Frames: t.hello.Frames,
	}}
	return t.answerNow(r)
}

// answerNow sends what the reader answers by itself.
func (t *stream) answerNow(r *wire.Reply) error {
	select {
	case t.now <- outgoing{reply: r}:
		return nil
	case <-t.ctx.Done():
		return status.FromContextError(t.ctx.Err()).Err()
	}
}

// write sends replies until there are no more, or the stream breaks.
func (t *stream) write() {
	defer t.cancel()
	var list []outgoing
	for last := false; ; {
		select {
		case <-t.done.ready:
			list, last = t.done.take(list[:0])
		case o := <-t.now:
			list = append(list[:0], o)
		case <-t.ctx.Done():
			return
		}
		if !t.sendAll(list) {
			t.pipe.Close() // so that the reader sees it too
			return
		}
		if last {
			t.writeRest()
			return
		}
	}
}

// sendAll sends replies; false if the stream has broken.
func (t *stream) sendAll(list []outgoing) bool {
	t.sending.Lock()
	defer t.sending.Unlock()
	for _, o := range list {
		t.replies = append(t.replies, o.reply)
	}
	err := t.pipe.Send(t.replies...)
	clear(t.replies)
	t.replies = t.replies[:0]
	for i, o := range list {
		if o.call != nil {
			o.call.giveBack(o.reply)
		}
		list[i] = outgoing{}
	}
	return err == nil
}

func (t *stream) writeRest() {
	for {
		select {
		case o := <-t.now:
			if t.pipe.Send(o.reply) != nil {
				return
			}
		default:
			return
		}
	}
}

// reply is an answer without content.
func (t *stream) reply(id uint64) *wire.Reply {
	return &wire.Reply{
		Id: id, Revision: t.opts.HSM.Revision(), Members: t.opts.Cluster.Members().GetVersion(),
		Body: &wire.Reply_Done{Done: &wire.Done{}},
	}
}

func (t *stream) failed(id uint64, err error) *wire.Reply {
	r := t.reply(id)
	r.Body, r.Failure = nil, wire.FailureOf(err)
	return r
}
