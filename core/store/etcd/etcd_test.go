package etcd

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/storetest"
)

const patience = time.Minute // for what must happen, on a machine that has other things to do

// shared is the one server that most tests use, each under a prefix of its own.
var shared struct {
	sync.Mutex
	dir      string
	etcd     *embed.Etcd
	prefixes int
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.etcd != nil {
		shared.etcd.Close()
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// server returns the address of the shared server, and a prefix that nobody has used.
func server(t testing.TB) (address, prefix string) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.etcd == nil {
		dir, err := os.MkdirTemp("", "coffer-etcd-")
		require.NoError(t, err)
		shared.dir = dir
		peer := free()
		shared.etcd = start(t, config(t, dir, "one", peer, "one=http://"+peer))
	}
	shared.prefixes++
	return shared.etcd.Clients[0].Addr().String(), fmt.Sprintf("test/%d/", shared.prefixes)
}

// alone starts a server for one test.
func alone(t testing.TB, change func(*embed.Config)) *embed.Etcd {
	t.Helper()
	peer := free()
	c := config(t, t.TempDir(), "one", peer, "one=http://"+peer)
	change(c)
	e := start(t, c)
	t.Cleanup(e.Close)
	return e
}

func config(t testing.TB, dir, name, peer, cluster string) *embed.Config {
	t.Helper()
	c := embed.NewConfig()
	c.Name, c.Dir, c.InitialCluster = name, dir, cluster
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: peer}}
	c.AdvertisePeerUrls = c.ListenPeerUrls
	c.ListenClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}} // nobody asks the members where they are
	c.MaxTxnOps, c.MaxRequestBytes = MaxTxnOps, MaxRequestBytes
	c.UnsafeNoFsync = true
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return c
}

func start(t testing.TB, c *embed.Config) *embed.Etcd {
	t.Helper()
	e, err := embed.StartEtcd(c)
	require.NoError(t, err)
	ready(t, e)
	return e
}

func ready(t testing.TB, e *embed.Etcd) {
	t.Helper()
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(patience):
		e.Close()
		require.FailNow(t, "etcd did not become ready")
	}
}

// free is a place for a server to listen, at a loopback address that nobody else uses: a port of 127.0.0.1 that is free may
// be somebody's by the time that it listens there.
func free() string {
	var b [3]byte
	rand.Read(b[:])
	return net.JoinHostPort(net.IPv4(127, b[0]&0x7f|1, b[1], b[2]|1).String(), "23801")
}

func client(t testing.TB, addresses ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: addresses, Logger: zap.NewNop(), MaxCallSendMsgSize: MaxCallSendBytes,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: patience,
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, MaxDelay: 200 * time.Millisecond}})}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open opens a store that the test closes, or its end.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	s, err := Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fresh opens a store on the shared server.
func fresh(t testing.TB) *Store {
	t.Helper()
	address, prefix := server(t)
	return open(t, Options{Client: client(t, address), Prefix: prefix})
}

// again opens what s keeps once more, by a client of its own.
func again(t testing.TB, s *Store) *Store {
	t.Helper()
	return open(t, Options{Client: client(t, s.client.Endpoints()...), Prefix: s.prefix})
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return fresh(t) },
		func(t *testing.T, s store.Store) store.Store { return again(t, s.(*Store)) })
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }

func del(key string) store.Op { return store.Op{Key: key, Delete: true} }

func commit(t testing.TB, s *Store, ops ...store.Op) int64 {
	t.Helper()
	revision, err := s.Commit(context.Background(), nil, ops)
	require.NoError(t, err)
	return revision
}

func value(t testing.TB, s *Store, key string) string {
	t.Helper()
	r, err := s.Get(context.Background(), key)
	require.NoError(t, err)
	return string(r.Value)
}

// within is a context for what must happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// proxy stands before a server and can be cut, or stalled: then it keeps its connections and passes nothing on.
type proxy struct {
	listener net.Listener
	gate     sync.RWMutex // held for writing while it is stalled

	mu    sync.Mutex
	to    string
	down  bool
	conns map[net.Conn]bool
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	go p.serve()
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pipe(near)
	}
}

func (p *proxy) pipe(near net.Conn) {
	defer func() { _ = near.Close() }()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	if !p.keep(near) {
		return
	}
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	_, _ = io.Copy(gated{near, &p.gate}, far)
}

// gated writes while the gate is open.
type gated struct {
	to   io.Writer
	gate *sync.RWMutex
}

func (g gated) Write(b []byte) (int, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.to.Write(b)
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.conns[c] = true
	}
	return !p.down
}

// cut breaks all connections and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// lead has new connections go to another server.
func (p *proxy) lead(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}
