package node

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	serial   = "0123456789ABCDEF"
	officer  = "officer's PIN"
	patience = 20 * time.Second // for what is expected to happen at once
)

// newEngine returns the engine of a node over a store in memory, without a token.
func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	root, err := vault.NewRoot()
	require.NoError(t, err)
	defer root.Zero()
	s := mem.New()
	e, err := engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry,
		KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
		Node:       &engine.NodeOptions{Root: root, Serial: serial},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// hooked is an engine of which some methods do something else.
type hooked struct {
	hsm.Portable
	random   func(ctx context.Context) error
	generate func(ctx context.Context) error
	login    func(ctx context.Context) error
}

func (h *hooked) Random(ctx context.Context, p []byte) error {
	if h.random != nil {
		return h.random(ctx)
	}
	return h.Portable.Random(ctx, p)
}

func (h *hooked) GenerateKeyPair(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public, private pkcs11.Template) (hsm.Object, hsm.Object, error) {
	if h.generate != nil {
		return nil, nil, h.generate(ctx)
	}
	return h.Portable.GenerateKeyPair(ctx, cred, m, public, private)
}

func (h *hooked) Login(ctx context.Context, user pkcs11.UserType, name string, pin []byte) (hsm.Credential, error) {
	if h.login != nil {
		return nil, h.login(ctx)
	}
	return h.Portable.Login(ctx, user, name, pin)
}

// group is a Cluster that a test bends.
type group struct {
	*Alone
	list     atomic.Pointer[wire.MemberList]
	draining atomic.Bool
	current  atomic.Pointer[func(context.Context) (bool, error)]
	joined   atomic.Int64
	join     func() (*wire.JoinReply, error)
}

func newGroup(ids ...string) *group {
	g := &group{Alone: NewAlone("cluster", "test")}
	g.set(ids...)
	return g
}

func (g *group) set(ids ...string) {
	list := &wire.MemberList{Version: uint64(len(ids)) + 1}
	for _, id := range ids {
		list.Members = append(list.Members, &wire.Member{Id: id})
	}
	g.list.Store(list)
}

func (g *group) Members() *wire.MemberList { return g.list.Load() }
func (g *group) Draining() bool            { return g.draining.Load() }
func (g *group) Current(ctx context.Context) (bool, error) {
	if f := g.current.Load(); f != nil {
		return (*f)(ctx)
	}
	return false, nil
}
func (g *group) Join(context.Context, *wire.JoinRequest) (*wire.JoinReply, error) {
	g.joined.Add(1)
	return g.join()
}

// logbook keeps what a server logs.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, err.Error())
}

func (l *logbook) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.lines...)
}

// onSocket serves on a unix socket and returns its path.
func onSocket(t testing.TB, opts Options) (*Server, string) {
	t.Helper()
	s, err := New(opts)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.ServeUnix(l, Peers{}) }()
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, <-served)
	})
	return s, path
}

// client is one stream, for one goroutine.
type client struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[wire.Request, wire.Reply]
	conn   io.Closer
	last   uint64
	cred   []byte
}

// dial opens a connection; address is a path if there is no security.
func dial(t testing.TB, address string, security credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	target := "passthrough:///" + address
	if security == nil {
		security, target = insecure.NewCredentials(), "unix:"+address
	}
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(security), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage+1<<20)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// open opens a stream without greeting.
func opening(t testing.TB, cc *grpc.ClientConn) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	t.Cleanup(cancel)
	stream, err := wire.NewNodeClient(cc).Calls(ctx)
	require.NoError(t, err)
	return &client{t: t, stream: stream, conn: cc}
}

func greeted(t testing.TB, cc *grpc.ClientConn) *client {
	t.Helper()
	c := opening(t, cc)
	r := c.ask(&wire.Request{Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol}}})
	require.NotNil(t, r.GetHello(), "%v", r)
	return c
}

func connected(t testing.TB, path string) *client {
	t.Helper()
	if overFrames {
		return connectedByFrames(t, path)
	}
	return greeted(t, dial(t, path, nil))
}

// send sends a request and returns its number.
func (c *client) send(q *wire.Request) uint64 {
	c.t.Helper()
	c.last++
	if q.Id == 0 {
		q.Id = c.last
	}
	if q.Credential == nil {
		q.Credential = c.cred
	}
	require.NoError(c.t, c.stream.Send(q))
	return q.Id
}

func (c *client) receive() *wire.Reply {
	c.t.Helper()
	r, err := c.stream.Recv()
	require.NoError(c.t, err)
	return r
}

// ask waits for the reply of one request, on a stream without others.
func (c *client) ask(q *wire.Request) *wire.Reply {
	c.t.Helper()
	id := c.send(q)
	r := c.receive()
	require.Equal(c.t, id, r.Id)
	return r
}

// must asks for what succeeds.
func (c *client) must(q *wire.Request) *wire.Reply {
	c.t.Helper()
	r := c.ask(q)
	require.NoError(c.t, r.Failure.Err())
	return r
}

// refused asks for what fails.
func (c *client) refused(rv pkcs11.RV, retry wire.Retry, q *wire.Request) {
	c.t.Helper()
	failed(c.t, rv, retry, c.ask(q))
}

func failed(t testing.TB, rv pkcs11.RV, retry wire.Retry, r *wire.Reply) {
	t.Helper()
	require.NotNil(t, r.Failure, "%v", r)
	require.Nil(t, r.Body)
	require.Equal(t, rv, pkcs11.RV(r.Failure.Rv), "%v", r.Failure)
	require.Equal(t, retry, r.Failure.Retry, "%v", r.Failure)
}

var (
	pingQ   = func() *wire.Request { return &wire.Request{Body: &wire.Request_Ping{Ping: &wire.Ping{}}} }
	randomQ = func() *wire.Request {
		return &wire.Request{Body: &wire.Request_Random{Random: &wire.Random{Bytes: 16}}}
	}
	pairQ = func() *wire.Request {
		return &wire.Request{Body: &wire.Request_GenerateKeyPair{GenerateKeyPair: &wire.GenerateKeyPair{
			Mechanism: &wire.Mechanism{Type: uint64(pkcs11.CKM_EC_KEY_PAIR_GEN)},
		}}}
	}
)

func initTokenRequest() *wire.Request {
	return &wire.Request{Body: &wire.Request_InitToken{InitToken: &wire.InitToken{SoPin: []byte(officer), Label: "token"}}}
}

// withUser makes the token and logs the user in.
func (c *client) withUser() *client {
	c.t.Helper()
	c.must(initTokenRequest())
	c.login(pkcs11.CKU_SO, officer)
	c.must(&wire.Request{Body: &wire.Request_InitPin{InitPin: &wire.InitPIN{Pin: []byte("user's PIN")}}})
	c.cred = nil
	c.login(pkcs11.CKU_USER, "user's PIN")
	return c
}

func (c *client) login(user pkcs11.UserType, pin string) {
	c.t.Helper()
	r := c.must(&wire.Request{Body: &wire.Request_Login{Login: &wire.Login{User: uint64(user), Pin: []byte(pin)}}})
	require.NotZero(c.t, r.GetCredential().LifetimeS)
	c.cred = r.GetCredential().Sealed
}
