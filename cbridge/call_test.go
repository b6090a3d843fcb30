package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// sealing is what an application holds while it encrypts: n bytes, a place for the result and its length.
type sealing struct{ data, place, length []byte }

func newSealing(n int) *sealing {
	s := &sealing{bytes.Repeat([]byte{0xa5}, n), make([]byte, n), make([]byte, ulongSize)}
	s.offer()
	return s
}

func (s *sealing) offer() { binary.NativeEndian.PutUint64(s.length, uint64(len(s.place))) }

// call passes data through the bridge; run stands for the machine. What it returns is the call as it was left.
func (s *sealing) call(run func(in []byte, out *pkcs11.Out) error) (c *call, rv uintptr) {
	func() {
		c = enter("Encrypt", 1)
		defer c.leave(&rv)
		in := c.in(address(s.data), uintptr(len(s.data)))
		out := c.out(address(s.place), address(s.length))
		if c.err == nil {
			c.finish(run(in, out))
		}
	}()
	runtime.KeepAlive(s)
	return c, rv
}

// within writes where the bridge has made room, beside where it has not.
func within(in []byte, out *pkcs11.Out) error { return out.Put(append(out.Bytes[:0], in...)) }

func beside(in []byte, out *pkcs11.Out) error {
	copy(out.Bytes[:cap(out.Bytes)], in)
	return out.Put(bytes.Clone(in))
}

func failed(in []byte, out *pkcs11.Out) error {
	copy(out.Bytes[:cap(out.Bytes)], in)
	return pkcs11.CKR_ENCRYPTED_DATA_INVALID
}

// TestNothingStaysInTheBridge looks into the memory that a call keeps for the next one.
func TestNothingStaysInTheBridge(t *testing.T) {
	for name, run := range map[string]func([]byte, *pkcs11.Out) error{"within": within, "beside": beside, "failed": failed} {
		for _, n := range []int{1, 100, 1024, 1025, 16 << 10, mostKept, mostKept + 1} {
			s := newSealing(n)
			for range 3 {
				s.offer()
				c, rv := s.call(run)
				if name != "failed" && (rv != 0 || !bytes.Equal(s.place, s.data)) {
					t.Fatalf("%s: %d bytes: %v", name, n, pkcs11.RV(rv))
				}
				for what, b := range map[string][]byte{"scratch": c.scratch[:], "large": c.large[:cap(c.large)], "result": c.result[:cap(c.result)]} {
					if bytes.IndexByte(b, 0xa5) >= 0 {
						t.Errorf("%s: of %d bytes something stays in %s", name, n, what)
					}
					if len(b) > mostKept {
						t.Errorf("%s keeps %d bytes", what, len(b))
					}
				}
				if len(c.large) != 0 || len(c.result) != 0 || len(c.copies) != 0 {
					t.Errorf("%s: the next call does not begin with empty buffers", name)
				}
			}
		}
	}
}
