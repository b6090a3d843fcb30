package etcd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/coffer-hsm/coffer/core/store"
)

// voter is a member of a cluster, with a proxy before it so that its clients can be cut off at a blow.
type voter struct {
	etcd  *embed.Etcd
	proxy *proxy
	once  sync.Once
}

func (v *voter) kill() {
	v.once.Do(func() {
		v.proxy.cut()
		v.etcd.Close()
	})
}

func voters(t *testing.T, n int) []*voter {
	t.Helper()
	var peers, cluster []string
	for i := range n {
		peers = append(peers, free())
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	all := make([]*voter, n)
	for i := range n {
		e, err := embed.StartEtcd(config(t, t.TempDir(), fmt.Sprintf("m%d", i), peers[i], strings.Join(cluster, ",")))
		require.NoError(t, err)
		v := &voter{etcd: e, proxy: newProxy(t, e.Clients[0].Addr().String())}
		t.Cleanup(v.kill)
		all[i] = v
	}
	for _, v := range all {
		ready(t, v.etcd)
	}
	return all
}

// TestThreeVoters kills the leader under writes and then leaves one voter alone.
func TestThreeVoters(t *testing.T) {
	all := voters(t, 3)
	var addresses []string
	for _, v := range all {
		addresses = append(addresses, v.proxy.address())
	}
	s := open(t, Options{Client: client(t, addresses...), Prefix: "p/"})
	s.timeout = 2 * time.Second // the last voter is waited for that long
	other := open(t, Options{Client: client(t, addresses...), Prefix: "p/"})
	ctx := within(t)

	// acknowledged[i] says that the commit of key i returned nil.
	var acknowledged sync.Map
	var n, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := strconv.FormatInt(n.Add(1), 10)
				_, err := s.Commit(ctx, []store.Compare{{Key: key}}, []store.Op{put(key, key)})
				if err == nil {
					acknowledged.Store(key, true)
					continue
				}
				failed.Add(1)
				assert.ErrorIs(t, err, store.ErrUnavailable, "each key is written once, so nothing can conflict")
			}
		})
	}
	written := func(more int64) {
		until := n.Load() + more
		require.Eventually(t, func() bool { return n.Load() >= until }, patience, 5*time.Millisecond)
	}
	written(50)
	leader := all[0]
	for _, v := range all {
		if v.etcd.Server.Leader() == v.etcd.Server.MemberID() {
			leader = v
		}
	}
	leader.kill()
	written(100)
	require.Eventually(t, func() bool { return s.Err() == nil }, patience, 10*time.Millisecond)
	close(stop)
	wg.Wait()
	t.Logf("%d commits, %d of unknown outcome", n.Load(), failed.Load())

	revision, err := other.Linearize(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Await(ctx, revision))
	acknowledged.Range(func(key, _ any) bool {
		assert.Equal(t, key, value(t, other, key.(string)))
		assert.Equal(t, key, value(t, s, key.(string)))
		return true
	})

	for _, v := range all {
		if v != leader {
			v.kill() // which leaves one of three
			break
		}
	}
	begun := time.Now()
	_, err = s.Commit(context.Background(), nil, []store.Op{put("late", "x")})
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the limit was the store's, not the caller's")
	require.Less(t, time.Since(begun), s.timeout+patience)
	for name, call := range map[string]func(context.Context) error{
		"a look at the last state": func(ctx context.Context) error { _, err := s.Linearize(ctx); return err },
		"a commit that compares, which the last voter must not answer by itself": func(ctx context.Context) error {
			_, err := s.Commit(ctx, []store.Compare{{Key: "nothing"}}, nil)
			return err
		},
		"a commit of nothing": func(ctx context.Context) error { _, err := s.Commit(ctx, nil, nil); return err },
	} {
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		err := call(short)
		cancel()
		require.ErrorIs(t, err, store.ErrUnavailable, name)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
	}

	require.Equal(t, "1", value(t, s, "1"), "reads go on")
	_, _, err = s.List(context.Background(), "")
	require.NoError(t, err)
	_, _, err = s.Since(context.Background(), "", revision)
	require.NoError(t, err)
}
