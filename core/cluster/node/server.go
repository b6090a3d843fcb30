// Package node serves an HSM by the protocol of docs/wire-format.md: to applications on this machine over a unix socket,
// to others over TLS with certificates on both sides, and to the other nodes of its cluster.
//
// A node keeps nothing for a client but its stream: every request brings along all that it needs. All methods of a Server
// may be called from many goroutines at once.
package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
)

// Options are what a Server is made of.
type Options struct {
	HSM     hsm.Portable
	Cluster Cluster // nil: Alone, without an identity
	Version string  // of the program, for people
	// Identify tells who shows a certificate that the TLS configuration has verified; nil: by its URI (package pki), which
	// must be of this cluster, and of a member if it is a node's. It is asked at each request, so that whoever was removed
	// is refused from then on. Expired certificates the Server refuses by itself.
	Identify func(*x509.Certificate) (Identity, error)
	// CredentialLifetime is how long a login is good without renewal, as the HSM has it: clients are told. 0: 30 minutes.
	CredentialLifetime time.Duration
	// Log is told of refusals and faults, never of a secret; it may be nil. It is called a few times a second at most.
	Log func(err error)
	// Limits bound what clients may cost; zero fields are the defaults.
	Limits Limits
}

// Limits are what clients may cost a node; an eighth more is there for other nodes. One holder has three quarters of the connections, the
// streams and the bytes at most.
type Limits struct {
	Connections int           // of one listener; a quarter more of those who have not shown yet who they are
	Streams     int           // of the Server
	Running     int           // requests of one stream that are not answered yet
	StreamBytes int           // of one stream's requests and replies that are held in memory
	Bytes       int           // of all streams'
	Time        time.Duration // of a request, whatever its caller says
	CatchUp     time.Duration // so long a request waits for this node to catch up, then it goes elsewhere
	Patience    time.Duration // so long a request waits for one of the limits, then it goes elsewhere
}

var defaultLimits = Limits{
	Connections: 4096,
	Streams:     4096,
	Running:     1024,
	StreamBytes: 128 << 20,
	Bytes:       512 << 20,
	Time:        10 * time.Minute,
	CatchUp:     2 * time.Second,
	Patience:    200 * time.Millisecond,
}

func (l Limits) withDefaults() Limits {
	for _, n := range []struct{ v, def *int }{
		{&l.Connections, &defaultLimits.Connections}, {&l.Streams, &defaultLimits.Streams}, {&l.Running, &defaultLimits.Running},
		{&l.StreamBytes, &defaultLimits.StreamBytes}, {&l.Bytes, &defaultLimits.Bytes},
	} {
		if *n.v <= 0 {
			*n.v = *n.def
		}
	}
	for _, d := range []struct{ v, def *time.Duration }{
		{&l.Time, &defaultLimits.Time}, {&l.CatchUp, &defaultLimits.CatchUp}, {&l.Patience, &defaultLimits.Patience},
	} {
		if *d.v <= 0 {
			*d.v = *d.def
		}
	}
	return l
}

const (
	usualTime     = time.Minute // of a request whose caller does not say
	usualLifetime = 30 * time.Minute
)

// Server serves one HSM.
type Server struct {
	opts         Options
	limits       Limits
	hello        *wire.HelloReply
	journal      *journal
	lanes        [numLanes]*lane
	bytes        *room // of all requests and replies of clients
	membersBytes *room // and of other nodes
	holders      holders
	ledger       *ledger
	lagging      atomic.Bool // the last look whether this node is current has taken time

	draining atomic.Bool
	stopping chan struct{} // closed when nothing runs any more
	streams  atomic.Int64
	running  atomic.Int64   // requests
	frames   sync.WaitGroup // connections beside gRPC's

	mu      sync.Mutex
	servers []*grpc.Server
	framed  map[*framed]bool // connections beside gRPC's
	stopped bool             // stopping is closed
	closed  bool
}

// New returns a Server that nobody can reach yet.
func New(opts Options) (*Server, error) {
	if opts.HSM == nil {
		return nil, errors.New("a node needs an HSM to serve")
	}
	if opts.Cluster == nil {
		opts.Cluster = NewAlone("", opts.Version)
	}
	if opts.Identify == nil {
		opts.Identify = func(cert *x509.Certificate) (Identity, error) { return identityIn(opts.Cluster, cert) }
	}
	if opts.CredentialLifetime <= 0 {
		opts.CredentialLifetime = usualLifetime
	}
	limits := opts.Limits.withDefaults()
	s := &Server{opts: opts, limits: limits, bytes: newRoom(limits.Bytes), membersBytes: newRoom(kept(limits.Bytes)), journal: newJournal(opts.Log), ledger: newLedger(),
		stopping: make(chan struct{}), framed: map[*framed]bool{}, holders: holders{list: map[string]*holder{}}}
	for i, limit := range laneLimits() {
		s.lanes[i] = newLane(limit)
	}
	self := opts.Cluster.Self()
	s.hello = &wire.HelloReply{Version: wire.Text(opts.Version), Cluster: opts.Cluster.ID(), Member: self.GetId(), Zone: self.GetZone(),
		Frames: true}
	for _, t := range opts.HSM.Mechanisms() {
		if info, ok := opts.HSM.Mechanism(t); ok {
			s.hello.Mechanisms = append(s.hello.Mechanisms, wire.FromMechanismInfo(t, info))
		}
	}
	return s, nil
}

// Drain sends new requests elsewhere, or takes them again; those that run go on.
func (s *Server) Drain(on bool) { s.draining.Store(on) }

// Stopping reports whether Drain sends requests elsewhere, or Shutdown; what the cluster says is not asked.
func (s *Server) Stopping() bool { return s.draining.Load() }

func (s *Server) isDraining() bool { return s.draining.Load() || s.opts.Cluster.Draining() }

// Shutdown drains, lets what runs end until ctx does, and closes. It returns an error if something was cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain(true)
	defer s.Close()
	for s.running.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d requests were cut off: %w", s.running.Load(), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.mu.Lock()
	servers := s.servers
	if !s.closed && !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	s.mu.Unlock()
	// The last replies are on their way: connections are closed behind them.
	ctx, cancel := context.WithTimeout(ctx, partingTime)
	defer cancel()
	for _, g := range servers {
		stop := context.AfterFunc(ctx, g.Stop)
		g.GracefulStop()
		stop()
	}
	parted := make(chan struct{})
	go func() { s.frames.Wait(); close(parted) }()
	select {
	case <-parted:
	case <-ctx.Done():
	}
	return nil
}

// partingTime is how long a client may take to close its connection when the node has said goodbye.
const partingTime = time.Second

// Close cuts all connections and returns when nothing uses the HSM any more. It may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	servers := s.servers
	s.servers = nil
	s.mu.Unlock()
	for _, f := range s.framesOpen() {
		f.cut()
	}
	for _, g := range servers {
		g.Stop()
	}
	s.frames.Wait()
	for _, l := range s.lanes {
		l.close()
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) log(format string, args ...any) { s.journal.printf(format, args...) }
