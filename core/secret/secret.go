// Package secret holds key material: bytes that are wiped when their owner is done with them and that no printing or
// encoding package can get at.
//
// A Bytes has one owner, who calls Zero. Reading methods may be called from several goroutines at once; Zero must not
// run at the same time as anything else, and a view from Expose must not be used after it.
//
// There is no finalizer on purpose. A view may outlive the last use of the Bytes that it came from, and a wipe by the
// garbage collector would then turn a key into zeros under a running cipher, which is worse than bytes that stay in
// memory. Go may also have copied what passed through other slices; Wipe those.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
)

// ErrNotExportable is what every attempt to encode a Bytes answers.
var ErrNotExportable = errors.New("secret: a secret cannot be encoded")

const placeholder = "[secret]"

// Bytes owns a byte slice. The zero value and nil are an empty secret. A copied Bytes shares what it owns.
type Bytes struct {
	// A function, because fmt and its like read unexported fields by reflection, through pointers too, but cannot look
	// inside a closure. It also makes == on two Bytes a compile error: Equal is the way.
	own func() *[]byte
}

// New returns n zero bytes to be filled through Expose.
func New(n int) *Bytes {
	b := make([]byte, n)
	return &Bytes{own: func() *[]byte { return &b }}
}

// Take copies b and wipes it: afterwards the secret is in the returned Bytes alone.
func Take(b []byte) *Bytes {
	s := Copy(b)
	Wipe(b)
	return s
}

// Copy copies b and leaves b as it is.
func Copy(b []byte) *Bytes {
	s := New(len(b))
	copy(s.Expose(), b)
	return s
}

// Expose returns the bytes themselves, not a copy. Who appends to or keeps the slice breaks the ownership.
func (s *Bytes) Expose() []byte {
	if s == nil || s.own == nil {
		return nil
	}
	b := *s.own()
	return b[:len(b):len(b)]
}

// Len returns the number of bytes; 0 after Zero.
func (s *Bytes) Len() int { return len(s.Expose()) }

// Equal compares in a time that depends on the lengths only.
func (s *Bytes) Equal(other *Bytes) bool {
	return subtle.ConstantTimeCompare(s.Expose(), other.Expose()) == 1
}

// Clone returns an independent copy.
func (s *Bytes) Clone() *Bytes { return Copy(s.Expose()) }

// Zero wipes the bytes and leaves an empty secret: a use after Zero meets a key of length 0, which every cipher refuses,
// and not a key of zeros. It may be called again.
func (s *Bytes) Zero() {
	if s == nil || s.own == nil {
		return
	}
	b := s.own()
	Wipe(*b)
	*b = nil
}

// Wipe overwrites b with zeros.
//
//go:noinline
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}

// The methods below have value receivers, so that a Bytes and a pointer to it are guarded alike.

// String returns a placeholder.
func (Bytes) String() string { return placeholder }

// GoString returns a placeholder.
func (Bytes) GoString() string { return placeholder }

// Format prints a placeholder for every verb, %x and %p included.
func (Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(placeholder)) }

// MarshalText returns ErrNotExportable.
func (Bytes) MarshalText() ([]byte, error) { return nil, ErrNotExportable }

// MarshalJSON returns ErrNotExportable.
func (Bytes) MarshalJSON() ([]byte, error) { return nil, ErrNotExportable }

// MarshalBinary returns ErrNotExportable; encoding/gob uses it.
func (Bytes) MarshalBinary() ([]byte, error) { return nil, ErrNotExportable }
