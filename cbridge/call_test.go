package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"syscall"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// sealing is what an application holds while it encrypts: n bytes, a place for the result and its length.
type sealing struct {
	data, place, length []byte
	public              bool // the result is no secret
}

func newSealing(n int) *sealing {
	s := &sealing{data: bytes.Repeat([]byte{0xa5}, n), place: make([]byte, n), length: make([]byte, ulongSize)}
	s.offer()
	return s
}

func (s *sealing) offer() { binary.NativeEndian.PutUint64(s.length, uint64(len(s.place))) }

// call passes data through the bridge; run stands for the machine. What it returns is the call as it was left.
func (s *sealing) call(run func(in []byte, out *pkcs11.Out) error) (c *call, rv uintptr) {
	return s.callTo(address(s.place), run)
}

// callTo has the result written elsewhere.
func (s *sealing) callTo(place uintptr, run func(in []byte, out *pkcs11.Out) error) (c *call, rv uintptr) {
	func() {
		c = enter("Encrypt", 1)
		defer c.leave(&rv)
		in := c.own(address(s.data), uintptr(len(s.data)))
		out := c.out(place, address(s.length))
		c.public = s.public
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

// over writes over the input, and adds as much as may be added.
func over(in []byte, out *pkcs11.Out) error {
	b := append(out.Over[:len(in):cap(out.Over)], make([]byte, mostAdded)...)
	if &b[0] != &in[0] {
		panic("no room for the output over the input")
	}
	for i := range in {
		b[i] ^= 0xff
	}
	return out.Put(b[:len(in)])
}

// overHalf writes over a part of the input, then fails.
func overHalf(in []byte, out *pkcs11.Out) error {
	clear(out.Over[:len(in)/2])
	return pkcs11.CKR_DEVICE_ERROR
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

// TestOutputOverTheInput: it arrives, and nothing stays of the input, nor of output that is a secret or did not arrive.
func TestOutputOverTheInput(t *testing.T) {
	stays := func(c *call, what byte) bool {
		for _, b := range [][]byte{c.scratch[:], c.large[:cap(c.large)], c.result[:cap(c.result)]} {
			if bytes.IndexByte(b, what) >= 0 {
				return true
			}
		}
		return false
	}
	for _, public := range []bool{false, true} {
		for _, n := range []int{1, 100, 1024, 1025, 16 << 10, mostKept - mostAdded, mostKept, mostKept + 1} {
			s := newSealing(n)
			s.public = public
			for range 3 {
				s.offer()
				c, rv := s.call(over)
				if rv != 0 || !bytes.Equal(s.place, bytes.Repeat([]byte{0x5a}, n)) {
					t.Fatalf("%d bytes: %v", n, pkcs11.RV(rv))
				}
				if stays(c, 0xa5) || !public && stays(c, 0x5a) {
					t.Errorf("of %d bytes something stays", n)
				}
				if c.output.Over != nil || cap(c.result) > 0 && cap(c.large) > 0 && &c.result[:1][0] == &c.large[:1][0] {
					t.Error("the next call's output would lie over its input")
				}
				s.offer()
				if c, rv = s.call(overHalf); pkcs11.RV(rv) != pkcs11.CKR_DEVICE_ERROR || stays(c, 0xa5) {
					t.Errorf("%d bytes, half of them written over: %v, and something stays", n, pkcs11.RV(rv))
				}
				s.offer()
				if c, rv = s.callTo(lowest, over); pkcs11.RV(rv) != pkcs11.CKR_ARGUMENTS_BAD || stays(c, 0x5a) || stays(c, 0xa5) {
					t.Errorf("%d bytes to a wild place: %v, and something stays", n, pkcs11.RV(rv))
				}
			}
		}
	}
}

// TestNoOutputAfterAFailure: if the length, or a place of the parameter, cannot be written, the output is not either.
func TestNoOutputAfterAFailure(t *testing.T) {
	page, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(page) }()
	s := newSealing(16)
	s.length = page[:ulongSize]
	s.offer()
	if err := syscall.Mprotect(page, syscall.PROT_READ); err != nil {
		t.Fatal(err)
	}
	if _, rv := s.call(within); pkcs11.RV(rv) != pkcs11.CKR_ARGUMENTS_BAD || !bytes.Equal(s.place, make([]byte, 16)) {
		t.Errorf("a length that cannot be written: %v, %x", pkcs11.RV(rv), s.place)
	}
	s.length = make([]byte, ulongSize)
	s.offer()
	func() {
		var rv uintptr
		c := enter("EncryptMessage", 1)
		defer c.leave(&rv)
		in := c.in(address(s.data), uintptr(len(s.data)))
		out := c.out(address(s.place), address(s.length))
		c.places = append(c.places, place{address(page), make([]byte, 4), []byte("tag!")})
		c.finish(within(in, out))
		if pkcs11.RVOf(c.err) != pkcs11.CKR_ARGUMENTS_BAD || !bytes.Equal(s.place, make([]byte, 16)) {
			t.Errorf("a tag that cannot be written: %v, %x", c.err, s.place)
		}
	}()
	runtime.KeepAlive(s)
}

// TestWildLengthsCostNoMemory: a room that is not there is not made here.
func TestWildLengthsCostNoMemory(t *testing.T) {
	var b [16]byte
	for _, n := range []uintptr{1 << 30, maxLength, 1 << 31, 1 << 62, 1 << 63, ^uintptr(0)} {
		var rv uintptr
		made := testing.AllocsPerRun(1, func() {
			c := enter("GenerateRandom", 1)
			defer c.leave(&rv)
			if c.fill(address(b[:])+1<<46, n) != nil {
				t.Errorf("%d bytes of room", n)
			}
		})
		if pkcs11.RV(rv) != pkcs11.CKR_ARGUMENTS_BAD || made > 100 {
			t.Errorf("%d bytes: %v, %v allocations", n, pkcs11.RV(rv), made)
		}
	}
}
