package node

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/peer"
)

// heard is a connection on which so much comes at a time.
type heard struct {
	net.Conn
	from io.Reader
	most int
}

func (h heard) Read(p []byte) (int, error) { return h.from.Read(p[:min(len(p), h.most)]) }

// counted reads a connection to its end as gRPC does, and expects each stream when its header has come.
func counted(t *testing.T, came []byte, most, atOnce int) (sizes map[uint32]int) {
	t.Helper()
	conn, info := countArrivals(heard{from: bytes.NewReader(came), most: most}, socketPeer{})
	a := conn.(*arrivals)
	ctx := peer.NewContext(context.Background(), &peer.Peer{AuthInfo: info})
	streams := map[uint32]*arriving{}
	var got []byte
	for p := make([]byte, atOnce); ; {
		n, err := conn.Read(p)
		got = append(got, p[:n]...)
		if a.latest != 0 && streams[a.latest] == nil && a.left == 0 && a.have == 0 && n > 0 && a.header[4]&flagEndHeaders != 0 {
			streams[a.latest] = arrivingOn(expect(ctx))
		}
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.Equal(t, came, got)
	sizes = map[uint32]int{}
	for id, s := range streams {
		sizes[id] = s.size
	}
	return sizes
}

// TestArrivalsAreCountedByStream: however the bytes come, gRPC gets them all, and no stream's data before its header.
func TestArrivalsAreCountedByStream(t *testing.T) {
	var came []byte
	for _, b := range [][]byte{
		[]byte(preface),
		rawFrame(typeHeaders, flagEndHeaders, 1, []byte("one")),
		rawFrame(typeData, 0, 1, make([]byte, 100)),
		rawFrame(typeHeaders, 0, 3, []byte("th")),
		rawFrame(typeContinuation, flagEndHeaders, 3, []byte("ree")),
		rawFrame(typeData, 0, 3, make([]byte, 2000)),
		rawFrame(typeData, flagPadded, 1, append([]byte{50}, make([]byte, 60)...)), // 10 of data
		rawFrame(typeData, flagPadded, 1, append([]byte{50}, make([]byte, 50)...)), // none
		rawFrame(typeData, 0, 1, nil),
		rawFrame(0x6, 0, 0, make([]byte, 8)),              // PING
		rawFrame(typeData, 0, 9, make([]byte, 5000)),      // of no stream
		rawFrame(typeHeaders, flagEndHeaders, 5, nil),     // an empty header
		rawFrame(typeData, 1, 5, make([]byte, 16<<10)),    // the last
		rawFrame(typeData, 0, 1<<31|3, make([]byte, 500)), // a bit that says nothing
	} {
		came = append(came, b...)
	}
	want := map[uint32]int{
		1: 100 + frameCost + 61 + frameCost,
		3: 4<<10 + frameCost + 500 + frameCost,
		5: 16<<10 + frameCost,
	}
	for _, most := range []int{1, 2, 7, 9, 10, 100, 1000, 1 << 20} {
		for _, atOnce := range []int{1, 9, 30, 32 << 10} {
			require.Equal(t, want, counted(t, came, most, atOnce), "%d come and %d are read at once", most, atOnce)
		}
	}
}

// TestWhatIsTakenIsNotCounted: of several messages, in frames of all sizes, nothing is left.
func TestWhatIsTakenIsNotCounted(t *testing.T) {
	a := &arriving{refuse: func() { t.Error("refused") }, nobodys: nobodys}
	whole := 0
	for _, n := range []int{1, 1, 3, 5000, 1, 16 << 10, 16 << 10, 700, 40, 2} {
		a.add(n, n+frameCost)
		whole += n
	}
	a.remove(1)
	a.remove(8000)
	require.Positive(t, a.size)
	a.remove(whole - 8001)
	require.Zero(t, a.size)
	require.Empty(t, a.runs)
}
