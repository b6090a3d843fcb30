package member

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// What the store's servers are set to.
const (
	storeQuota      = 4 << 30          // bytes of the database's file: 100,000 keys with their history are below 1 GiB
	compactionAfter = 10 * time.Minute // of history that the store keeps for nodes that were away
	startWithin     = 30 * time.Second // a server that starts beside others
)

// serverOptions are what this node's copy of the store is started with.
type serverOptions struct {
	state      *State
	id         identity
	peerListen string // host:port; the host is empty or an address
	peer       string // host:port by which the others reach it
	listen     string
	address    string
	// cluster is empty for the first start of the first node, "" after any first start; else the list of the members
	// that there are, as etcd writes it.
	cluster string
	force   bool // go on alone, with what this copy has
	timing  Timing
	log     *slog.Logger
}

// server is this node's copy of the store.
type server struct {
	etcd *embed.Etcd
	// broken is why it has stopped by itself; nil while it works. failed is closed then.
	broken atomic.Pointer[error]
	failed chan struct{}
}

// startServer starts it and does not wait for a quorum.
func startServer(o serverOptions) (*server, error) {
	s := &server{failed: make(chan struct{})}
	cfg := embed.NewConfig()
	cfg.Name = o.id.Member
	cfg.Dir = o.state.path(dirStore)
	var err error
	urls := func(hostport string) []url.URL {
		u, bad := listenURL(hostport)
		if bad != nil && err == nil {
			err = bad
		}
		return []url.URL{u}
	}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = urls(o.peerListen), urls(o.listen)
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "https", Host: o.peer}}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "https", Host: o.address}}
	if err != nil {
		return nil, err
	}
	cfg.InitialClusterToken = o.id.Cluster
	cfg.ClusterState = embed.ClusterStateFlagNew
	cfg.InitialCluster = o.id.Member + "=" + peerURL(o.peer)
	if o.cluster != "" {
		cfg.ClusterState = embed.ClusterStateFlagExisting
		cfg.InitialCluster = o.cluster
	}
	cfg.ForceNewCluster = o.force
	tls := transport.TLSInfo{
		CertFile:            o.state.path(filePeerCert),
		KeyFile:             o.state.path(filePeerKey),
		TrustedCAFile:       o.state.path(filePeerCA),
		CRLFile:             o.state.path(fileRevoked),
		ClientCertAuth:      true,
		SkipClientSANVerify: true, // it names the node's addresses for listening, not those that it calls from
		// Bad handshakes are the caller's problem and are no news for the log.
		HandshakeFailure: nil,
	}
	cfg.PeerTLSInfo, cfg.ClientTLSInfo = tls, tls
	cfg.TlsMinVersion = "TLS1.3"

	cfg.TickMs = uint(o.timing.Heartbeat / time.Millisecond)
	cfg.ElectionMs = uint(o.timing.Election / time.Millisecond)
	cfg.PreVote = true
	cfg.StrictReconfigCheck = true
	cfg.QuotaBackendBytes = storeQuota
	cfg.MaxTxnOps = etcd.MaxTxnOps
	cfg.MaxRequestBytes = etcd.MaxRequestBytes
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = compactionAfter.String()
	cfg.GRPCKeepAliveMinTime = time.Second
	cfg.UnsafeNoFsync = o.timing.noSync

	logger := zap.New(zapToSlog{o.log.With("part", "store")},
		zap.WithFatalHook(stopsServer{s}), zap.AddStacktrace(zapcore.InvalidLevel))
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	cfg.Logger = "zap"
	if s.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, fmt.Errorf("this node's copy of the store does not start: %w; check the addresses and the disk", err)
	}
	return s, nil
}

// leads reports whether this copy leads the store.
func (s *server) leads() bool {
	return s != nil && s.working() && s.etcd.Server.Lead() == uint64(s.etcd.Server.MemberID())
}

// working reports whether it has not stopped by itself.
func (s *server) working() bool {
	if s.broken.Load() != nil {
		return false
	}
	select {
	case <-s.etcd.Server.StopNotify():
		return false
	default:
		return true
	}
}

// stop ends it within a few seconds. Its leadership goes to another first, where there is one.
func (s *server) stop() {
	if s.broken.Load() != nil {
		return // its goroutines are gone half; closing it would wait for them
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	default:
		s.etcd.Server.HardStop() // closing waits for what listens, and that for a quorum or for this
	}
	s.etcd.Close()
}

// abandon takes a broken copy away from who would still ask it. It goes on to listen, and what needs its database waits
// there without end; and it may lead the others. The end of it never comes where a goroutine of the store ended with a
// lock in its hands.
func (s *server) abandon() {
	// The store has written why that fails, and then the others elect another when they hear no more.
	_ = s.etcd.Server.TryTransferLeadershipOnShutdown()
	s.etcd.Close()
}

// peerURL is how etcd names a peer.
func peerURL(hostport string) string { return "https://" + hostport }

// listenURL is the address to listen at as etcd wants it: with an address for a host.
func listenURL(hostport string) (url.URL, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return url.URL{}, fmt.Errorf("the store cannot listen at %q: %w; give it as host:port", hostport, err)
	}
	if host == "" {
		host = "0.0.0.0"
		if ips, err := net.InterfaceAddrs(); err == nil && hasIPv6(ips) {
			host = "::"
		}
	}
	if net.ParseIP(host) == nil {
		within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		found, err := net.DefaultResolver.LookupIPAddr(within, host)
		if err != nil || len(found) == 0 {
			return url.URL{}, fmt.Errorf("the store cannot listen at %q: the name is not known here; give an address", hostport)
		}
		host = found[0].String()
	}
	return url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}, nil
}

func hasIPv6(addrs []net.Addr) bool {
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.To16() != nil {
			return true
		}
	}
	return false
}

// stopsServer is what etcd runs where it would end the process: it cannot write its log to the disk, mostly. The
// process lives on, for it may answer from what it holds, and use the other nodes' copies.
type stopsServer struct{ s *server }

// OnWrite implements zapcore.CheckWriteHook. It ends the goroutine, for etcd relies on not going on.
func (h stopsServer) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := fmt.Errorf("%s%s", e.Message, reasonIn(fields))
	if h.s.broken.CompareAndSwap(nil, &err) {
		close(h.s.failed)
	}
	zapcore.WriteThenGoexit.OnWrite(e, fields)
}

func reasonIn(fields []zapcore.Field) string {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			return ": " + err.Error()
		}
	}
	return ""
}

// zapToSlog passes on what etcd finds worth a warning.
type zapToSlog struct{ log *slog.Logger }

func (z zapToSlog) Enabled(l zapcore.Level) bool {
	return z.log.Enabled(context.Background(), levelOf(l))
}

func (z zapToSlog) With(fields []zapcore.Field) zapcore.Core {
	return zapToSlog{slog.New(z.log.Handler().WithAttrs(attrsOf(fields)))}
}

func (z zapToSlog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(e.Level) {
		return ce.AddCore(e, z)
	}
	return ce
}

func (z zapToSlog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := levelOf(e.Level)
	if expected[e.Message] {
		level = slog.LevelDebug
	}
	z.log.LogAttrs(context.Background(), level, e.Message, attrsOf(fields)...)
	return nil
}

func (z zapToSlog) Sync() error { return nil }

// expected are messages of etcd's about what is as it should be here, or what this package says better.
var expected = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.":                                  true,
	"simple token is not cryptographically signed":                                                                          true,
	"setting up serving from embedded etcd failed.":                                                                         true, // it was closed
	"rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum": true,
	"rejecting member remove request; local member has not been connected to all peers, reconfigure breaks active quorum":   true,
	"rejecting promote learner: learner is not ready":                                                                       true,
	"failed to reach the peer URL":                                                                                          true,
	"apply request took too long":                                                                                           true, // it is a slow machine's log that would grow, and slow it more
	"request stats":                                                                                                         true,
	"failed to get version":                                                                                                 true,
	"failed to update storage version":                                                                                      true, // a new voter has nothing yet; etcd asks again
}

// levelOf: etcd's information is detail to us, and much of what it warns of (a slow disk, a peer that is away) is known
// from elsewhere.
func levelOf(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func attrsOf(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for _, f := range fields {
		if v, ok := enc.Fields[f.Key]; ok {
			attrs = append(attrs, slog.Any(f.Key, v))
			delete(enc.Fields, f.Key)
		}
	}
	return attrs
}
