package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// overFrames says whether the fakes offer frames.
var overFrames bool

// TestMain runs all tests twice: over frames, and with nodes that have gRPC only.
func TestMain(m *testing.M) {
	overFrames = true
	code := m.Run()
	overFrames = false
	os.Exit(max(code, m.Run()))
}

// calls is a stream of either kind, as a fake sees it.
type calls interface {
	Recv() (*wire.Request, error)
	Send(*wire.Reply) error
}

// framedCalls is a connection with frames.
type framedCalls struct {
	net.Conn
	in *wire.FrameReader
}

func (c framedCalls) Recv() (*wire.Request, error) {
	b, err := c.in.Next()
	if err != nil {
		return nil, err
	}
	q := new(wire.Request)
	return q, wire.Unmarshal(b, q)
}

func (c framedCalls) Send(r *wire.Reply) error {
	b, err := wire.AppendFrame(nil, r)
	if err == nil {
		_, err = c.Write(b)
	}
	return err
}

// framesBeside takes connections with frames away from gRPC.
type framesBeside struct {
	credentials.TransportCredentials
	f *fake
}

func newFramesBeside(f *fake) credentials.TransportCredentials {
	return framesBeside{insecure.NewCredentials(), f}
}

func (b framesBeside) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	first := make([]byte, len(wire.FramesPreface))
	if _, err := io.ReadFull(conn, first); err != nil {
		return nil, nil, err
	}
	if string(first) != wire.FramesPreface {
		return b.TransportCredentials.ServerHandshake(readAgain{conn, io.MultiReader(bytes.NewReader(first), conn)})
	}
	if !b.f.open.add(conn) {
		return nil, nil, errors.New("the node is stopped")
	}
	go func() {
		defer conn.Close()
		_ = b.f.serve(framedCalls{conn, wire.NewFrameReader(conn)})
	}()
	return nil, nil, credentials.ErrConnDispatched
}

// readAgain is a connection of which the beginning was read.
type readAgain struct {
	net.Conn
	from io.Reader
}

func (c readAgain) Read(p []byte) (int, error) { return c.from.Read(p) }

func (b framesBeside) Clone() credentials.TransportCredentials { return b }

func (framesBeside) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are a server's")
}

// conns are open connections.
type conns struct {
	mu     sync.Mutex
	list   []net.Conn
	closed bool
}

func (c *conns) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, conn)
	return !c.closed
}

func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.list {
		conn.Close()
	}
	c.list = nil
}

// TestTurnsOfReading: whoever reads the stream, no reply is left unread when he ends: callers that come and go, one at a
// time and several, slow ones among them, all get theirs at once.
func TestTurnsOfReading(t *testing.T) {
	var slow atomic.Int64
	f := newFake(t, "n1", func(q *wire.Request) *wire.Reply {
		if slow.Add(1)%97 == 0 {
			time.Sleep(2 * leading) // longer than a caller reads by himself
		}
		return &wire.Reply{Body: &wire.Reply_Bytes{Bytes: &wire.Bytes{Bytes: make([]byte, q.GetRandom().GetBytes())}}}
	})
	c := connect(t, Options{}, f)
	var begun int64 // of the last round
	for round := range 120 {
		begun = c.now()
		var all sync.WaitGroup
		for range round%4 + 1 {
			all.Go(func() {
				for range 10 {
					assert.NoError(t, c.Random(context.Background(), make([]byte, 16)))
				}
			})
		}
		all.Wait()
		if round%40 == 39 {
			time.Sleep(3 * unread) // the reader comes back to the stream
		}
	}
	x := (*c.list.Load())[0].conn.Load()
	require.False(t, x.waiting())
	x.mu.Lock()
	unheard := x.unheard
	x.mu.Unlock()
	require.Zero(t, unheard)
	require.GreaterOrEqual(t, x.heard.Load(), begun)
	// An end is noticed although nobody asks.
	f.stop()
	eventually(t, func() bool { return ready(c) == 0 })
}

// TestTheNodesReasonIsTold: what a node says before it ends a connection is what the log shows.
func TestTheNodesReasonIsTold(t *testing.T) {
	if !overFrames {
		t.Skip("gRPC has statuses for that")
	}
	f := newFake(t, "n1", func(*wire.Request) *wire.Reply { return nil })
	c := connect(t, Options{}, f)
	x := (*c.list.Load())[0].conn.Load()
	f.open.say(t, &wire.Reply{Failure: &wire.Failure{Rv: uint64(pkcs11.CKR_DEVICE_ERROR), Text: "it is late"}})
	<-x.done
	require.ErrorIs(t, x.why(), errLost)
	require.ErrorContains(t, x.why(), "it is late")
}

// say sends a reply over all connections.
func (c *conns) say(t *testing.T, r *wire.Reply) {
	b, err := wire.AppendFrame(nil, r)
	require.NoError(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.list {
		_, err := conn.Write(b)
		require.NoError(t, err)
	}
}

// TestWhatEndsAStreamIsToldToWhoeverReadsNext: a caller who reads by himself passes over it.
func TestWhatEndsAStreamIsToldToWhoeverReadsNext(t *testing.T) {
	goodbye, err := wire.AppendFrame(nil, &wire.Reply{Failure: &wire.Failure{Rv: uint64(pkcs11.CKR_DEVICE_ERROR), Text: "revoked"}})
	require.NoError(t, err)
	for text, sent := range map[string][]byte{"revoked": goodbye, "proto": {0, 0, 0, 1, 0xff}} {
		p := &framePipe{in: wire.NewFrameReader(bytes.NewReader(sent))}
		for range 2 {
			_, err := p.recv()
			require.ErrorContains(t, err, text)
		}
	}
}

// deaf is a connection that takes so many bytes and then no more.
type deaf struct {
	net.Conn
	left int
}

func (c *deaf) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	if c.left -= n; n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

// TestWhatIsNotSentIsWipedToo: a frame may hold a PIN.
func TestWhatIsNotSentIsWipedToo(t *testing.T) {
	for _, size := range []int{100, mostTogether + 1} { // sent in one piece, and each by itself
		for n := range 4 {
			list := make([]frame, n)
			for i := range list {
				list[i] = bytes.Repeat([]byte{'P'}, size)
			}
			p := &framePipe{conn: &deaf{left: size / 2}}
			err := p.send(list...)
			require.Equal(t, n == 0, err == nil)
			for _, f := range append(list, p.out[:cap(p.out)]) {
				require.NotContains(t, string(f), "P")
			}
		}
	}
}
