package node

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// rawRPC is a client of gRPC that sends what it likes: a connection of HTTP/2 with one stream.
type rawRPC struct {
	t     testing.TB
	conn  net.Conn
	ended chan struct{} // closed when nothing comes any more

	mu     sync.Mutex
	more   *sync.Cond
	window int // what the node has allowed for the stream beyond the first
	over   bool
}

const rawWindow = 65535

// rawOn opens a stream of a method. The node's frames are read by the side.
func rawOn(t testing.TB, conn net.Conn, method string) *rawRPC {
	t.Helper()
	r := &rawRPC{t: t, conn: conn, ended: make(chan struct{})}
	r.more = sync.NewCond(&r.mu)
	t.Cleanup(func() { _ = conn.Close(); <-r.ended })
	_, err := conn.Write(append([]byte(preface), rawHeaders(1, method)...))
	require.NoError(t, err)
	go r.read()
	return r
}

// rawHeaders begins a stream of a method.
func rawHeaders(stream uint32, method string, more ...[2]string) []byte {
	var block []byte
	for _, h := range append([][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "node"},
		{"content-type", "application/grpc"}, {"te", "trailers"}}, more...) {
		block = append(block, 0) // a literal that is not indexed: RFC 7541, 6.2.2
		for _, s := range h {
			block = append(append(block, byte(len(s))), s...)
		}
	}
	return rawFrame(typeHeaders, flagEndHeaders, stream, block)
}

func rawFrame(typ, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(typ))
	b = binary.BigEndian.AppendUint32(append(b, flags), stream)
	return append(b, payload...)
}

func (r *rawRPC) read() {
	defer close(r.ended)
	defer func() {
		r.mu.Lock()
		r.over = true
		r.more.Broadcast()
		r.mu.Unlock()
	}()
	in := bufio.NewReader(r.conn)
	for header := make([]byte, 9); ; {
		if _, err := io.ReadFull(in, header); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(header)>>8)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		if header[3] == 0x8 && binary.BigEndian.Uint32(header[5:]) == 1 { // WINDOW_UPDATE
			r.mu.Lock()
			r.window += int(binary.BigEndian.Uint32(payload))
			r.more.Broadcast()
			r.mu.Unlock()
		}
	}
}

// data sends data in frames of a size, whatever the connection's window; false when the node has hung up.
func (r *rawRPC) data(b []byte, size int) bool {
	var out []byte
	for len(b) > 0 {
		n := min(size, len(b))
		out = append(out, rawFrame(typeData, 0, 1, b[:n])...)
		b = b[n:]
	}
	_, err := r.conn.Write(out)
	return err == nil
}

// hello sends what a stream begins with.
func (r *rawRPC) hello() {
	b, err := proto.Marshal(&wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol}}})
	require.NoError(r.t, err)
	require.True(r.t, r.data(messageOf(len(b), b), rawWindow))
}

// messageOf begins a message of n bytes.
func messageOf(n int, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(n)), b...)
}

// part sends so much of a message of n bytes as it says, in frames of a size, and no more; false when the node has hung up.
func (r *rawRPC) part(n, much, size int) bool {
	if !r.data(messageOf(n, nil), messageHeader) {
		return false
	}
	r.mu.Lock()
	for r.window < n && !r.over && n > rawWindow/2 { // the node allows all of it when it has seen how long it is
		r.more.Wait()
	}
	over := r.over
	r.mu.Unlock()
	if over {
		return false
	}
	for b := make([]byte, 64<<10); much > 0; much -= len(b) {
		if !r.data(b[:min(much, len(b))], size) {
			return false
		}
	}
	return true
}

// rawTLS connects for gRPC.
func rawTLS(t testing.TB, a office, address string, certs ...tls.Certificate) net.Conn {
	t.Helper()
	conf := a.config(certs...)
	conf.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address, conf)
	require.NoError(t, err)
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return conn
}
