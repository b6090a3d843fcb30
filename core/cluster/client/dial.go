package client

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

const socketPrefix = "unix:"

func isSocket(address string) bool { return strings.HasPrefix(address, socketPrefix) }

// dial prepares a connection to a node; it is made when the stream is. What goes over it is counted.
func (c *Client) dial(address string, t *traffic) (*grpc.ClientConn, error) {
	security, network, target := insecure.NewCredentials(), "unix", "passthrough:///localhost"
	if !isSocket(address) {
		if c.opts.TLS == nil {
			return nil, fmt.Errorf("node %s is reached over TLS only", address)
		}
		// The target is what the node's certificate is checked against.
		security, network, target = credentials.NewTLS(c.opts.TLS.Clone()), "tcp", "passthrough:///"+address
	}
	var d net.Dialer
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, strings.TrimPrefix(address, socketPrefix))
			if err != nil {
				return nil, err
			}
			return countingConn{conn, t}, nil
		}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec{}),
			grpc.MaxCallRecvMsgSize(wire.MaxMessage),
			grpc.MaxCallSendMsgSize(wire.MaxMessage),
		),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // sending again is this package's business
		grpc.WithIdleTimeout(0),
	)
}

// traffic is what has gone over a connection, in bytes.
type traffic struct{ in, out atomic.Int64 }

type countingConn struct {
	net.Conn
	traffic *traffic
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.traffic.in.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.traffic.out.Add(int64(n))
	return n, err
}

// frame is an encoded request behind its length, which gRPC leaves out. Requests are encoded by who makes them and not by who sends them: when a call is given
// up, nothing may look at the caller's memory any more.
type frame []byte

// codec is protobuf for gRPC, with requests that are encoded already.
type codec struct{}

func (codec) Name() string { return grpcproto.Name }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(frame)
	if !ok {
		return nil, fmt.Errorf("client: %T is no request", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(f[wire.FrameHeader:])}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("client: %T is no message", v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return proto.Unmarshal(buf.ReadOnlyData(), m)
}

// open makes the stream to a node and shakes hands: over gRPC, which every node has, and then over frames if the node
// has them. The stream lives until ctx ends or its cancel is called.
func (n *node) open(ctx context.Context) (*conn, *wire.Reply, error) {
	x, r, err := n.openOver(ctx, n.overRPC)
	if err != nil || !r.GetHello().GetFrames() {
		return x, r, err
	}
	y, s, err := n.openOver(ctx, n.overFrames)
	if err != nil {
		n.client.log("node %s is used over HTTP/2, for frames did not work: %w", n.address, err)
		return x, r, nil
	}
	x.close()
	return y, s, nil
}

// overRPC opens gRPC's pipe, overFrames that of frames. The pipe ends with ctx; close frees what it has.
func (n *node) overRPC(ctx context.Context, t *traffic) (p pipe, close func(), err error) {
	cc, err := n.client.dial(n.address, t)
	if err != nil {
		return nil, nil, err
	}
	s, err := cc.NewStream(ctx, &wire.Node_ServiceDesc.Streams[0], wire.Node_Calls_FullMethodName)
	if err != nil {
		_ = cc.Close()
		return nil, nil, err
	}
	return rpcPipe{s}, func() { _ = cc.Close() }, nil
}

func (n *node) overFrames(ctx context.Context, t *traffic) (p pipe, close func(), err error) {
	f, err := n.client.dialFrames(ctx, n.address, t)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.below.Close() })
	return f, func() { stop(); _ = f.below.Close() }, nil
}

func (n *node) openOver(ctx context.Context, over func(context.Context, *traffic) (pipe, func(), error)) (*conn, *wire.Reply, error) {
	c := n.client
	ctx, cancel := context.WithCancel(ctx)
	x := &conn{client: c, node: n, cancel: cancel, pending: map[uint64]*call{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	x.turn.init()
	context.AfterFunc(ctx, x.turn.callReader) // he finds the end
	late := time.AfterFunc(connectTimeout, cancel)
	defer late.Stop()
	x.close = cancel
	var r *wire.Reply
	var asked int64
	err := func() error {
		hello, err := x.encode(&wire.Request{Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol, Version: wire.Text(c.opts.Version)}}}, 0)
		if err != nil {
			return err
		}
		var free func()
		if x.pipe, free, err = over(ctx, &x.traffic); err != nil {
			return err
		}
		x.close = func() { cancel(); free() }
		asked = c.now()
		_ = x.pipe.send(hello) // an error of sending is told by receiving
		r, err = x.pipe.recv()
		return err
	}()
	if err == nil {
		err = checkHello(r)
	}
	if err == nil && !late.Stop() {
		err = fmt.Errorf("no answer within %v", connectTimeout)
	}
	if err != nil {
		x.close()
		return nil, nil, fmt.Errorf("node %s: %w", n.address, err)
	}
	x.heard.Store(c.now())
	n.latency.set(c.now()-asked, c.now())
	return x, r, nil
}

const connectTimeout = 5 * time.Second

func checkHello(r *wire.Reply) error {
	h := r.GetHello()
	switch {
	case r.GetFailure() != nil:
		return r.GetFailure().Err()
	case h == nil:
		return unexpected(r)
	case h.Protocol < wire.MinProtocol || h.Protocol > wire.Protocol:
		return fmt.Errorf("it speaks protocol %d, this program %d to %d: bring them to versions that fit", h.Protocol, wire.MinProtocol, wire.Protocol)
	}
	return nil
}
