package client

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// fake is a node that answers as a test wants.
type fake struct {
	wire.UnimplementedNodeServer
	t      *testing.T
	path   string
	server *grpc.Server
	open   *conns // with frames

	hello    *wire.HelloReply
	members  atomic.Pointer[wire.MemberList]
	revision atomic.Int64
	silent   atomic.Bool // reads and never answers
	isolated atomic.Bool

	mu       sync.Mutex
	got      []*wire.Request // all but Hello, Ping, Members
	streams  int
	answer   func(q *wire.Request) *wire.Reply // nil answer: none
	cancels  []uint64
	pings    int
	greeting func(q *wire.Request) *wire.Reply
}

// done answers everything.
func done(*wire.Request) *wire.Reply {
	return &wire.Reply{Body: &wire.Reply_Done{Done: &wire.Done{}}}
}

func failure(rv pkcs11.RV, retry wire.Retry) *wire.Reply {
	return &wire.Reply{Failure: &wire.Failure{Rv: uint64(rv), Text: "says the test", Retry: retry}}
}

// newFake starts a node; the name is its member identity.
func newFake(t *testing.T, name string, answer func(q *wire.Request) *wire.Reply) *fake {
	t.Helper()
	f := &fake{t: t, path: filepath.Join(socketDir(t), name), answer: answer,
		hello: &wire.HelloReply{Protocol: wire.Protocol, Cluster: "the cluster", Member: name,
			Mechanisms: []*wire.MechanismInfo{{Type: uint64(pkcs11.CKM_ECDSA), Flags: uint64(pkcs11.CKF_SIGN)}}}}
	f.revision.Store(1)
	f.members.Store(&wire.MemberList{})
	f.start()
	t.Cleanup(func() { f.stop() })
	return f
}

// socketDir is a folder whose name is short enough for a socket.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cn")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (f *fake) start() {
	l, err := net.Listen("unix", f.path)
	require.NoError(f.t, err)
	f.open = new(conns)
	f.hello.Frames = overFrames
	f.server = grpc.NewServer(grpc.Creds(newFramesBeside(f)), grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))
	wire.RegisterNodeServer(f.server, f)
	go f.server.Serve(l)
}

// stop kills the node: streams end at once.
func (f *fake) stop() {
	f.open.close()
	f.server.Stop()
}

func (f *fake) address() string { return "unix:" + f.path }

func (f *fake) member() *wire.Member {
	return &wire.Member{Id: f.hello.Member, Address: f.address(), Zone: f.hello.Zone, Alive: true}
}

// Calls answers over gRPC, which is where a client hears of frames.
func (f *fake) Calls(s wire.Node_CallsServer) error { return f.serve(s) }

// serve answers requests at the same time.
func (f *fake) serve(s calls) error {
	if _, framed := s.(framedCalls); framed == overFrames {
		f.mu.Lock()
		f.streams++
		f.mu.Unlock()
	}
	var sending sync.Mutex
	for {
		q, err := s.Recv()
		if err != nil {
			return err
		}
		if f.silent.Load() {
			f.record(q)
			continue
		}
		go func() {
			r := f.reply(q)
			if r == nil || f.silent.Load() {
				return
			}
			if r.Id == 0 {
				r.Id = q.Id
			}
			if r.Revision == 0 {
				r.Revision = f.revision.Load()
			}
			r.Isolated = f.isolated.Load()
			r.Members = f.members.Load().Version
			sending.Lock()
			defer sending.Unlock()
			_ = s.Send(r)
		}()
	}
}

func (f *fake) record(q *wire.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch q.Body.(type) {
	case *wire.Request_Hello, *wire.Request_Members:
	case *wire.Request_Ping:
		f.pings++
	case *wire.Request_Cancel:
		f.cancels = append(f.cancels, q.GetCancel().Id)
	default:
		f.got = append(f.got, q)
	}
}

func (f *fake) reply(q *wire.Request) *wire.Reply {
	f.record(q)
	switch q.Body.(type) {
	case *wire.Request_Hello:
		if f.greeting != nil {
			return f.greeting(q)
		}
		return &wire.Reply{Body: &wire.Reply_Hello{Hello: f.hello}}
	case *wire.Request_Ping:
		return done(q)
	case *wire.Request_Members:
		return &wire.Reply{Body: &wire.Reply_MembersList{MembersList: f.members.Load()}}
	case *wire.Request_Cancel:
		return nil
	}
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	return answer(q)
}

// answers makes the node answer otherwise from now on.
func (f *fake) answers(answer func(q *wire.Request) *wire.Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// requests are those that have come, of one kind.
func requests[B any](f *fake) []*wire.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*wire.Request
	for _, q := range f.got {
		if _, ok := any(q.Body).(B); ok {
			out = append(out, q)
		}
	}
	return out
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got)
}

// logs collects what a client logs.
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, err.Error())
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// connect returns a client of nodes and waits until all are connected.
func connect(t *testing.T, opts Options, nodes ...*fake) *Client {
	t.Helper()
	c := connecting(t, opts, nodes...)
	eventually(t, func() bool { return ready(c) == len(nodes) })
	return c
}

// connecting returns a client of nodes that may not answer.
func connecting(t *testing.T, opts Options, nodes ...*fake) *Client {
	t.Helper()
	for _, f := range nodes {
		opts.Nodes = append(opts.Nodes, f.address())
	}
	c, err := New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func ready(c *Client) int {
	n := 0
	for _, s := range c.Nodes() {
		if s.State == "ready" {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 5*time.Millisecond)
}
