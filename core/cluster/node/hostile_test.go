package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// preface opens HTTP/2: the client's words and an empty SETTINGS frame.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// TestGarbageOnTheWire: whatever comes over raw connections, the node stays up.
func TestGarbageOnTheWire(t *testing.T) {
	noise := make([]byte, 64<<10)
	rand.Read(noise)
	a := newOffice(t)
	hsm := newEngine(t)
	_, path := onSocket(t, Options{HSM: hsm})
	_, address := onTLS(t, a, Options{HSM: hsm, Cluster: newGroup("n1")})
	for name, sent := range map[string][]byte{
		"nothing":           {},
		"noise":             noise,
		"HTTP/1":            []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"half a preface":    []byte(preface[:10]),
		"half a frame":      []byte(preface + "\x00\x10\x00\x00\x00"),
		"noise after it":    append([]byte(preface), noise...),
		"a frame too large": []byte(preface + "\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
		"headers of noise":  append([]byte(preface+"\x00\x40\x00\x01\x05\x00\x00\x00\x01"), noise[:0x4000]...),
		"a flood of pings":  append([]byte(preface), bytes.Repeat([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"), 2000)...),
		"a flood of resets": append([]byte(preface), bytes.Repeat([]byte("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"), 2000)...),
	} {
		t.Run(name, func(t *testing.T) {
			for _, open := range []func() (net.Conn, error){
				func() (net.Conn, error) { return net.Dial("unix", path) },
				func() (net.Conn, error) { return net.Dial("tcp", address) },
				func() (net.Conn, error) {
					conf := a.config(a.issue(t, person("web"), time.Hour))
					conf.NextProtos = []string{"h2"}
					return tls.Dial("tcp", address, conf)
				},
			} {
				c, err := open()
				require.NoError(t, err)
				_, _ = c.Write(sent)
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			connected(t, path).must(pingQ())
		})
	}
}

// TestMessagesThatEndTheirStream: no other stream of the connection is touched.
func TestMessagesThatEndTheirStream(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	cc := dial(t, path, nil)
	bystander := greeted(t, cc)
	nested := &wire.Template{}
	for range 40 {
		nested = &wire.Template{Attributes: []*wire.Attribute{{Type: uint64(pkcs11.CKA_WRAP_TEMPLATE), Value: &wire.Attribute_Template{Template: nested}}}}
	}
	for name, q := range map[string]*wire.Request{
		"too large": {Body: &wire.Request_Step{Step: &wire.Step{Data: make([]byte, wire.MaxMessage)}}},
		"too deep":  {Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{Template: nested}}},
		"too many elements": {Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{
			Template: &wire.Template{Attributes: make([]*wire.Attribute, wire.MaxElements+1)}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if l := q.GetFindObjects().GetTemplate().GetAttributes(); len(l) > 1 {
				for i := range l {
					l[i] = &wire.Attribute{}
				}
			}
			c := greeted(t, cc)
			q.Id = 5
			_ = c.stream.Send(q)
			_, err := c.stream.Recv()
			require.NotEqual(t, codes.OK, status.Code(err))
			bystander.must(pingQ())
		})
	}
}

// TestCompressedMessagesAreNotTaken, whatever else in the process would open them.
func TestCompressedMessagesAreNotTaken(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	cc := dial(t, path, nil)
	bystander := greeted(t, cc)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := wire.NewNodeClient(cc).Calls(ctx, grpc.UseCompressor(gzip.Name))
	require.NoError(t, err)
	require.NoError(t, stream.Send(&wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol}}}))
	_, err = stream.Recv()
	require.Equal(t, codes.Internal, status.Code(err), "%v", err)
	bystander.must(pingQ())
}

// TestManyStreams: two hundred at once, all served, and nothing is left of them.
func TestManyStreams(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t)})
	conns := []*client{}
	for range 20 {
		cc := dial(t, path, nil)
		for range 10 {
			conns = append(conns, greeted(t, cc))
		}
	}
	var all sync.WaitGroup
	failures := make(chan error, len(conns))
	for _, c := range conns {
		all.Go(func() {
			for i := range 30 {
				q := randomQ()
				q.Id = uint64(i + 100)
				if err := c.stream.Send(q); err != nil {
					failures <- err
					return
				}
			}
			for range 30 {
				if r, err := c.stream.Recv(); err != nil || len(r.GetBytes().GetBytes()) != 16 {
					failures <- fmt.Errorf("%v %w", r, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	require.NoError(t, <-failures)
	for _, c := range conns {
		_ = c.conn.Close()
	}
	require.Eventually(t, func() bool { return s.streams.Load() == 0 }, patience, time.Millisecond)
	require.Zero(t, s.running.Load())
	require.Equal(t, s.limits.Bytes, s.bytes.free)
}

func TestLimits(t *testing.T) {
	wait := make(chan struct{})
	h := &hooked{Portable: newEngine(t), generate: func(context.Context) error { <-wait; return pkcs11.CKR_FUNCTION_CANCELED }}
	var book logbook
	s, path := onSocket(t, Options{HSM: h, Log: book.add, Limits: Limits{
		Running: 4, Streams: 2, Connections: 3, Patience: 10 * time.Millisecond, StreamBytes: 1 << 20,
	}})
	c := connected(t, path)
	ids := map[uint64]bool{}
	for range 4 {
		ids[c.send(pairQ())] = true
	}
	c.refused(pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, randomQ())
	c.must(pingQ())
	close(wait)
	for range 4 {
		require.True(t, ids[c.receive().Id])
	}
	require.Eventually(t, func() bool { return s.running.Load() == 0 }, patience, time.Millisecond) // their places are free
	c.must(randomQ())

	second := connected(t, path)
	third := opening(t, dial(t, path, nil))
	_, err := third.stream.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	fourth, err := net.Dial("unix", path)
	require.NoError(t, err)
	_, err = fourth.Write([]byte(wire.FramesPreface))
	require.NoError(t, err)
	_, err = fourth.Read(make([]byte, 1))
	require.Error(t, err) // closed at once
	second.must(pingQ())
	require.Len(t, book.all(), 2)
}

// TestRequestsCountAsWhatTheyTake: an empty attribute is two bytes on the wire and a struct in memory, so that the length of
// what waits for its turn is no bound for what it takes.
func TestRequestsCountAsWhatTheyTake(t *testing.T) {
	wait := make(chan struct{})
	h := &hooked{Portable: newEngine(t), generate: func(context.Context) error { <-wait; return pkcs11.CKR_FUNCTION_CANCELED }}
	s, path := onSocket(t, Options{HSM: h, Limits: Limits{Patience: 10 * time.Millisecond, StreamBytes: 8 << 20}})
	goOn := sync.OnceFunc(func() { close(wait) })
	t.Cleanup(goOn)
	c := connected(t, path)
	bloated := pairQ()
	bloated.GetGenerateKeyPair().Public = &wire.Template{Attributes: make([]*wire.Attribute, 50_000)}
	for i := range bloated.GetGenerateKeyPair().Public.Attributes {
		bloated.GetGenerateKeyPair().Public.Attributes[i] = &wire.Attribute{}
	}
	encoded, err := proto.Marshal(bloated)
	require.NoError(t, err)
	require.Less(t, len(encoded), 200<<10)

	ids := map[uint64]bool{}
	for range 2 * runtime.GOMAXPROCS(0) { // the heavy lane is full
		ids[c.send(pairQ())] = true
	}
	ids[c.send(bloated)] = true
	require.Eventually(t, func() bool { return s.running.Load() == int64(len(ids)) }, patience, time.Millisecond)
	before := heapInUse()
	kept := new(wire.Request)
	require.NoError(t, proto.Unmarshal(encoded, kept))
	took := heapInUse() - before
	s.bytes.mu.Lock()
	held := s.limits.Bytes - s.bytes.free
	s.bytes.mu.Unlock()
	require.GreaterOrEqual(t, held, took)
	runtime.KeepAlive(kept)
	again := proto.Clone(bloated).(*wire.Request)
	again.Id = 0
	c.refused(pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, again)
	goOn()
	for range ids {
		require.True(t, ids[c.receive().Id])
	}
}

func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what is pooled goes with the second
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestNoClientTakesAllOfANode: whatever one holder has under way, on however many streams, another is served.
func TestNoClientTakesAllOfANode(t *testing.T) {
	a := newOffice(t)
	wait := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(wait) })
	h := &hooked{Portable: newEngine(t), generate: func(context.Context) error { <-wait; return pkcs11.CKR_FUNCTION_CANCELED }}
	s, address := onTLS(t, a, Options{HSM: h, Cluster: newGroup("n1"), Limits: Limits{
		Streams: 4, Bytes: 4 << 20, StreamBytes: 2 << 20, Patience: 10 * time.Millisecond}})
	t.Cleanup(goOn)
	as := func(name string) *grpc.ClientConn {
		conf := a.config(a.issue(t, person(name), time.Hour))
		conf.NextProtos = []string{"h2"}
		return dial(t, address, credentials.NewTLS(conf))
	}
	large := func() *wire.Request { // more than two thirds of a MiB
		q := pairQ()
		q.GetGenerateKeyPair().Public = wire.FromTemplate(pkcs11.Template{pkcs11.Attr(pkcs11.CKA_LABEL, make([]byte, 700<<10))})
		return q
	}
	greedy := as("greedy")
	var streams []*client
	for range 3 {
		c := greeted(t, greedy)
		streams = append(streams, c)
		c.send(large())
	}
	streams[0].send(large())
	require.Eventually(t, func() bool { return s.running.Load() == 4 }, patience, time.Millisecond)
	streams[1].send(large())
	_, err := streams[1].stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	_, err = opening(t, greedy).stream.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))

	other := greeted(t, as("other"))
	other.must(randomQ())
	other.send(large())
	other.must(pingQ())
	goOn()
	for _, c := range streams {
		_ = c.conn.Close()
	}
	_ = other.conn.Close()
	require.Eventually(t, func() bool {
		s.holders.mu.Lock()
		defer s.holders.mu.Unlock()
		return len(s.holders.list) == 0
	}, patience, time.Millisecond)
	require.Equal(t, s.limits.Bytes, s.bytes.free)
}

// TestASlowReader: a client that takes no answers stops being read, and costs no more than its room.
func TestASlowReader(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t), Limits: Limits{StreamBytes: 4 << 20, Patience: 10 * time.Second}})
	c := connected(t, path)
	big := func(id uint64) *wire.Request {
		return &wire.Request{Id: id, Body: &wire.Request_Random{Random: &wire.Random{Bytes: 1 << 20}}}
	}
	const many = 60
	go func() {
		for i := range many {
			_ = c.stream.Send(big(uint64(i + 10)))
		}
	}()
	connected(t, path).must(randomQ())
	require.Eventually(t, func() bool {
		s.bytes.mu.Lock()
		defer s.bytes.mu.Unlock()
		return s.bytes.free < s.limits.Bytes-2<<20
	}, patience, time.Millisecond)
	require.LessOrEqual(t, s.running.Load(), int64(8))
	for range many {
		require.Len(t, c.receive().GetBytes().GetBytes(), 1<<20)
	}
}

// TestStoppingUnderLoad: whether it is asked to or not, a node that has stopped leaves the HSM alone.
func TestStoppingUnderLoad(t *testing.T) {
	for name, stop := range map[string]func(*Server){
		"closed":    func(s *Server) { s.Close() },
		"shut down": func(s *Server) { _ = s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			var stopped, late atomic.Bool
			h := &hooked{Portable: newEngine(t)}
			h.random = func(context.Context) error {
				if stopped.Load() {
					late.Store(true)
				}
				return nil
			}
			s, path := onSocket(t, Options{HSM: h})
			var answered atomic.Int64
			var all sync.WaitGroup
			for range 8 {
				c := connected(t, path)
				all.Go(func() {
					for i := uint64(10); c.stream.Send(&wire.Request{Id: i, Body: randomQ().Body}) == nil; i++ {
						if i < 50 {
							continue // some are always under way
						}
						if _, err := c.stream.Recv(); err != nil {
							return
						}
						answered.Add(1)
					}
				})
			}
			require.Eventually(t, func() bool { return answered.Load() > 500 }, patience, time.Millisecond)
			stop(s)
			stopped.Store(true)
			all.Wait()
			require.False(t, late.Load())
			require.Zero(t, s.running.Load())
			require.Zero(t, s.streams.Load())
			require.Equal(t, s.limits.Bytes, s.bytes.free)
		})
	}
}

// TestAValueAskedForAThousandTimes takes its memory once.
func TestAValueAskedForAThousandTimes(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connected(t, path)
	c.must(initTokenRequest())
	made := c.must(&wire.Request{Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{Template: wire.FromTemplate(pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_PRIVATE, false), pkcs11.AttrString(pkcs11.CKA_LABEL, "large"),
		pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 1<<20))})}}}).GetObjects().GetObjects()[0]
	ask := func(n int) *wire.Request {
		types := []uint64{uint64(pkcs11.CKA_LABEL)}
		for range n {
			types = append(types, uint64(pkcs11.CKA_VALUE))
		}
		return &wire.Request{Body: &wire.Request_GetAttributes{GetAttributes: &wire.GetAttributes{Object: made, Types: types}}}
	}
	values := c.must(ask(2)).GetValues().GetValues()
	require.Len(t, values, 3)
	require.Equal(t, "large", string(values[0].GetAttribute().GetBytes()))
	for _, v := range values[1:] {
		require.EqualValues(t, pkcs11.CKA_VALUE, v.GetAttribute().GetType())
		require.Len(t, v.GetAttribute().GetBytes(), 1<<20)
	}
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := allocated()
	c.refused(pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_NO, ask(1000))
	require.Less(t, allocated()-before, uint64(100<<20))
}
