package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// arrivals is a connection of gRPC's of which is counted what comes for each stream. gRPC itself takes whatever a message is long,
// and tells of it when all of it has come; so the headers of HTTP/2's frames are read on their way to it. RFC 9113, 4.1.
type arrivals struct {
	net.Conn
	skip   int // of the client's preface
	header [9]byte
	have   int    // of header
	left   int    // of the frame's payload
	opens  bool   // the frame ends the header of a stream
	padded bool   // the frame is of data, and the length of its padding comes next
	held   []byte // read, and not yet given on
	given  int    // of held

	turnedAway atomic.Int32 // machines that wanted to join

	mu      sync.Mutex
	streams map[uint32]*arriving
	latest  uint32 // the stream whose header came last
}

// Of HTTP/2: RFC 9113, 3.4 and 6.
const (
	prefaceLen       = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	typeData         = 0x0
	typeHeaders      = 0x1
	typeContinuation = 0x9
	flagEndHeaders   = 0x4
	flagPadded       = 0x8
)

// frameCost is what gRPC takes for a frame beside its data, at most.
const frameCost = 128

// metered is AuthInfo with the connection that it is of.
type metered struct {
	credentials.AuthInfo
	of *arrivals
}

// countArrivals returns what gRPC gets in the place of a connection and of its AuthInfo.
func countArrivals(conn net.Conn, info credentials.AuthInfo) (net.Conn, credentials.AuthInfo) {
	a := &arrivals{Conn: conn, skip: prefaceLen, streams: map[uint32]*arriving{}}
	return a, metered{info, a}
}

// Read implements net.Conn. It reads no further than the header of a stream: before gRPC reads on, it calls expect, so that
// whose the data is that follows is known.
func (a *arrivals) Read(p []byte) (n int, err error) {
	if a.given < len(a.held) {
		n = a.scan(a.held[a.given:min(len(a.held), a.given+len(p))])
		copy(p, a.held[a.given:a.given+n])
		clear(a.held[a.given : a.given+n])
		if a.given += n; a.given == len(a.held) {
			a.held, a.given = nil, 0
		}
		return n, nil
	}
	if n, err = a.Conn.Read(p); n == 0 {
		return n, err
	}
	if seen := a.scan(p[:n]); seen < n {
		a.held = bytes.Clone(p[seen:n])
		clear(p[seen:n])
		return seen, nil // an error shows again
	}
	return n, err
}

// scan looks at what comes, and returns how much of it gRPC may have now.
func (a *arrivals) scan(p []byte) (seen int) {
	for seen < len(p) {
		switch rest := p[seen:]; {
		case a.skip > 0:
			n := min(a.skip, len(rest))
			a.skip -= n
			seen += n
		case a.padded:
			a.padded = false
			a.count(a.length() - 1 - int(rest[0]))
			a.left--
			seen++
		case a.left > 0:
			n := min(a.left, len(rest))
			a.left -= n
			seen += n
		default:
			n := copy(a.header[a.have:], rest)
			a.have += n
			seen += n
			if a.have == len(a.header) {
				a.have = 0
				a.begin()
			}
		}
		if a.opens && a.left == 0 && a.have == 0 {
			a.opens = false
			return seen
		}
	}
	return seen
}

func (a *arrivals) length() int    { return int(binary.BigEndian.Uint32(a.header[:]) >> 8) }
func (a *arrivals) stream() uint32 { return binary.BigEndian.Uint32(a.header[5:]) &^ (1 << 31) }

// begin is called when the header of a frame has come.
func (a *arrivals) begin() {
	a.left = a.length()
	switch typ, flags := a.header[3], a.header[4]; {
	case typ == typeData && flags&flagPadded != 0 && a.left > 0:
		a.padded = true
	case typ == typeData:
		a.count(a.left)
	case typ == typeHeaders || typ == typeContinuation:
		a.opens = flags&flagEndHeaders != 0
		a.mu.Lock()
		defer a.mu.Unlock()
		a.latest = a.stream()
	}
}

// count counts a frame of data of this length.
func (a *arrivals) count(data int) {
	a.mu.Lock()
	s := a.streams[a.stream()]
	a.mu.Unlock()
	if s != nil && data > 0 {
		s.add(data, frameCost+bufferOf(a.length()))
	}
}

// bufferOf is what gRPC's pool of buffers gives out for a frame.
func bufferOf(n int) int {
	switch {
	case n <= 1<<10:
		return n
	case n <= 4<<10:
		return 4 << 10
	case n <= 16<<10:
		return 16 << 10
	}
	return 1 << 20
}

type arrivingKey struct{}

// expect counts what comes for a stream that begins, until ctx ends: it is called when the stream's header has been read and
// nothing after it.
func expect(ctx context.Context) context.Context { return expectUpTo(ctx, nobodys) }

// arrivalsOf is the connection of a stream; nil for one of which nothing is counted.
func arrivalsOf(ctx context.Context) *arrivals {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(metered); ok {
			return info.of
		}
	}
	return nil
}

// expectUpTo is expect for a stream that may hold this much as long as nobody knows whose it is.
func expectUpTo(ctx context.Context, most int) context.Context {
	a := arrivalsOf(ctx)
	if a == nil {
		return ctx
	}
	s := &arriving{refuse: func() { _ = a.Conn.Close() }, nobodys: most}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.latest
	a.streams[id] = s
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.streams, id)
	})
	return context.WithValue(ctx, arrivingKey{}, s)
}

// arrivingOn is what is counted for a stream of gRPC's.
func arrivingOn(ctx context.Context) *arriving {
	if s, ok := ctx.Value(arrivingKey{}).(*arriving); ok {
		return s
	}
	return &arriving{nobodys: nobodys}
}
