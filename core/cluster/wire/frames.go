package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// Frames are the stream of requests and replies without HTTP/2 around it: each message behind its length. See
// docs/wire-format.md, "Frames".
const (
	FramesPreface = "COFFER/1" // what a client sends first on a socket
	FramesALPN    = "coffer/1" // what it asks for in TLS, where it sends no preface
	FrameHeader   = 4          // bytes of a length
)

// FramesQuiet is how many seconds a node waits for a sign of life; a client sends one at least each third of it.
const FramesQuiet = 60

// AppendFrame appends a message as a frame. It refuses what is longer than MaxMessage.
func AppendFrame(b []byte, m proto.Message) ([]byte, error) {
	n := proto.Size(m)
	if n > MaxMessage {
		return nil, fmt.Errorf("wire: a message of %d bytes, at most %d can be sent", n, MaxMessage)
	}
	start := len(b)
	if whole := start + FrameHeader + n; whole > cap(b) {
		grown := make([]byte, start, max(whole, 2*cap(b)))
		copy(grown, b)
		clear(b) // nothing is left behind
		b = grown
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return nil, err
	}
	if got := len(b) - start - FrameHeader; got != n {
		return nil, fmt.Errorf("wire: a message of %d bytes has become %d", n, got)
	}
	return b, nil
}

// ErrFrame is what a FrameReader says of a length that may not be.
var ErrFrame = errors.New("wire: a frame")

// FrameReader cuts what comes over a connection into frames. It holds as much memory as has really come, so that a length
// alone costs nothing. It is used by one goroutine at a time.
type FrameReader struct {
	from       io.Reader
	buf        []byte
	start, end int // of what has come and was not given out
	wrong      error
}

// Sizes of a reader's memory: as it begins, and what it may keep when a large message has gone.
const (
	leastFrames = 4 << 10
	mostFrames  = 64 << 10
)

// NewFrameReader returns a FrameReader that has read nothing.
func NewFrameReader(from io.Reader) *FrameReader {
	return &FrameReader{from: from, buf: make([]byte, leastFrames)}
}

// Next waits for a whole frame and returns what is in it, for use until the next call; whoever has decoded it may clear
// it. After an error of the reader below, such as that of a deadline, it may be called again and goes on where it was.
func (f *FrameReader) Next() ([]byte, error) {
	for {
		b, err := f.cut()
		if b != nil || err != nil {
			return b, err
		}
		if err := f.fill(); err != nil {
			return nil, err
		}
	}
}

// Ready says whether Next has something to return without reading.
func (f *FrameReader) Ready() bool {
	n, whole := f.first()
	return whole || n > MaxMessage
}

// first is the length of the first frame, if that has come; whole says whether all of it has.
func (f *FrameReader) first() (n int, whole bool) {
	if f.end-f.start < FrameHeader {
		return 0, false
	}
	n = int(binary.BigEndian.Uint32(f.buf[f.start:]))
	return n, f.end-f.start-FrameHeader >= n
}

func (f *FrameReader) cut() ([]byte, error) {
	n, whole := f.first()
	if n > MaxMessage {
		f.wrong = fmt.Errorf("%w of %d bytes, at most %d are allowed", ErrFrame, n, MaxMessage)
	}
	if f.wrong != nil || !whole {
		return nil, f.wrong
	}
	from := f.start + FrameHeader
	f.start = from + n
	return f.buf[from:f.start:f.start], nil
}

// fill reads once, when there is no whole frame.
func (f *FrameReader) fill() error {
	if rest := f.end - f.start; f.start > 0 {
		copy(f.buf, f.buf[f.start:f.end])
		clear(f.buf[rest:f.end])
		f.start, f.end = 0, rest
	}
	switch {
	case f.end == len(f.buf):
		f.resize(min(2*len(f.buf), MaxMessage+FrameHeader))
	case f.end < mostFrames && len(f.buf) > mostFrames: // a large message has gone
		f.resize(mostFrames)
	}
	n, err := f.from.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil // an error shows again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// resize moves what has come to other memory and leaves nothing of it in the old one.
func (f *FrameReader) resize(n int) {
	b := make([]byte, n)
	copy(b, f.buf[:f.end])
	clear(f.buf[:f.end])
	f.buf = b
}
