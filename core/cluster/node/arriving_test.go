package node

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWhatArrivesIsBounded: large messages that never come whole take no more memory than the requests that run, and another
// client is served.
func TestWhatArrivesIsBounded(t *testing.T) {
	const (
		room  = 16 << 20
		whole = 30 << 20
		each  = 4 << 20
		conns = 24
	)
	a := newOffice(t)
	greedy, other := a.issue(t, person("greedy"), time.Hour), a.issue(t, person("other"), time.Hour)
	for name, attack := range map[string]func(t testing.TB, address string){
		"gRPC": func(t testing.TB, address string) {
			r := rawOn(t, rawTLS(t, a, address, greedy), wire.Node_Calls_FullMethodName)
			r.hello()
			r.part(whole, each, 16<<10)
		},
		"gRPC in small frames": func(t testing.TB, address string) {
			r := rawOn(t, rawTLS(t, a, address, greedy), wire.Node_Calls_FullMethodName)
			r.hello()
			r.part(whole, each/60, 1) // less than the holder's share, for one that is alone may take more
		},
		"frames": func(t testing.TB, address string) {
			conf := a.config(greedy)
			conf.NextProtos = []string{wire.FramesALPN}
			conn, err := tls.Dial("tcp", address, conf)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			_, err = conn.Write([]byte(frameOf(t, helloQ())))
			require.NoError(t, err)
			_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, whole), make([]byte, each)...))
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1"),
				Limits: Limits{Bytes: room, Patience: 5 * time.Millisecond}})
			witness := overTLS(t, a, address, other)
			before := heapInUse()
			var all sync.WaitGroup
			for range conns {
				all.Go(func() { attack(t, address) })
			}
			all.Wait()
			was := -1
			require.Eventually(t, func() bool { // the node has read what there is
				now := s.held()
				same := now == was
				was = now
				return same
			}, patience, 50*time.Millisecond)
			held, heap := s.held(), heapInUse()-before
			t.Logf("%d connections: %d KiB are counted, the heap has grown by %d KiB", conns, held>>10, heap>>10)
			require.LessOrEqual(t, held, share(room))
			require.Less(t, heap, room+conns*100<<10)
			big := randomQ()
			big.GetRandom().Bytes = 1 << 20
			witness.must(big)
		})
	}
}

// held is how much of the server's memory for requests is taken.
func (s *Server) held() int {
	s.bytes.mu.Lock()
	defer s.bytes.mu.Unlock()
	return s.limits.Bytes - s.bytes.free
}

// TestWhoJoinsSendsLittle: nobody knows who he is, so that his message may not take what a client's may.
func TestWhoJoinsSendsLittle(t *testing.T) {
	a := newOffice(t)
	s, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1")})
	for name, size := range map[string]int{"large frames": 16 << 10, "small ones": 16} {
		t.Run(name, func(t *testing.T) {
			r := rawOn(t, rawTLS(t, a, address), wire.Joining_Join_FullMethodName)
			began := time.Now()
			for r.part(30<<20, 64<<10, size) {
				runtime.Gosched()
			}
			<-r.ended
			require.Less(t, time.Since(began), patience, "the node goes on taking it")
			require.Zero(t, s.held())
		})
	}
}

// TestWhoIsTurnedAwayGoes: who asks to join again and again on one connection, for years if he may, loses it.
func TestWhoIsTurnedAwayGoes(t *testing.T) {
	a := newOffice(t)
	_, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1")})
	r := rawOn(t, rawTLS(t, a, address), wire.Joining_Join_FullMethodName)
	for stream := uint32(3); stream < 200; stream += 2 {
		if _, err := r.conn.Write(rawHeaders(stream, wire.Joining_Join_FullMethodName, [2]string{"grpc-timeout", "99999999H"})); err != nil {
			break
		}
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Error("the connection stands")
	}
}

// TestARequestWithoutRoomIsRefused, and the connection goes on, where it is of frames.
func TestARequestWithoutRoomIsRefused(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t), Limits: Limits{Patience: time.Millisecond}})
	c := connectedByFrames(t, path)
	large := func() *wire.Request {
		q := randomQ()
		q.Credential = make([]byte, 3<<20)
		return q
	}
	s.bytes.force(s.limits.Bytes - 1<<20)
	c.refused(pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, large())
	c.must(randomQ())
	c.refused(pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, large())
	slow := large()
	slow.Id = 99
	b := frameOf(t, slow)
	half := len(b) / 2
	_, err := c.conn.(io.Writer).Write([]byte(b[:half]))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.held() == s.limits.Bytes-1<<20 }, patience, time.Millisecond, "what is forgotten is counted")
	_, err = c.conn.(io.Writer).Write([]byte(b[half:]))
	require.NoError(t, err)
	failed(t, pkcs11.CKR_DEVICE_MEMORY, wire.Retry_RETRY_ELSEWHERE, c.receive())
	s.bytes.give(s.limits.Bytes - 1<<20)
	c.must(large())
	_ = c.conn.Close()
	require.Eventually(t, func() bool { return s.streams.Load() == 0 }, patience, time.Millisecond)
	require.Zero(t, s.held())
}

// TestArrivingIsGivenBack: whatever comes and goes in whatever order, the rooms have it all again.
func TestArrivingIsGivenBack(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	holder, server := newRoom(3<<20), newRoom(4<<20)
	var all []*arriving
	for range 8 {
		a := &arriving{refuse: func() {}, nobodys: nobodys}
		a.add(100, 100<<10)
		require.NoError(t, a.belongs(time.Microsecond, holder, server))
		all = append(all, a)
	}
	taken := [2]int{}
	for range 5000 {
		a := all[random.Intn(len(all))]
		switch random.Intn(4) {
		case 0, 1:
			n := random.Intn(16 << 10)
			a.add(n+1, n+frameCost)
		case 2:
			a.remove(random.Intn(64 << 10))
		case 3:
			for i, n := range a.handOver() {
				taken[i] += n
			}
		}
		require.GreaterOrEqual(t, holder.free, 0)
		require.GreaterOrEqual(t, server.free, 0)
		if random.Intn(10) == 0 {
			holder.give(taken[0])
			server.give(taken[1])
			taken = [2]int{}
		}
	}
	for _, a := range all {
		a.end()
		a.end()
		a.add(1<<20, 1<<20)
	}
	require.Equal(t, holder.size, holder.free+taken[0])
	require.Equal(t, server.size, server.free+taken[1])
}
