package node

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestARequestServedByTheReaderHoldsUpNobody: it came alone, so that the reader serves it; it takes long; pings, others
// and what gives it up are read all the same.
func TestARequestServedByTheReaderHoldsUpNobody(t *testing.T) {
	begun := make(chan struct{}, 1)
	e := newEngine(t)
	h := &hooked{Portable: e, random: func(ctx context.Context) error { begun <- struct{}{}; <-ctx.Done(); return ctx.Err() }}
	s, path := onSocket(t, Options{HSM: h})
	c := connected(t, path)
	for range 3 {
		id := c.send(randomQ())
		<-begun
		c.must(pingQ())
		c.must(&wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}})
		require.NoError(t, c.stream.Send(&wire.Request{Id: 1000, Body: &wire.Request_Cancel{Cancel: &wire.Cancel{Id: id}}}))
		r := c.receive()
		require.Equal(t, id, r.Id)
		failed(t, pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_NO, r)
	}
	require.Eventually(t, func() bool { return s.running.Load() == 0 }, patience, time.Millisecond)
	l := s.lanes[quick]
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Equal(t, laneLimits()[quick], l.limit)
}

// TestRepliesAreHeldWhileMoreWait: as many as half of the requests that are behind them, and not for long.
func TestRepliesAreHeldWhileMoreWait(t *testing.T) {
	taken := func(b *outbox) int {
		select {
		case <-b.ready:
			list, last := b.take(nil)
			require.False(t, last)
			return len(list)
		default:
			return 0
		}
	}
	var b outbox
	b.init()
	b.put(outgoing{}, 1)
	require.Equal(t, 1, taken(&b))
	for { // who is interrupted for as long as they are held at most begins anew
		start := time.Now()
		b.put(outgoing{}, 5)
		b.put(outgoing{}, 4)
		n := taken(&b)
		if n == 0 {
			break
		}
		require.Equal(t, 2, n)
		require.GreaterOrEqual(t, time.Since(start), holdTime)
	}
	b.put(outgoing{}, 3)
	require.Equal(t, 3, taken(&b))
	for range maxHeld {
		b.put(outgoing{}, 1000)
	}
	require.Equal(t, maxHeld, taken(&b))
	b.put(outgoing{}, 1000)
	require.Eventually(t, func() bool { return taken(&b) == 1 }, patience, 10*time.Microsecond)
	b.close()
	<-b.ready
	_, last := b.take(nil)
	require.True(t, last)
}

// TestTheReaderKeepsFromWhatIsSlow: when he has served a slow request, the next ones are for workers, for a while.
func TestTheReaderKeepsFromWhatIsSlow(t *testing.T) {
	quickly, slowly := &call{}, &call{}
	b := baton{armed: true} // a timer that never goes off
	b.hold(quickly, time.Now().Add(time.Hour))
	require.True(t, b.back(quickly))
	require.Zero(t, b.leave)
	b.hold(slowly, time.Now().Add(-2*slow))
	require.True(t, b.back(slowly))
	require.Equal(t, caution, b.leave)

	pass := make(chan struct{})
	b = baton{pass: func() { close(pass) }}
	b.hold(slowly, time.Now())
	<-pass
	require.False(t, b.back(slowly))
	require.Equal(t, caution, b.leave)
}
