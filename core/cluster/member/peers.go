package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// peers are the connections to the other nodes: one stream for each, made when it is needed.
type peers struct {
	// credentials are for calling a member: who answers must be that one.
	credentials func(member string) (credentials.TransportCredentials, error)
	version     string

	mu   sync.Mutex
	open map[string]*peer // by member
}

// peer is the connection to one node.
type peer struct {
	address string
	conn    *grpc.ClientConn
	version string

	mu     sync.Mutex
	stream *peerStream // nil: none, or it has ended
}

// peerStream is one stream with the requests that wait for their answers.
type peerStream struct {
	stream grpc.BidiStreamingClient[wire.Request, wire.Reply]
	cancel context.CancelFunc
	send   sync.Mutex

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan *wire.Reply
	ended   error
}

var errPeerGone = errors.New("the connection to the node was given up")

// ask sends a request to a member and returns its answer; a Failure in it is an error.
func (p *peers) ask(ctx context.Context, m Record, r *wire.Request) (*wire.Reply, error) {
	to, err := p.to(m)
	if err != nil {
		return nil, err
	}
	s, err := to.connected(ctx)
	if err != nil {
		return nil, fmt.Errorf("node %s does not answer: %w", m.Name, err)
	}
	reply, err := s.call(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("node %s does not answer: %w", m.Name, err)
	}
	return reply, reply.Failure.Err()
}

func (p *peers) to(m Record) (*peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to := p.open[m.ID]; to != nil {
		if to.address == m.Address {
			return to, nil
		}
		to.close()
		delete(p.open, m.ID)
	}
	creds, err := p.credentials(m.ID)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+m.Address,
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, err
	}
	to := &peer{address: m.Address, conn: conn, version: p.version}
	if p.open == nil {
		p.open = map[string]*peer{}
	}
	p.open[m.ID] = to
	return to, nil
}

// keep closes the connections to all who are not in the list.
func (p *peers) keep(list []Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := map[string]bool{}
	for _, m := range list {
		there[m.ID] = true
	}
	for id, to := range p.open {
		if !there[id] {
			to.close()
			delete(p.open, id)
		}
	}
}

func (p *peers) close() { p.keep(nil) }

func (p *peer) close() { _ = p.conn.Close() }

// connected returns the stream, and makes it first if there is none. One caller makes it, the others wait.
func (p *peer) connected(ctx context.Context) (*peerStream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.stream; s != nil && s.err() == nil {
		return s, nil
	}
	// The stream outlives the request that it is made for.
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	stream, err := wire.NewNodeClient(p.conn).Calls(life)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &peerStream{stream: stream, cancel: cancel, waiting: map[uint64]chan *wire.Reply{}}
	go s.receive()
	hello := &wire.Request{Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol, Version: p.version}}}
	reply, err := s.call(ctx, hello)
	if err == nil {
		err = reply.Failure.Err()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	p.stream = s
	return s, nil
}

func (s *peerStream) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// call sends r under an id of the stream's and waits for the answer.
func (s *peerStream) call(ctx context.Context, r *wire.Request) (*wire.Reply, error) {
	answer := make(chan *wire.Reply, 1)
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return nil, s.ended
	}
	s.next++
	id := s.next
	s.waiting[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	// The request is the caller's and may be on its way to several nodes.
	own := &wire.Request{Id: id, MinRevision: r.MinRevision, Operation: r.Operation, Credential: r.Credential, Body: r.Body}
	if deadline, ok := ctx.Deadline(); ok {
		own.TimeoutMs = uint32(min(max(time.Until(deadline).Milliseconds(), 1), 1<<31))
	}
	s.send.Lock()
	err := s.stream.Send(own)
	s.send.Unlock()
	if err != nil && !errors.Is(err, io.EOF) { // what io.EOF stands for comes from receive
		return nil, err
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return nil, s.err()
		}
		return reply, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *peerStream) receive() {
	defer s.cancel()
	for {
		reply, err := s.stream.Recv()
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended = errors.Join(errPeerGone, err)
			for _, answer := range s.waiting {
				close(answer)
			}
			return
		}
		s.mu.Lock()
		if answer := s.waiting[reply.Id]; answer != nil {
			answer <- reply
			delete(s.waiting, reply.Id)
		}
		s.mu.Unlock()
	}
}
