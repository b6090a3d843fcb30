package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
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
	// Resize, if it is not nil, is told how many bytes of memory there are from now on, before they are more. An error
	// means that there may not be so many: the frame is read and forgotten, and Next answers ErrDropped.
	Resize func(n int) error

	from       io.Reader
	buf        []byte
	start, end int // of what has come and was not given out
	dropping   int // so much of a frame is still to come and be forgotten; its beginning is in buf
	wrong      error
}

// ErrDropped is what Next says of a frame for which Resize had no memory.
var ErrDropped = errors.New("wire: a frame had to be forgotten")

// headKept is how much of such a frame is kept: its length, and of the message what RequestID looks at.
const headKept = FrameHeader + 16

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
	if f.dropping > 0 {
		return f.drop()
	}
	for {
		b, err := f.cut()
		if b != nil || err != nil {
			return b, err
		}
		if err := f.fill(); err != nil {
			return nil, err
		}
		if f.dropping > 0 {
			return f.drop()
		}
	}
}

// drop reads the rest of a frame and returns its beginning with ErrDropped.
func (f *FrameReader) drop() ([]byte, error) {
	for f.dropping > 0 {
		n, err := f.read(f.buf[headKept:min(len(f.buf), headKept+f.dropping)])
		if f.dropping -= n; err != nil {
			return nil, err
		}
	}
	clear(f.buf[headKept:])
	f.start, f.end = 0, 0
	return f.buf[FrameHeader:headKept], ErrDropped
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
	f.shift()
	switch {
	case f.end == len(f.buf):
		n, _ := f.first() // it is longer than what there is
		if !f.resize(min(2*len(f.buf), n+FrameHeader)) {
			f.dropping = n + FrameHeader - f.end
			clear(f.buf[headKept:f.end])
			f.end = headKept
			f.resize(leastFrames)
			return nil
		}
	case f.end < mostFrames && len(f.buf) > mostFrames: // a large message has gone
		f.resize(mostFrames)
	}
	n, err := f.read(f.buf[f.end:])
	f.end += n
	return err
}

// Trim gives the memory of a large message back that Next has returned, when nobody looks at that any more. Without it the
// next reading does so.
func (f *FrameReader) Trim() {
	if len(f.buf) <= mostFrames {
		return
	}
	if f.shift(); f.end < mostFrames {
		f.resize(mostFrames)
	}
}

// shift moves what has come to the beginning of the memory.
func (f *FrameReader) shift() {
	if rest := f.end - f.start; f.start > 0 {
		copy(f.buf, f.buf[f.start:f.end])
		clear(f.buf[rest:f.end])
		f.start, f.end = 0, rest
	}
}

// read reads once.
func (f *FrameReader) read(p []byte) (n int, err error) {
	n, err = f.from.Read(p)
	if n > 0 {
		return n, nil // an error shows again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// resize moves what has come to other memory and leaves nothing of it in the old one; false if there may be none.
func (f *FrameReader) resize(n int) bool {
	if f.Resize != nil && f.Resize(n) != nil {
		return false
	}
	b := make([]byte, n)
	copy(b, f.buf[:f.end])
	clear(f.buf[:f.end])
	f.buf = b
	return true
}

// RequestID finds the number of a request by the beginning of its message, where its field of the lowest number stands; 0 if
// it is not there.
func RequestID(head []byte) uint64 {
	field, typ, n := protowire.ConsumeTag(head)
	if n < 0 || field != 1 || typ != protowire.VarintType {
		return 0
	}
	id, n := protowire.ConsumeVarint(head[n:])
	if n < 0 {
		return 0
	}
	return id
}
