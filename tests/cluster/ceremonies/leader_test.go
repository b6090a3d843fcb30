package ceremonies

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How long creating may stop, in the middle and at most, in a test that shares its machine; what is promised of an idle one is
// 2 s.
const (
	usualGap = 8 * time.Second
	mostGap  = 20 * time.Second
)

// TestLeaderKilled: the node that leads the store dies. Signing goes on undisturbed, and creating soon after. COFFER_ROUNDS says
// how often it dies.
func TestLeaderKilled(t *testing.T) {
	rounds := 3
	var gaps []time.Duration
	if s := os.Getenv("COFFER_ROUNDS"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err, "COFFER_ROUNDS")
	}
	c := shared(t)
	k := c.wide(t)
	cred := user(t, k)
	key, err := k.Create(t.Context(), cred, secretKey("leader", make([]byte, 32), true))
	require.NoError(t, err)
	for range rounds {
		var s status
		c.answer(t, &s, "cluster", "status")
		name := s.Members[slices.IndexFunc(s.Members, func(m told) bool { return m.Leader })].Name
		n := c.nodes[slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })]
		stop := make(chan struct{})
		var longest atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				at := time.Now()
				if _, err := mac(t, k, cred, key, "x"); err != nil {
					t.Errorf("a signature failed: %v", err)
				}
				longest.Store(max(longest.Load(), int64(time.Since(at))))
				time.Sleep(2 * time.Millisecond)
			}
		})
		time.Sleep(2 * time.Second) // each node knows of the key by then that all have it
		longest.Store(0)
		n.kill()
		began := time.Now()
		o, err := k.Create(t.Context(), cred, secretKey(fmt.Sprint("after ", name), make([]byte, 32), true))
		gap := time.Since(began)
		close(stop)
		wg.Wait()
		require.NoError(t, err)
		t.Logf("a key was made %v after %s was killed; the longest signature took %v", gap.Round(time.Millisecond), name, time.Duration(longest.Load()).Round(time.Millisecond))
		require.Less(t, gap, mostGap)
		gaps = append(gaps, gap)
		require.NoError(t, k.Destroy(t.Context(), cred, o))
		n.start(t)
		n.serves(t)
		c.settled(t, n, 3, 3)
	}
	require.NoError(t, k.Destroy(t.Context(), cred, key))
	slices.Sort(gaps)
	usual := gaps[len(gaps)/2]
	t.Logf("creating stopped for %v at the median of %d, %v at most", usual.Round(time.Millisecond), len(gaps), gaps[len(gaps)-1].Round(time.Millisecond))
	require.Less(t, usual, usualGap)
}
