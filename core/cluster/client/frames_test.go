package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
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
