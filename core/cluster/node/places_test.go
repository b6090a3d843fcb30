package node

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// overTLS connects with a certificate and greets.
func overTLS(t testing.TB, a office, address string, cert tls.Certificate) *client {
	t.Helper()
	conf := a.config(cert)
	if !overFrames {
		conf.NextProtos = []string{"h2"}
		return greeted(t, dial(t, address, credentials.NewTLS(conf)))
	}
	conf.NextProtos = []string{wire.FramesALPN}
	conn, err := tls.Dial("tcp", address, conf)
	require.NoError(t, err)
	c := framedOver(t, conn)
	c.must(helloQ())
	return c
}

// TestSilenceKeepsNobodyOut: however many connections say nothing, whoever says who he is gets in at once, and stays.
func TestSilenceKeepsNobodyOut(t *testing.T) {
	const most = 32
	a := newOffice(t)
	cert := a.issue(t, person("web"), time.Hour)
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1"), Limits: Limits{Connections: most}})
	_, path := onSocket(t, Options{HSM: newEngine(t), Limits: Limits{Connections: most}})
	for name, c := range map[string]struct {
		silent func() (net.Conn, error)
		client func(testing.TB) *client
	}{
		"no TLS": {
			func() (net.Conn, error) { return net.Dial("tcp", address) },
			func(t testing.TB) *client { return overTLS(t, a, address, cert) },
		},
		"no certificate": {
			func() (net.Conn, error) {
				conf := a.config()
				conf.NextProtos = []string{"h2"}
				return tls.Dial("tcp", address, conf)
			},
			func(t testing.TB) *client { return overTLS(t, a, address, cert) },
		},
		"a socket": {
			func() (net.Conn, error) { return net.Dial("unix", path) },
			func(t testing.TB) *client { return connected(t, path) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			early := c.client(t)
			for range 3 * most {
				conn, err := c.silent()
				require.NoError(t, err)
				defer conn.Close()
			}
			began := time.Now()
			c.client(t).must(randomQ())
			require.Less(t, time.Since(began), greetingTime/2, "it has waited for the silent to go")
			early.must(randomQ())
		})
	}
}

// TestThreeQuartersOfThePlacesAreOnes: one client leaves places for others.
func TestThreeQuartersOfThePlacesAreOnes(t *testing.T) {
	a := newOffice(t)
	var book logbook
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1"), Limits: Limits{Connections: 8}, Log: book.add})
	greedy := a.issue(t, person("greedy"), time.Hour)
	for range 6 {
		overTLS(t, a, address, greedy)
	}
	conf := a.config(greedy)
	conf.NextProtos = []string{wire.FramesALPN}
	conn, err := tls.Dial("tcp", address, conf)
	if err == nil { // a client learns with its first byte whether its certificate is taken
		_, err = conn.Read(make([]byte, 1))
	}
	require.Error(t, err)
	require.Len(t, book.all(), 1)
	require.Contains(t, book.all()[0], "so many connections of this client")
	overTLS(t, a, address, a.issue(t, person("other"), time.Hour)).must(randomQ())
}

// TestClientsLeaveNodesTheirs: when clients have all connections, streams and bytes that there are for them, another node can
// still ask.
func TestClientsLeaveNodesTheirs(t *testing.T) {
	a := newOffice(t)
	s, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1", "n2"),
		Limits: Limits{Connections: 4, Streams: 4, Patience: time.Millisecond}})
	var held *client
	for i := range 4 {
		held = overTLS(t, a, address, a.issue(t, person(string(rune('a'+i))), time.Hour))
	}
	taken, ok := s.bytes.take(t.Context(), s.limits.Bytes, time.Second)
	require.True(t, ok)
	defer s.bytes.give(taken)
	failed(t, pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, held.ask(randomQ()))

	node := overTLS(t, a, address, a.issue(t, machine("n2"), time.Hour))
	node.must(&wire.Request{Body: &wire.Request_Await{Await: &wire.Await{}}})
	require.Equal(t, 1, kept(4))
	p, from := placed(4)
	for i := range 4 {
		v := from("x")
		p.enter(v)
		require.NoError(t, v.identified("client:"+string(rune('a'+i))))
	}
	for who, want := range map[string]error{"client:e": errNoPlace, "node:n2": nil} {
		v := from("x")
		p.enter(v)
		require.ErrorIs(t, v.identified(who), want, who)
	}
	v := from("x")
	p.enter(v)
	require.ErrorIs(t, v.identified("node:n3"), errNoPlace)
}

// placed is a listener's accounts without a listener.
func placed(most int) (*places, func(from string) *visitor) {
	p := newPlaces(nil, most, func(string, ...any) {})
	return p, func(from string) *visitor {
		c, _ := net.Pipe()
		return &visitor{Conn: c, at: p, from: from}
	}
}

// TestWhoLosesHisPlace: the oldest of those who come from where the most are from.
func TestWhoLosesHisPlace(t *testing.T) {
	p, from := placed(16)
	a, b, c, d := from("few"), from("many"), from("many"), from("other")
	for _, v := range []*visitor{a, b, c, d} {
		require.Nil(t, p.enter(v))
	}
	require.Same(t, b, p.enter(from("other")))
	require.Same(t, d, p.enter(from("few")))
	require.NoError(t, a.identified("web"))
	require.Nil(t, p.enter(from("few")), "who is known has left a place")
	require.ErrorIs(t, b.identified("web"), net.ErrClosed)
	require.NoError(t, b.Close())
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "once more")
	require.Nil(t, p.enter(from("many")))
}

// TestPlacesAreGivenBack: of whatever has become of a connection, nothing stays.
func TestPlacesAreGivenBack(t *testing.T) {
	p, from := placed(8)
	var all []*visitor
	for i := range 100 {
		v := from(fmt.Sprint(i % 7))
		p.enter(v)
		if i%3 == 0 {
			_ = v.identified(fmt.Sprint(i % 2))
		}
		all = append(all, v)
	}
	require.Equal(t, 8, p.all)
	require.Equal(t, 2, p.waiting)
	for _, v := range all {
		require.NoError(t, v.Close())
	}
	require.Zero(t, p.all)
	require.Zero(t, p.waiting)
	require.Empty(t, p.known)
	require.Empty(t, p.unknown)
}

func TestWhereSilentConnectionsComeFrom(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:1000":                  "192.0.2.7",
		"[::ffff:192.0.2.7]:1000":         "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1000":     "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1000":             "fe80::/64",
		"a name that is no address: none": "a name that is no address: none",
	} {
		require.Equal(t, want, sourceOf(farFrom{addr: addr}))
	}
}

type farFrom struct {
	net.Conn
	addr string
}

func (f farFrom) RemoteAddr() net.Addr { return named(f.addr) }

type named string

func (n named) Network() string { return "tcp" }
func (n named) String() string  { return string(n) }
