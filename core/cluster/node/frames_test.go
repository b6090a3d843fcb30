package node

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// overFrames says whether connected makes a connection with frames.
var overFrames bool

// TestMain runs all tests twice: over gRPC, and over frames. Fuzzing and measuring is done once.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String()+flag.Lookup("test.bench").Value.String() != "" {
		os.Exit(code)
	}
	overFrames = true
	os.Exit(max(code, m.Run()))
}

// framedStream is a connection with frames that looks like gRPC's stream.
type framedStream struct {
	grpc.ClientStream // nil
	conn              net.Conn
	in                *wire.FrameReader
}

func (s framedStream) Send(q *wire.Request) error {
	b, err := wire.AppendFrame(nil, q)
	if err == nil {
		_, err = s.conn.Write(b)
	}
	return err
}

func (s framedStream) Recv() (*wire.Reply, error) {
	b, err := s.in.Next()
	if err != nil {
		return nil, err
	}
	r := new(wire.Reply)
	return r, proto.Unmarshal(b, r)
}

// framedOver is a client without greeting on a connection that is open.
func framedOver(t testing.TB, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, stream: framedStream{conn: conn, in: wire.NewFrameReader(conn)}}
}

// rawFrames opens a connection on a socket and sends what comes after the preface.
func rawFrames(t testing.TB, path, more string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	_, err = conn.Write([]byte(wire.FramesPreface + more))
	require.NoError(t, err)
	return conn
}

func helloQ() *wire.Request {
	return &wire.Request{Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol}}}
}

func connectedByFrames(t testing.TB, path string) *client {
	t.Helper()
	c := framedOver(t, rawFrames(t, path, ""))
	require.True(t, c.must(helloQ()).GetHello().GetFrames())
	return c
}

func frameOf(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := wire.AppendFrame(nil, m)
	require.NoError(t, err)
	return string(b)
}

// TestFramesThatEndTheirConnection: whatever comes, no other connection is touched, and nothing stays.
func TestFramesThatEndTheirConnection(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t)})
	bystander := connectedByFrames(t, path)
	noise := make([]byte, 64<<10)
	rand.Read(noise)
	nested := &wire.Template{}
	for range 40 {
		nested = &wire.Template{Attributes: []*wire.Attribute{{Type: uint64(pkcs11.CKA_WRAP_TEMPLATE), Value: &wire.Attribute_Template{Template: nested}}}}
	}
	many := make([]*wire.Attribute, wire.MaxElements+1)
	for i := range many {
		many[i] = &wire.Attribute{}
	}
	find := func(m *wire.Template) string {
		return frameOf(t, &wire.Request{Id: 5, Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{Template: m}}})
	}
	hello := frameOf(t, &wire.Request{Id: 1, Body: helloQ().Body})
	for name, sent := range map[string]string{
		"noise":                  "\x00\x00\x40\x00" + string(noise),
		"noise after a greeting": hello + "\x00\x00\x40\x00" + string(noise),
		"a frame too large":      hello + "\x02\x00\x00\x01",
		"the largest length":     hello + "\xff\xff\xff\xff",
		"no greeting":            frameOf(t, &wire.Request{Id: 1, Body: randomQ().Body}),
		"an empty frame":         "\x00\x00\x00\x00",
		"a protocol too old":     frameOf(t, &wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{}}}),
		"too deep":               hello + find(nested),
		"too many elements":      hello + find(&wire.Template{Attributes: many}),
	} {
		t.Run(name, func(t *testing.T) {
			c := framedOver(t, rawFrames(t, path, sent))
			var last *wire.Reply
			var err error
			for err == nil {
				var r *wire.Reply
				if r, err = c.stream.Recv(); err == nil {
					last = r
				}
			}
			require.ErrorIs(t, err, io.EOF)
			require.NotNil(t, last, "the node does not say why")
			require.Zero(t, last.Id)
			failed(t, pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, last)
			bystander.must(pingQ())
		})
	}
	require.Eventually(t, func() bool { return len(s.framesOpen()) == 1 && s.streams.Load() == 1 }, patience, time.Millisecond)
}

// TestHalfAFrameCostsLittle: the memory for a frame comes with its bytes, and who stays away in the middle is forgotten.
func TestHalfAFrameCostsLittle(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t)})
	for range 200 {
		conn := rawFrames(t, path, "\x02\x00\x00\x00 the rest is still to come")
		t.Cleanup(func() { _ = conn.Close() })
	}
	connectedByFrames(t, path).must(randomQ())
	require.Eventually(t, func() bool { return len(s.framesOpen()) == 201 }, patience, time.Millisecond)
	for _, f := range s.framesOpen() {
		f.greeted() // as its timer would
	}
	require.Eventually(t, func() bool { return len(s.framesOpen()) == 1 }, patience, time.Millisecond)
}

// TestASilentConnectionIsClosed: a client has to give a sign of life.
func TestASilentConnectionIsClosed(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connectedByFrames(t, path)
	f := s.framesOpen()[0]
	f.look()
	c.must(pingQ())
	f.began = f.began.Add(-wire.FramesQuiet * time.Second)
	f.look()
	_, err := c.stream.Recv()
	require.Error(t, err)
}

// TestFramesOverTLS: who is welcome is decided as over gRPC, and at each request.
func TestFramesOverTLS(t *testing.T) {
	here, elsewhere := newOffice(t), newOffice(t)
	group := newGroup("n1", "n2")
	_, address := onTLS(t, here, Options{HSM: newEngine(t), Cluster: group})
	open := func(certs ...tls.Certificate) *client {
		conf := here.config(certs...)
		conf.NextProtos = []string{wire.FramesALPN, "h2"}
		conn, err := tls.Dial("tcp", address, conf)
		require.NoError(t, err)
		require.Equal(t, wire.FramesALPN, conn.ConnectionState().NegotiatedProtocol)
		return framedOver(t, conn)
	}
	refuses := func(c *client) {
		t.Helper()
		var err error
		for r := (*wire.Reply)(nil); err == nil; r, err = c.stream.Recv() {
			if r != nil {
				require.Zero(t, r.Id)
				require.NotNil(t, r.Failure)
			}
		}
	}
	open(here.issue(t, person("web"), time.Hour)).must(helloQ())
	for _, bad := range [][]tls.Certificate{{}, {here.issue(t, machine("n3"), time.Hour)}, {elsewhere.issue(t, person("web"), time.Hour)}} {
		c := open(bad...)
		_ = c.stream.Send(helloQ())
		refuses(c)
	}
	member := open(here.issue(t, machine("n2"), time.Hour))
	member.must(helloQ())
	member.must(randomQ())
	group.set("n1")
	_ = member.stream.Send(randomQ())
	refuses(member)
}

// TestRepliesArriveBeforeTheEnd: a node that shuts down lets clients read what it has answered, although they still send.
func TestRepliesArriveBeforeTheEnd(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connectedByFrames(t, path)
	const many = 50
	for i := range many {
		require.NoError(t, c.stream.Send(&wire.Request{Id: uint64(i + 10), Body: randomQ().Body}))
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	answered := 0
	for {
		r, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if r.Id >= 10 {
			answered++
		}
	}
	_ = c.conn.Close()
	require.NoError(t, <-stopped)
	require.LessOrEqual(t, answered, many)
	require.Zero(t, s.running.Load())
	require.Empty(t, s.framesOpen())
}
