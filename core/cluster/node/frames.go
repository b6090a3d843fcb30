package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Frames are the stream without HTTP/2 (docs/wire-format.md, "Frames"). A connection shows in its first bytes, or in TLS's
// greeting, that it has them; until then gRPC has it.

// framed is the pipe of a connection with frames.
type framed struct {
	conn  net.Conn
	in    *wire.FrameReader
	of    arriving // in's memory
	whole bool     // what it becomes less by is of a request that has come
	out   []byte
	torn  error // of writing: part of a frame has gone, and nothing may come after it
	ctx   context.Context
	end   context.CancelFunc
	began time.Time
	heard atomic.Int64 // when the last message came, in nanoseconds since then
	watch *time.Timer
}

// keptOut is how much memory a pipe keeps for what it sends.
const keptOut = 64 << 10

// serveFrames takes a connection over from gRPC.
func (s *Server) serveFrames(conn net.Conn, who credentials.AuthInfo) {
	f := &framed{conn: conn, in: wire.NewFrameReader(conn), began: time.Now()}
	f.in.Resize = f.resize
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: conn.RemoteAddr(), LocalAddr: conn.LocalAddr(), AuthInfo: who})
	f.ctx, f.end = context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stopped {
		f.cut()
		return
	}
	s.framed[f] = true
	f.watch = time.AfterFunc(time.Hour, f.greeted)
	f.watch.Reset(greetingTime)
	s.frames.Go(func() {
		f.part(s.converse(f))
		f.watch.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.framed, f)
	})
}

// framesOpen lists the connections that are open.
func (s *Server) framesOpen() []*framed {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*framed, 0, len(s.framed))
	for f := range s.framed {
		list = append(list, f)
	}
	return list
}

// greeted closes a connection on which nobody has said anything yet.
func (f *framed) greeted() {
	if f.heard.Load() == 0 {
		f.cut()
		return
	}
	f.look()
}

// look closes a connection of which nothing is heard any more.
func (f *framed) look() {
	left := wire.FramesQuiet*time.Second - (time.Since(f.began) - time.Duration(f.heard.Load()))
	if left <= 0 {
		f.cut()
		return
	}
	f.watch.Reset(left)
}

func (f *framed) Context() context.Context { return f.ctx }
func (f *framed) Arriving() *arriving      { return &f.of }

// errGone: the client has closed the connection, and takes no answers.
var errGone = errors.New("the connection has ended")

// Recv implements pipe, as do the methods below.
func (f *framed) Recv() (*wire.Request, int, error) {
	f.whole = false
	f.of.forgo()
	b, err := f.in.Next()
	switch {
	case errors.Is(err, wire.ErrDropped):
		id := wire.RequestID(b)
		if clear(b); id == 0 {
			return nil, 0, errArriving
		}
		return &wire.Request{Id: id}, 0, errBusy
	case errors.Is(err, wire.ErrFrame):
		return nil, 0, err
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %v", errGone, err) // not the io.EOF of who still listens
	}
	f.whole = true
	defer f.in.Trim()
	defer clear(b) // there are PINs in some
	q := new(wire.Request)
	c := wire.Counted{Message: q}
	if err := c.Unmarshal(b); err != nil {
		return nil, 0, err
	}
	f.heard.Store(int64(time.Since(f.began)))
	return q, c.Elements, nil
}

// resize counts the memory of the reader.
func (f *framed) resize(n int) error {
	err := f.of.resize(n)
	if !f.whole {
		f.of.forgo()
	}
	return err
}

// Send sends replies together.
func (f *framed) Send(list ...*wire.Reply) (err error) {
	for _, r := range list {
		if f.out, err = wire.AppendFrame(f.out, r); err != nil {
			return err
		}
		if len(f.out) >= keptOut {
			if err := f.flush(); err != nil {
				return err
			}
		}
	}
	return f.flush()
}

func (f *framed) flush() error {
	if len(f.out) == 0 {
		return nil
	}
	err := f.torn
	if err == nil {
		var n int
		if n, err = f.conn.Write(f.out); err != nil && n > 0 {
			f.torn = err
		}
	}
	clear(f.out) // there is plaintext in some
	f.out = f.out[:0]
	if cap(f.out) > keptOut {
		f.out = nil
	}
	return err
}

// Close makes what waits for the client fail. The connection itself is closed by part.
func (f *framed) Close() {
	f.end()
	_ = f.conn.SetDeadline(time.Now())
}

// cut closes the connection, whatever is on its way.
func (f *framed) cut() {
	f.end()
	_ = f.conn.Close()
}

// part closes the connection. If it is the node that ends it, it says why and lets the client read what was sent: an end
// while something of the client's is unread would take that away.
func (f *framed) part(why error) {
	defer f.cut()
	if why == nil || errors.Is(why, errGone) {
		return
	}
	text := why.Error()
	if s, ok := status.FromError(why); ok {
		text = s.Message()
	}
	_ = f.conn.SetDeadline(time.Now().Add(partingTime))
	failure := pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%s, %w", text, wire.ErrElsewhere)
	if f.Send(&wire.Reply{Failure: wire.FailureOf(failure)}) != nil {
		return
	}
	if half, ok := bare(f.conn).(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, f.conn)
	}
}

// peeked gives back what was read from a connection to find out what it is.
type peeked struct {
	net.Conn
	first []byte
}

func (o *peeked) Read(p []byte) (int, error) {
	if len(o.first) > 0 {
		n := copy(p, o.first)
		o.first = o.first[n:]
		return n, nil
	}
	return o.Conn.Read(p)
}

// startsFrames reads what a connection on a socket begins with. If that is not the preface of frames, the connection that
// is returned still has it.
func startsFrames(conn net.Conn) (bool, net.Conn, error) {
	first := make([]byte, 0, len(wire.FramesPreface))
	for len(first) < cap(first) {
		n, err := conn.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if !bytes.HasPrefix([]byte(wire.FramesPreface), first) {
			return false, &peeked{conn, first}, nil
		}
		if err != nil && len(first) < cap(first) {
			return false, nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	return true, conn, nil
}
