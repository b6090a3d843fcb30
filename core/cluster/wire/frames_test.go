package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// pieces hands out what it holds in pieces of the given sizes, in turn.
type pieces struct {
	rest  []byte
	sizes []byte
	at    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := len(p.rest)
	if len(p.sizes) > 0 {
		n = int(p.sizes[p.at%len(p.sizes)]) + 1
		p.at++
	}
	n = copy(b, p.rest[:min(n, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// cutFrames is what a FrameReader should find: the frames, and whether a length was wrong.
func cutFrames(b []byte) (frames [][]byte, wrong bool) {
	for len(b) >= FrameHeader {
		n := int(binary.BigEndian.Uint32(b))
		if n > MaxMessage {
			return frames, true
		}
		if len(b) < FrameHeader+n {
			return frames, false
		}
		frames = append(frames, b[FrameHeader:FrameHeader+n])
		b = b[FrameHeader+n:]
	}
	return frames, false
}

// FuzzFrames: however the bytes come, the same frames are found, a wrong length is told, and what was given out and cleared
// harms nothing that comes later.
func FuzzFrames(f *testing.F) {
	one, err := AppendFrame(nil, &Request{Id: 7, Body: &Request_Ping{Ping: &Ping{}}})
	require.NoError(f, err)
	f.Add(one, []byte{0})
	f.Add(bytes.Repeat(one, 1000), []byte{})
	f.Add(append(bytes.Repeat([]byte{0, 0, 0, 0}, 9), one...), []byte{2, 0, 250})
	f.Add(append(one, 2, 0, 0, 1), []byte{9})
	f.Add(append([]byte{0, 3, 0, 0}, bytes.Repeat([]byte{5}, 3<<16)...), []byte{255, 1})
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		want, wrong := cutFrames(b)
		r := NewFrameReader(&pieces{rest: bytes.Clone(b), sizes: sizes})
		for _, w := range want {
			got, err := r.Next()
			require.NoError(t, err)
			require.True(t, bytes.Equal(w, got))
			clear(got)
		}
		_, err := r.Next()
		require.Equal(t, wrong, r.Ready())
		require.Equal(t, wrong, errors.Is(err, ErrFrame), "%v", err)
		require.Error(t, err)
		require.LessOrEqual(t, len(r.buf), max(2*len(b), mostFrames))
	})
}

// TestFramesGoOnAfterADeadline: nothing is lost by an error that passes.
func TestFramesGoOnAfterADeadline(t *testing.T) {
	one, err := AppendFrame(nil, &Request{Id: 7})
	require.NoError(t, err)
	r := NewFrameReader(iotest.TimeoutReader(&pieces{rest: bytes.Repeat(one, 2), sizes: []byte{2}}))
	_, err = r.Next()
	require.ErrorIs(t, err, iotest.ErrTimeout)
	for range 2 {
		b, err := r.Next()
		require.NoError(t, err)
		q := &Request{}
		require.NoError(t, Unmarshal(b, q))
		require.EqualValues(t, 7, q.Id)
	}
}

// TestALargeFrameLeavesNoMemory: neither the room nor the content of a large message stays.
func TestALargeFrameLeavesNoMemory(t *testing.T) {
	large, err := AppendFrame(nil, &Request{Id: 7, Body: &Request_Step{Step: &Step{Data: bytes.Repeat([]byte{9}, 1<<20)}}})
	require.NoError(t, err)
	small, err := AppendFrame(nil, &Request{Id: 8})
	require.NoError(t, err)
	r := NewFrameReader(io.MultiReader(bytes.NewReader(large), bytes.NewReader(small)))
	b, err := r.Next()
	require.NoError(t, err)
	clear(b)
	_, err = r.Next()
	require.NoError(t, err)
	require.LessOrEqual(t, len(r.buf), mostFrames)
	require.NotContains(t, r.buf, byte(9))
}

func TestFramesOfTooMuch(t *testing.T) {
	_, err := AppendFrame(nil, &Request{Body: &Request_Step{Step: &Step{Data: make([]byte, MaxMessage)}}})
	require.Error(t, err)
}

// TestFrameReaderLetsGoOfLargeMemory, though another frame has begun behind the large one.
func TestFrameReaderLetsGoOfLargeMemory(t *testing.T) {
	large := binary.BigEndian.AppendUint32(nil, 4<<20)
	large = append(large, make([]byte, 4<<20)...)
	small := []byte{0, 0, 0, 3, 1, 2, 3}
	f := NewFrameReader(io.MultiReader(bytes.NewReader(append(large, small[:1]...)), bytes.NewReader(append(small[1:], small[:2]...)), bytes.NewReader(small[2:])))
	for _, n := range []int{4 << 20, 3, 3} {
		b, err := f.Next()
		if err != nil || len(b) != n {
			t.Fatalf("%d bytes, %v, expected %d", len(b), err, n)
		}
	}
	if len(f.buf) > mostFrames {
		t.Errorf("%d bytes are kept", len(f.buf))
	}
}

// FuzzFramesWithoutRoom: a frame for which there is no memory is forgotten but for its number, and all others come.
func FuzzFramesWithoutRoom(f *testing.F) {
	const room = 2 * leastFrames
	small, err := AppendFrame(nil, &Request{Id: 7})
	require.NoError(f, err)
	large, err := AppendFrame(nil, &Request{Id: 1 << 63, Body: &Request_Step{Step: &Step{Data: bytes.Repeat([]byte{9}, 3*room)}}})
	require.NoError(f, err)
	most, err := AppendFrame(nil, &Request{Id: 9, Body: &Request_Random{Random: &Random{Bytes: 1}}})
	require.NoError(f, err)
	f.Add(bytes.Join([][]byte{small, large, most, large, large, small}, nil), []byte{})
	f.Add(bytes.Join([][]byte{large, small}, nil), []byte{250, 3, 0})
	f.Add(binary.BigEndian.AppendUint32(nil, room-FrameHeader+1), []byte{})
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		want, wrong := cutFrames(b)
		r := NewFrameReader(&pieces{rest: bytes.Clone(b), sizes: sizes})
		kept := leastFrames
		r.Resize = func(n int) error {
			if n > room {
				return io.ErrShortBuffer
			}
			kept = n
			return nil
		}
		for _, w := range want {
			got, err := r.Next()
			if FrameHeader+len(w) > room {
				require.ErrorIs(t, err, ErrDropped)
				require.True(t, bytes.HasPrefix(w, got))
				require.Equal(t, RequestID(w), RequestID(got))
			} else {
				require.NoError(t, err)
				require.True(t, bytes.Equal(w, got))
			}
			clear(got)
			require.Len(t, r.buf, kept)
		}
		_, err := r.Next()
		require.Equal(t, wrong, errors.Is(err, ErrFrame), "%v", err)
		require.Error(t, err)
	})
}

func TestTheNumberOfARequest(t *testing.T) {
	for _, c := range []struct {
		head []byte
		id   uint64
	}{
		{[]byte{8, 1}, 1}, {[]byte{8, 0x80, 2, 9}, 256}, {nil, 0}, {[]byte{8}, 0}, {[]byte{8, 0x80}, 0}, {[]byte{0x10, 5}, 0}, {[]byte{10, 1, 1}, 0},
	} {
		require.Equal(t, c.id, RequestID(c.head), "%x", c.head)
	}
}
