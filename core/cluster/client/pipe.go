package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// pipe is what a stream goes over: gRPC, or frames. One goroutine sends at a time, and one receives.
type pipe interface {
	send(list ...frame) error
	recv() (*wire.Reply, error)
	// mayLead says whether a caller may receive by himself; lead, that he does from now on, for so long at most.
	mayLead() bool
	lead(d time.Duration)
}

// rpcPipe is gRPC's.
type rpcPipe struct{ grpc.ClientStream }

func (p rpcPipe) send(list ...frame) error {
	for _, f := range list {
		if err := p.SendMsg(f); err != nil {
			return err
		}
	}
	return nil
}

func (p rpcPipe) recv() (*wire.Reply, error) {
	r := new(wire.Reply)
	return r, p.RecvMsg(r)
}

func (rpcPipe) mayLead() bool      { return false }
func (rpcPipe) lead(time.Duration) {}

// framePipe is that of frames.
type framePipe struct {
	conn  net.Conn
	below *eager
	in    *wire.FrameReader
	out   []byte
	leads bool
	wrong error // what recv has said of a frame: whoever receives next is to hear it too
}

// mostTogether is how many bytes are sent in one piece; a larger message goes by itself.
const mostTogether = 64 << 10

func (p *framePipe) send(list ...frame) (err error) {
	if len(list) == 1 {
		return p.write(list[0])
	}
	defer func() {
		if err != nil {
			wipe(list)
		}
	}()
	if p.out == nil {
		p.out = make([]byte, 0, mostTogether) // it never grows, which would leave bytes behind
	}
	for _, f := range list {
		if len(p.out) > 0 && len(p.out)+len(f) > mostTogether {
			if err := p.flush(); err != nil {
				return err
			}
		}
		if len(f) > mostTogether {
			if err := p.write(f); err != nil {
				return err
			}
			continue
		}
		p.out = append(p.out, f...)
		clear(f)
	}
	return p.flush()
}

// wipe clears frames that are not sent: there are PINs in some.
func wipe(list []frame) {
	for _, f := range list {
		clear(f)
	}
}

func (p *framePipe) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	err := p.write(p.out)
	p.out = p.out[:0]
	return err
}

// write writes bytes and clears them: there are PINs in some.
func (p *framePipe) write(b []byte) error {
	_, err := p.conn.Write(b)
	clear(b)
	return err
}

func (p *framePipe) recv() (*wire.Reply, error) {
	if p.wrong != nil {
		return nil, p.wrong
	}
	b, err := p.in.Next()
	if err != nil {
		return nil, err
	}
	defer clear(b) // there is plaintext in some
	r := new(wire.Reply)
	if err := proto.Unmarshal(b, r); err != nil {
		p.wrong = err
	} else if r.Id == 0 && r.Failure != nil { // why the node ends the stream
		p.wrong = fmt.Errorf("the node has ended it: %w", r.Failure.Err())
	}
	return r, p.wrong
}

// mayLead is false where Go has one processor, which whoever waits in the kernel would keep from all others for a while.
func (p *framePipe) mayLead() bool { return p.leads }

func (p *framePipe) lead(d time.Duration) { p.below.lead(d) }

// dialFrames opens a connection for frames.
func (c *Client) dialFrames(ctx context.Context, address string, t *traffic) (*framePipe, error) {
	network, secured := "unix", false
	if !isSocket(address) {
		network, secured = "tcp", true
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, strings.TrimPrefix(address, socketPrefix))
	if err != nil {
		return nil, err
	}
	below, err := newEager(conn, t)
	if err != nil {
		conn.Close()
		return nil, err
	}
	p := &framePipe{conn: below, below: below, leads: runtime.GOMAXPROCS(0) > 1}
	if secured {
		conf := c.opts.TLS.Clone()
		conf.NextProtos = []string{wire.FramesALPN}
		if conf.ServerName == "" {
			if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
				conn.Close()
				return nil, err
			}
		}
		t := tls.Client(below, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		if got := t.ConnectionState().NegotiatedProtocol; got != wire.FramesALPN {
			t.Close()
			return nil, fmt.Errorf("%q was agreed upon, not %q", got, wire.FramesALPN)
		}
		p.conn = t
	} else if _, err := conn.Write([]byte(wire.FramesPreface)); err != nil {
		conn.Close()
		return nil, err
	}
	p.in = wire.NewFrameReader(p.conn)
	return p, nil
}

// eager is a connection whose reader may wait in the kernel, in his own thread, for a while: waking that thread is all that
// an answer then costs. Otherwise Go's poller waits for him. What goes over it is counted.
type eager struct {
	net.Conn
	raw     syscall.RawConn
	traffic *traffic
	until   atomic.Int64 // the end of waiting so, in nanoseconds since began; 0: not now
	began   time.Time
}

func newEager(conn net.Conn, t *traffic) (*eager, error) {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("client: %T is no socket", conn)
	}
	raw, err := s.SyscallConn()
	return &eager{Conn: conn, raw: raw, traffic: t, began: time.Now()}, err
}

func (c *eager) lead(d time.Duration) {
	if d > 0 {
		d += time.Since(c.began)
	}
	c.until.Store(int64(d))
}

// Read implements net.Conn. It fails with os.ErrDeadlineExceeded when the time of waiting in the kernel is over; the
// connection is as good as before.
func (c *eager) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	failure := c.raw.Read(func(fd uintptr) bool {
		for {
			n, err = syscall.Read(int(fd), p)
			switch {
			case err == syscall.EINTR:
			case err != syscall.EAGAIN:
				return true
			default:
				until := c.until.Load()
				if until == 0 {
					return false
				}
				left := until - int64(time.Since(c.began))
				if left <= 0 {
					err = os.ErrDeadlineExceeded
					return true
				}
				wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
				_, _ = unix.Poll(wait, int(left/int64(time.Millisecond))+1)
			}
		}
	})
	switch {
	case failure != nil:
		return 0, failure
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return 0, err
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	c.traffic.in.Add(int64(n))
	return n, nil
}

// Write implements net.Conn.
func (c *eager) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.traffic.out.Add(int64(n))
	return n, err
}
