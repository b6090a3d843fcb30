package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoom(t *testing.T) {
	ctx := context.Background()
	r := newRoom(10)
	n, ok := r.take(ctx, 1000, time.Hour)
	require.True(t, ok)
	require.Equal(t, 10, n) // more than there is counts as all there is
	_, ok = r.take(ctx, 1, time.Millisecond)
	require.False(t, ok)
	ended, end := context.WithCancel(ctx)
	end()
	_, ok = r.take(ended, 1, time.Hour)
	require.False(t, ok)

	// In turn: the small one does not overtake the large one.
	order := make(chan int, 2)
	var all sync.WaitGroup
	for i, need := range []int{8, 1} {
		all.Go(func() {
			_, ok := r.take(ctx, need, time.Hour)
			require.True(t, ok)
			order <- need
		})
		require.Eventually(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.queue) == i+1 }, patience, time.Millisecond)
	}
	r.give(4)
	require.Empty(t, order)
	r.force(3)
	r.give(7)
	require.Equal(t, 8, <-order)
	require.Empty(t, order)
	r.give(2)
	require.Equal(t, 1, <-order)
	all.Wait()
}
