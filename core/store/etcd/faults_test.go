package etcd

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/coffer-hsm/coffer/core/store"
)

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	return l
}

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	address, _ := server(t)
	c := client(t, address)
	for name, o := range map[string]Options{
		"no client": {Prefix: "p/"}, "no prefix": {Client: c}, "no slash": {Client: c, Prefix: "p"},
		"space": {Client: c, Prefix: "a b/"}, "long": {Client: c, Prefix: strings.Repeat("p", maxPrefix) + "/"},
	} {
		_, err := Open(context.Background(), o)
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
	nobody := newProxy(t, address)
	nobody.cut()
	_, err := Open(context.Background(), Options{Client: client(t, nobody.address()), Prefix: "p/", Timeout: 100 * time.Millisecond})
	require.ErrorIs(t, err, store.ErrUnavailable)
}

// TestCompactionBelowAStoppedWatch: what happened while the store could not follow is told in full.
func TestCompactionBelowAStoppedWatch(t *testing.T) {
	e := alone(t, func(*embed.Config) {})
	address := e.Clients[0].Addr().String()
	p := newProxy(t, address)
	ctx := within(t)
	writer := open(t, Options{Client: client(t, address), Prefix: "p/"})
	commit(t, writer, put("changes", "1"), put("goes", "1"), put("returns", "1"), put("stays", "1"))
	reader := open(t, Options{Client: client(t, p.address()), Prefix: "p/"})
	_, before, err := reader.List(ctx, "")
	require.NoError(t, err)
	generation := reader.Changed()

	p.cut()
	commit(t, writer, put("changes", "2"), del("goes"), del("returns"), put("new", "1"), put("brief", "1"))
	last := commit(t, writer, put("returns", "2"), del("brief"))
	_, err = writer.client.Compact(ctx, last)
	require.NoError(t, err)
	require.Equal(t, "1", value(t, reader, "goes"), "without a connection the mirror is still read")
	require.Equal(t, generation, reader.Changed())
	p.mend()

	require.NoError(t, reader.Await(ctx, last))
	require.Equal(t, generation+1, reader.Changed(), "the reload shows at once")
	events, now, err := reader.Since(ctx, "", before)
	require.NoError(t, err)
	got := map[string]string{}
	for _, e := range events {
		got[e.Key] = string(e.Value)
		if e.Deleted {
			got[e.Key] = "deleted"
			require.Equal(t, now, e.Modified)
		}
	}
	require.Equal(t, map[string]string{"changes": "2", "goes": "deleted", "new": "1", "returns": "2"}, got)
	require.Equal(t, "1", value(t, reader, "stays"))
	want, at, err := writer.List(ctx, "")
	require.NoError(t, err)
	records, now, err := reader.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, want, records)
	require.Equal(t, at, now)

	revision := commit(t, writer, put("after", "1"))
	require.NoError(t, reader.Await(ctx, revision))
	require.NoError(t, reader.Err())
}

// TestLostConnectionIsResumed: nothing is listed anew, and all that was missed comes.
func TestLostConnectionIsResumed(t *testing.T) {
	one := fresh(t)
	p := newProxy(t, one.client.Endpoints()[0])
	two := open(t, Options{Client: client(t, p.address()), Prefix: one.prefix})
	ctx := within(t)
	for round := range 5 {
		before := two.Applied()
		p.cut()
		var last int64
		for i := range 20 {
			last = commit(t, one, put(strconv.Itoa(i), strconv.Itoa(round)))
		}
		last = max(last, commit(t, one, del(strconv.Itoa(round))))
		p.mend()
		require.NoError(t, two.Await(ctx, last))
		events, _, err := two.Since(ctx, "", before)
		require.NoError(t, err)
		require.Len(t, events, 20)
		require.True(t, events[19].Deleted)
	}
}

// TestWatchMovesWithTheClient: a server that was stopped in its tracks keeps the connection, and the watch would wait for it.
func TestWatchMovesWithTheClient(t *testing.T) {
	one := fresh(t)
	direct := one.client.Endpoints()[0]
	p := newProxy(t, direct)
	moves := make(chan struct{})
	var moved atomic.Pointer[<-chan struct{}]
	first := (<-chan struct{})(moves)
	moved.Store(&first)
	c := client(t, p.address())
	two := open(t, Options{Client: c, Prefix: one.prefix, Moved: func() <-chan struct{} { return *moved.Load() }})
	require.NoError(t, two.Await(within(t), commit(t, one, put("k", "1"))))

	p.gate.Lock()
	t.Cleanup(p.gate.Unlock)
	revision := commit(t, one, put("k", "2"))
	c.SetEndpoints(direct)
	never := (<-chan struct{})(nil)
	moved.Store(&never)
	close(moves)
	require.NoError(t, two.Await(within(t), revision))
	require.Equal(t, "2", value(t, two, "k"))
}

func TestReplacedDatabaseEndsTheStore(t *testing.T) {
	for _, c := range []struct {
		name   string
		header func(s *Store) *pb.ResponseHeader
	}{
		{"older copy", func(s *Store) *pb.ResponseHeader {
			return &pb.ResponseHeader{ClusterId: s.cluster, Revision: s.Applied() - 1}
		}},
		{"another cluster", func(s *Store) *pb.ResponseHeader {
			return &pb.ResponseHeader{ClusterId: s.cluster + 1, Revision: s.Applied() + 1}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t)
			commit(t, s, put("k", "v"))
			generation := s.Changed()
			require.ErrorIs(t, s.sameHistory(c.header(s), s.Applied()), ErrReplaced)
			_, err := s.Get(context.Background(), "k")
			require.ErrorIs(t, err, ErrReplaced)
			require.ErrorIs(t, err, store.ErrUnavailable)
			_, err = s.Commit(context.Background(), nil, []store.Op{put("k", "w")})
			require.ErrorIs(t, err, ErrReplaced)
			require.ErrorIs(t, s.Await(context.Background(), 1<<40), ErrReplaced)
			require.ErrorIs(t, s.Err(), ErrReplaced)
			require.NotEqual(t, generation, s.Changed(), "who has a copy must come and ask")
			require.NoError(t, s.Close())
		})
	}
}

// TestEmptiedServerIsNoticed exchanges the server behind the address for a new one.
func TestEmptiedServerIsNoticed(t *testing.T) {
	first := alone(t, func(*embed.Config) {})
	p := newProxy(t, first.Clients[0].Addr().String())
	s := open(t, Options{Client: client(t, p.address()), Prefix: "p/"})
	for i := range 5 {
		commit(t, s, put(strconv.Itoa(i), ""))
	}
	second := alone(t, func(*embed.Config) {})
	p.cut()
	p.lead(second.Clients[0].Addr().String())
	p.mend()
	_, err := s.Linearize(within(t))
	require.ErrorIs(t, err, ErrReplaced)
}

func TestCloseEndsCallsAndGoroutines(t *testing.T) {
	address, prefix := server(t)
	_ = open(t, Options{Client: client(t, address), Prefix: prefix}).Close() // what the process starts once, it has started
	before := runtime.NumGoroutine()
	for range 5 {
		s, err := Open(context.Background(), Options{Client: client(t, address), CloseClient: true, Prefix: prefix})
		require.NoError(t, err)
		commit(t, s, put("k", "v"))
		waiting := make(chan error, 1)
		go func() { waiting <- s.Await(context.Background(), 1<<40) }()
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-waiting, store.ErrUnavailable)
		_, err = s.Linearize(context.Background())
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.False(t, errors.Is(err, ErrReplaced))
	}
	// The connections' goroutines, of the server too, end a little later.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
