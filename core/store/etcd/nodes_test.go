package etcd

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/store"
)

func TestNodesSeeEachOthersCommitsInOrder(t *testing.T) {
	one := fresh(t)
	two := again(t, one)
	ctx := within(t)
	_, from, err := two.List(ctx, "")
	require.NoError(t, err)

	const commits = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range commits {
			_, err := one.Commit(ctx, nil, []store.Op{put("a", strconv.Itoa(i)), put("b", strconv.Itoa(i))})
			assert.NoError(t, err)
		}
	})
	last, seen := -1, from
	for last < commits-1 {
		require.NoError(t, two.Await(ctx, seen+1))
		events, now, err := two.Since(ctx, "", seen)
		require.NoError(t, err)
		require.Greater(t, now, seen)
		seen = now
		if len(events) == 0 {
			continue
		}
		require.Len(t, events, 2, "half of a commit")
		require.Equal(t, events[0].Value, events[1].Value)
		n, err := strconv.Atoi(string(events[0].Value))
		require.NoError(t, err)
		require.Greater(t, n, last)
		last = n
	}
	wg.Wait()

	revision := commit(t, two, put("a", "two"))
	require.NoError(t, one.Await(ctx, revision))
	require.Equal(t, "two", value(t, one, "a"))
	revision = commit(t, one, del("a"))
	got, err := two.Linearize(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, got, revision)
	_, err = two.Get(ctx, "a")
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestRevisionsOfOtherPrefixesAreReached(t *testing.T) {
	one := fresh(t)
	address, prefix := server(t)
	other := open(t, Options{Client: client(t, address), Prefix: prefix})
	ctx := within(t)
	before := one.Changed()
	revision := commit(t, other, put("k", "v"))
	require.NoError(t, one.Await(ctx, revision))
	require.GreaterOrEqual(t, one.Applied(), revision)
	require.Equal(t, before, one.Changed(), "nothing of ours was changed")
	_, err := one.Get(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound)

	revision = commit(t, other, put("k", "w"))
	now := commit(t, one, del("nothing"))
	require.GreaterOrEqual(t, now, revision, "a commit that changes nothing returns the current revision")
	revision = commit(t, other, put("k", "x"))
	now, err = one.Linearize(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, now, revision)
	_, now, err = one.Since(ctx, "", revision)
	require.NoError(t, err)
	require.GreaterOrEqual(t, now, revision)

	short, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, one.Await(short, now+1000), context.Canceled)
}

func TestConflictShowsWhatItConflictedWith(t *testing.T) {
	one := fresh(t)
	two := again(t, one)
	for range 20 {
		r, err := one.Get(context.Background(), "k")
		if !errors.Is(err, store.ErrNotFound) {
			require.NoError(t, err)
		}
		revision := commit(t, two, put("k", "two"))
		_, err = one.Commit(context.Background(), []store.Compare{{Key: "k", Modified: r.Modified}}, []store.Op{put("k", "one")})
		require.ErrorIs(t, err, store.ErrConflict)
		r, err = one.Get(context.Background(), "k")
		require.NoError(t, err)
		require.Equal(t, revision, r.Modified)
	}
}

func TestCommitsOfManyAndOfLargeValues(t *testing.T) {
	one := fresh(t)
	two := again(t, one)
	ctx := within(t)

	var compares []store.Compare
	var ops []store.Op
	for i := range store.MaxOps {
		key := strings.Repeat("k", store.MaxKey-3) + strconv.Itoa(100+i)
		if i%2 == 0 {
			compares = append(compares, store.Compare{Key: key})
		} else {
			ops = append(ops, put(key, "v"))
		}
	}
	_, err := one.Commit(ctx, compares, ops)
	require.NoError(t, err)

	ops = nil
	for i := range MaxCommitBytes / store.MaxValue {
		ops = append(ops, store.Op{Key: strconv.Itoa(i), Value: make([]byte, store.MaxValue)})
	}
	_, before, err := two.List(ctx, "")
	require.NoError(t, err)
	revision := commit(t, one, ops...)
	require.NoError(t, two.Await(ctx, revision))
	events, _, err := two.Since(ctx, "", before)
	require.NoError(t, err)
	require.Subset(t, keys(events), []string{"0", "1", "2", "3"})

	_, err = one.Commit(ctx, nil, append(ops, put("more", "x")))
	require.ErrorIs(t, err, store.ErrInvalid)
}

func keys(events []store.Event) []string {
	var keys []string
	for _, e := range events {
		keys = append(keys, e.Key)
	}
	return keys
}

// TestFragmentsAreAppliedTogether has a server that sends anything over a few KiB in pieces, and one reader who must
// never find two values under the keys of one commit.
func TestFragmentsAreAppliedTogether(t *testing.T) {
	e := alone(t, func(c *embed.Config) { c.MaxRequestBytes = 64 << 10 })
	address := e.Clients[0].Addr().String()
	writer := open(t, Options{Client: client(t, address), Prefix: "p/"})
	reader := open(t, Options{Client: client(t, address), Prefix: "p/"})
	ctx := within(t)
	const commits = 30
	var wg sync.WaitGroup
	wg.Go(func() {
		pad := strings.Repeat("x", 12<<10)
		for i := range commits {
			v := strconv.Itoa(i) + pad
			_, err := writer.Commit(ctx, nil, []store.Op{put("a", v), put("b", v), put("c", v), put("d", v), put("e", v)})
			assert.NoError(t, err)
		}
	})
	for last := ""; !strings.HasPrefix(last, strconv.Itoa(commits-1)+"x"); {
		require.NoError(t, ctx.Err())
		records, _, err := reader.List(ctx, "")
		require.NoError(t, err)
		for _, r := range records {
			require.Len(t, records, 5)
			require.Equal(t, records[0].Modified, r.Modified)
			last = string(r.Value)
		}
	}
	wg.Wait()

	_, err := writer.Commit(ctx, nil, []store.Op{put("a", strings.Repeat("x", 200<<10))})
	require.ErrorIs(t, err, store.ErrInvalid, "this server takes no such request")
}

func TestFullEtcdIsFull(t *testing.T) {
	e := alone(t, func(c *embed.Config) { c.QuotaBackendBytes = 1 << 20 })
	s := open(t, Options{Client: client(t, e.Clients[0].Addr().String()), Prefix: "p/"})
	var err error
	for i := 0; i < 2000 && err == nil; i++ { // etcd looks at the size of its file, which grows ten times a second
		_, err = s.Commit(within(t), nil, []store.Op{put(strconv.Itoa(i%2), strings.Repeat("x", 100<<10))})
	}
	require.ErrorIs(t, err, store.ErrFull)
	require.NotEmpty(t, value(t, s, "0"))
	commit(t, s, del("0"))
}

// answers is a KV service whose transactions fail with the errors in turn.
type answers struct {
	pb.UnimplementedKVServer
	mu    sync.Mutex
	calls int
	err   error
}

func (a *answers) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	return nil, a.err
}

func TestTransactionsAreSentAtMostOnce(t *testing.T) {
	for _, code := range []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Internal} {
		t.Run(code.String(), func(t *testing.T) {
			a := &answers{err: status.Error(code, "the proposal went out")}
			p := serve(t, a)
			c := client(t, p)
			kv := clientv3.NewKVFromKVClient(atMostOnce{clientv3.RetryKVClient(c)}, c)
			_, err := kv.Txn(within(t)).Then(clientv3.OpPut("k", "v")).Commit()
			require.Error(t, err)
			a.mu.Lock()
			defer a.mu.Unlock()
			require.Equal(t, 1, a.calls)

			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s := &Store{ctx: ctx}
			require.ErrorIs(t, s.failure(context.Background(), err), store.ErrUnavailable)
		})
	}
}

func serve(t *testing.T, a *answers) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	g := grpc.NewServer()
	pb.RegisterKVServer(g, a)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return l.Addr().String()
}
