package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// office is an authority with what it needs for tests.
type office struct {
	*pki.Authority
	pool *x509.CertPool
}

func newOffice(t testing.TB) office {
	t.Helper()
	a, err := pki.NewAuthority("test")
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return office{a, pool}
}

func (a office) issue(t testing.TB, id pki.Identity, lifetime time.Duration) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	require.NoError(t, err)
	request, err := pki.NewRequest(key, id, []string{"127.0.0.1"})
	require.NoError(t, err)
	der, err := a.Issue(request, id, []string{"127.0.0.1"}, lifetime)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der, a.Certificate().Raw}, PrivateKey: key}
}

func onTLS(t testing.TB, a office, opts Options) (*Server, string) {
	t.Helper()
	s, err := New(opts)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	conf := pki.ServerTLS(a.issue(t, pki.Identity{Kind: pki.Node, Cluster: "cluster", Name: "n1"}, time.Hour), a.pool, "cluster")
	go func() { served <- s.ServeTLS(l, conf) }()
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, <-served)
	})
	return s, l.Addr().String()
}

func (a office) config(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.pool, Certificates: certs, MinVersion: tls.VersionTLS12}
}

func person(name string) pki.Identity {
	return pki.Identity{Kind: pki.Client, Cluster: "cluster", Name: name}
}
func machine(name string) pki.Identity {
	return pki.Identity{Kind: pki.Node, Cluster: "cluster", Name: name}
}

func TestWhoMayCallOverTLS(t *testing.T) {
	here, elsewhere := newOffice(t), newOffice(t)
	old := here.config(here.issue(t, person("web"), time.Hour))
	old.MaxVersion = tls.VersionTLS12
	for name, c := range map[string]struct {
		conf *tls.Config
		code codes.Code
	}{
		"a client":                    {here.config(here.issue(t, person("web"), time.Hour)), codes.OK},
		"a member":                    {here.config(here.issue(t, machine("n2"), time.Hour)), codes.OK},
		"nobody":                      {here.config(), codes.Unauthenticated},
		"of another authority":        {here.config(elsewhere.issue(t, person("web"), time.Hour)), codes.Unavailable},
		"of another cluster":          {here.config(here.issue(t, pki.Identity{Kind: pki.Client, Cluster: "other", Name: "web"}, time.Hour)), codes.Unavailable},
		"a peer of the store":         {here.config(here.issue(t, pki.Identity{Kind: pki.Peer, Cluster: "cluster", Name: "n2"}, time.Hour)), codes.Unavailable},
		"a machine that is no member": {here.config(here.issue(t, machine("n3"), time.Hour)), codes.PermissionDenied},
		"with an old protocol":        {old, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var book logbook
			_, address := onTLS(t, here, Options{HSM: newEngine(t), Cluster: newGroup("n1", "n2"), Log: book.add})
			cc := dial(t, address, credentials.NewTLS(c.conf))
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			stream, err := wire.NewNodeClient(cc).Calls(ctx)
			if err == nil {
				_ = stream.Send(&wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol}}})
				_, err = stream.Recv()
			}
			require.Equal(t, c.code, status.Code(err), "%v", err)
			if c.code != codes.OK {
				require.Eventually(t, func() bool { return len(book.all()) > 0 }, patience, time.Millisecond, "nothing was logged")
			}
		})
	}
}

func TestWhatOnlyNodesMayAsk(t *testing.T) {
	a := newOffice(t)
	g := newGroup("n1", "n2")
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: g})
	client := greeted(t, dial(t, address, credentials.NewTLS(a.config(a.issue(t, person("web"), time.Hour)))))
	node := greeted(t, dial(t, address, credentials.NewTLS(a.config(a.issue(t, machine("n2"), time.Hour)))))
	for name, q := range map[string]*wire.Request{
		"Await":    {Body: &wire.Request_Await{Await: &wire.Await{}}},
		"Coverage": {Body: &wire.Request_Coverage{Coverage: &wire.Coverage{Ids: []string{"x"}, Here: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			failed(t, pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, client.ask(&wire.Request{Body: q.Body}))
			require.NoError(t, node.ask(&wire.Request{Body: q.Body}).Failure.Err())
		})
	}

	// A member that was removed is out with its next request, whatever it is; the others stay.
	g.set("n1")
	node.send(pingQ())
	_, err := node.stream.Recv()
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	client.must(pingQ())
}

func TestACertificateExpiresOnAStandingStream(t *testing.T) {
	a := newOffice(t)
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1")})
	var leaf *x509.Certificate
	var c *client
	for lifetime := 2 * time.Second; c == nil; lifetime *= 2 { // on a busy machine the first may be over before it is shown
		cert := a.issue(t, person("web"), lifetime)
		var err error
		leaf, err = x509.ParseCertificate(cert.Certificate[0])
		require.NoError(t, err)
		stream, err := wire.NewNodeClient(dial(t, address, credentials.NewTLS(a.config(cert)))).Calls(t.Context())
		if err == nil {
			_ = stream.Send(&wire.Request{Id: 1, Body: helloQ().Body})
			_, err = stream.Recv()
		}
		if time.Now().Before(leaf.NotAfter) {
			require.NoError(t, err)
			c = &client{t: t, stream: stream, last: 1}
		}
	}
	require.Eventually(t, func() bool {
		c.send(pingQ())
		_, err := c.stream.Recv()
		if time.Now().Before(leaf.NotAfter) {
			require.NoError(t, err)
		}
		return status.Code(err) == codes.PermissionDenied
	}, patience, 100*time.Millisecond)
}

// TestACredentialIsItsHolders: what one program has been given, another cannot use.
func TestACredentialIsItsHolders(t *testing.T) {
	a := newOffice(t)
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1")})
	web := greeted(t, dial(t, address, credentials.NewTLS(a.config(a.issue(t, person("web"), time.Hour))))).withUser()
	mail := greeted(t, dial(t, address, credentials.NewTLS(a.config(a.issue(t, person("mail"), time.Hour)))))
	list := func() *wire.Request {
		return &wire.Request{Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}}
	}
	web.must(list())
	mail.cred = web.cred
	mail.refused(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, list())
	again := greeted(t, dial(t, address, credentials.NewTLS(a.config(a.issue(t, person("web"), time.Hour)))))
	again.cred = web.cred
	again.must(list())
}

// TestJoiningNeedsNoCertificate, is rationed, and a fault in it is contained.
func TestJoiningNeedsNoCertificate(t *testing.T) {
	a := newOffice(t)
	g := newGroup("n1")
	g.join = func() (*wire.JoinReply, error) {
		switch g.joined.Load() {
		case 1:
			return nil, pkcs11.Errorf(pkcs11.CKR_PIN_INCORRECT, "no such invitation")
		case 2:
			panic("a fault")
		}
		return &wire.JoinReply{Member: "n9"}, nil
	}
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: g})
	joining := wire.NewJoiningClient(dial(t, address, credentials.NewTLS(a.config())))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seen := map[codes.Code]int{}
	for range 3 * joinBurst {
		r, err := joining.Join(ctx, &wire.JoinRequest{Name: "n9"})
		seen[status.Code(err)]++
		require.True(t, err != nil || r.Member == "n9")
	}
	require.Equal(t, 2, seen[codes.PermissionDenied])
	require.GreaterOrEqual(t, seen[codes.OK], joinBurst-2)
	require.GreaterOrEqual(t, seen[codes.ResourceExhausted], turnsAway)
	require.GreaterOrEqual(t, seen[codes.ResourceExhausted]+seen[codes.Unavailable], joinBurst) // the connection ends after some
	called := g.joined.Load()
	require.Eventually(t, func() bool {
		_, err := joining.Join(ctx, &wire.JoinRequest{Name: "n9", NodeCsr: make([]byte, maxJoinSize)})
		return status.Code(err) == codes.InvalidArgument
	}, patience, 200*time.Millisecond)
	require.Equal(t, called, g.joined.Load())
}

// TestFewMachinesJoinAtOnce: who needs no certificate must not have the node hold what he sends of many requests. That those
// count no more that were answered shows above.
func TestFewMachinesJoinAtOnce(t *testing.T) {
	j := &doorway{limit: rate.NewLimiter(rate.Inf, 0)}
	knock := func(ctx context.Context) error {
		ctx, err := j.knock(ctx, &tap.Info{FullMethodName: wire.Joining_Join_FullMethodName})
		require.NoError(t, err, "gRPC keeps the timer of a stream that knock refuses")
		if ctx.Value(turnedAway{}) != nil {
			end, has := ctx.Deadline()
			require.True(t, has && time.Until(end) <= turnAwayTime)
			_, err = j.Join(ctx, &wire.JoinRequest{})
		}
		return err
	}
	slow, giveUp := context.WithCancel(context.Background())
	for range joinsAtOnce {
		require.NoError(t, knock(slow))
	}
	for range 2 {
		require.Equal(t, codes.ResourceExhausted, status.Code(knock(context.Background())))
	}
	giveUp()
	require.Eventually(t, func() bool { return j.waiting.Load() == 0 }, patience, time.Millisecond)
	require.NoError(t, knock(context.Background()))
}

func TestServeTLSRefusesToBeLax(t *testing.T) {
	a := newOffice(t)
	for name, conf := range map[string]*tls.Config{
		"none":      nil,
		"TLS 1.2":   {MinVersion: tls.VersionTLS12, ClientCAs: a.pool},
		"the least": {ClientCAs: a.pool},
		"anybody":   {MinVersion: tls.VersionTLS13},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{HSM: newEngine(t)})
			require.NoError(t, err)
			defer s.Close()
			require.Error(t, s.ServeTLS(nil, conf))
		})
	}
	// A configuration that is made for each connection is looked at each time.
	s, err := New(Options{HSM: newEngine(t)})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	conf := pki.ServerTLS(a.issue(t, machine("n1"), time.Hour), a.pool, "cluster")
	lax := conf.Clone()
	lax.MinVersion = tls.VersionTLS12
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return lax, nil }
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, conf) }()
	_, err = tls.Dial("tcp", l.Addr().String(), a.config(a.issue(t, person("web"), time.Hour)))
	require.Error(t, err)
	s.Close()
	require.NoError(t, <-served)
}

func TestPeers(t *testing.T) {
	me := uint32(os.Geteuid())
	for name, c := range map[string]struct {
		allow Peers
		user  unix.Ucred
		ok    bool
	}{
		"by the file's permissions": {Peers{}, unix.Ucred{Uid: 4000, Gid: 4000}, true},
		"root":                      {Peers{UIDs: []uint32{4001}}, unix.Ucred{Uid: 0, Gid: 4000}, true},
		"the daemon's own user":     {Peers{UIDs: []uint32{4001}}, unix.Ucred{Uid: me, Gid: 4000}, true},
		"by the user":               {Peers{UIDs: []uint32{4001, 4000}}, unix.Ucred{Uid: 4000, Gid: 4000}, true},
		"by the group":              {Peers{UIDs: []uint32{4001}, GIDs: []uint32{4002}}, unix.Ucred{Uid: 4000, Gid: 4002}, true},
		"another user":              {Peers{UIDs: []uint32{4001}}, unix.Ucred{Uid: 4000, Gid: 4001}, false},
		"another group":             {Peers{GIDs: []uint32{4001}}, unix.Ucred{Uid: 4001, Gid: 4002}, false},
	} {
		require.Equal(t, c.ok, c.allow.admits(&c.user), name)
	}
}
