package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// What every connection is held to.
const (
	maxStreams   = 256 // of one connection
	greetingTime = 10 * time.Second
	idleTime     = 2 * time.Minute // a connection without a stream
	pingTime     = 30 * time.Second
	pongTime     = 10 * time.Second
	leastPing    = 5 * time.Second // between two of the client's
	maxHeader    = 16 << 10
)

// ServeUnix serves the users of this machine whom allow lets in. It returns when the listener or the Server is closed;
// an error after Close is nil.
func (s *Server) ServeUnix(l *net.UnixListener, allow Peers) error {
	return s.serve(l, socketCredentials{allow: allow, log: s.refusing(notAllowed), frames: s.serveFrames}, false)
}

// ServeTLS serves whoever shows a certificate of conf.ClientCAs, and joining machines without one. It returns as
// ServeUnix does, and at once for a configuration that lets in too many: anything older than TLS 1.3, or no authority.
func (s *Server) ServeTLS(l net.Listener, conf *tls.Config) error {
	if err := checkTLS(conf); err != nil {
		return err
	}
	conf = conf.Clone()
	if ask := conf.GetConfigForClient; ask != nil {
		conf.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := ask(h)
			if other == nil || err != nil {
				return other, err
			}
			if err := checkTLS(other); err != nil {
				return nil, err
			}
			return hardened(other.Clone()), nil
		}
	}
	return s.serve(l, tlsCredentials{credentials.NewTLS(hardened(conf)), s.holderOf, s.refusing(noTLS), s.serveFrames}, true)
}

func checkTLS(conf *tls.Config) error {
	switch {
	case conf == nil || conf.MinVersion < tls.VersionTLS13:
		return errors.New("a node serves TLS 1.3 and nothing older: set the least version")
	case conf.ClientCAs == nil:
		return errors.New("a node needs the authority of its clients' certificates")
	}
	return nil
}

// hardened has certificates verified where they are shown; who must show one is decided by what is asked for. Without
// tickets every connection is verified anew, against the authorities of now.
func hardened(conf *tls.Config) *tls.Config {
	if conf.ClientAuth != tls.RequireAndVerifyClientCert {
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	}
	conf.SessionTicketsDisabled = true
	conf.NextProtos = []string{wire.FramesALPN, "h2"}
	return conf
}

func (s *Server) serve(l net.Listener, creds credentials.TransportCredentials, joining bool) error {
	opts := []grpc.ServerOption{
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(wire.Codec()),
		grpc.RPCDecompressor(noGzip{}), //nolint:staticcheck // what comes after it is the whole process's
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.MaxSendMsgSize(wire.MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(greetingTime),
		grpc.WaitForHandlers(true), // so that Stop returns when nobody uses the HSM
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime, Time: pingTime, Timeout: pongTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
	}
	var door *doorway
	if joining {
		door = newJoining(s)
	}
	opts = append(opts, grpc.InTapHandle(door.knock))
	g := grpc.NewServer(opts...)
	wire.RegisterNodeServer(g, service{server: s})
	if joining {
		wire.RegisterJoiningServer(g, door)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		g.Stop()
		return errors.Join(net.ErrClosed, l.Close())
	}
	s.servers = append(s.servers, g)
	s.mu.Unlock()
	return g.Serve(newPlaces(l, s.limits.Connections, s.refusing(tooMany)))
}

// tlsCredentials logs what is refused.
type tlsCredentials struct {
	credentials.TransportCredentials
	holder func(credentials.TLSInfo) string // whose a connection is; empty: nobody knows, or he is not welcome
	log    func(string, ...any)
	frames func(net.Conn, credentials.AuthInfo) // takes connections that are not for gRPC
}

func (c tlsCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		if !hungUp(err) {
			c.log("%v: no TLS connection: %w", conn.RemoteAddr(), err)
		}
		return nil, nil, err
	}
	t := info.(credentials.TLSInfo)
	if holder := c.holder(t); holder != "" {
		if err := identified(conn, holder); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	if t.State.NegotiatedProtocol == wire.FramesALPN {
		c.frames(secured, info)
		return nil, nil, credentials.ErrConnDispatched
	}
	secured, info = countArrivals(secured, info)
	return secured, info, nil
}

// holderOf tells whose a connection is that has shown a certificate.
func (s *Server) holderOf(info credentials.TLSInfo) string {
	if len(info.State.VerifiedChains) == 0 {
		return ""
	}
	who, err := s.welcome(guest{chain: info.State.VerifiedChains[0]})
	if err != nil {
		return "" // who opens a stream is told, and the log
	}
	return who.Holder
}

// hungUp reports whether a connection has ended from the other side, or has lost its place. A program that is done while it
// still connects to further nodes ends so, and nothing was refused.
func hungUp(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c tlsCredentials) Clone() credentials.TransportCredentials {
	return tlsCredentials{c.TransportCredentials.Clone(), c.holder, c.log, c.frames}
}

// knock runs before anything of a request's body is read, of which it has the memory counted. Join is open to whoever reaches
// the port: it is rationed, and its body has little time to come. There is no door in a socket.
func (j *doorway) knock(ctx context.Context, info *tap.Info) (context.Context, error) {
	if j == nil || info.FullMethodName != wire.Joining_Join_FullMethodName {
		return expect(ctx), nil
	}
	if j.waiting.Add(1) > joinsAtOnce || !j.limit.Allow() {
		j.waiting.Add(-1)
		return turnAway(ctx), nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	context.AfterFunc(ctx, func() { // it was answered, or given up
		cancel()
		j.waiting.Add(-1)
	})
	return expect(ctx), nil
}

type turnedAway struct{}

// turnAway has Join answer errCrowded, when what little it may send has come. An error from knock itself would leave the timer of a
// deadline that the client has named running in gRPC until then, be that in years.
func turnAway(ctx context.Context) context.Context {
	if a := arrivalsOf(ctx); a != nil && a.turnedAway.Add(1) > turnsAway {
		go func() { _ = a.Conn.Close() }() // whoever reads from it has called
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, turnedAway{}, true), turnAwayTime)
	context.AfterFunc(ctx, cancel)
	return expectUpTo(ctx, turnedAwaySize)
}
