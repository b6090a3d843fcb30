package conformance

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"

	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// cCall is one call of the library: its arguments, the memory that they name, and what is done with that afterwards.
type cCall struct {
	module *cModule
	name   string
	h      session
	words  []uint
	pin    *runtime.Pinner
	back   *[]func() // after every call: what it has written into a parameter
	good   []func()  // after one that has succeeded
	guards [][]byte  // memory behind a buffer, which is not the library's
	result []byte    // the buffer of the call's output
	o      *out      // whose it is
}

// guard is how much of it there is behind each buffer, and of what.
var guard = bytes.Repeat([]byte{0xa5}, 32)

// to begins a call.
func (m *cModule) to(name string) *cCall {
	return &cCall{module: m, name: name, pin: new(runtime.Pinner), back: new([]func())}
}

// in begins a call whose first argument is a session.
func (m *cModule) in(h session, name string) *cCall {
	c := m.to(name).word(uint(h))
	c.h = h
	return c
}

func (c *cCall) layout() *cStruct { return &cStruct{pin: c.pin, back: c.back} }

func (c *cCall) word(w uint) *cCall {
	c.words = append(c.words, w)
	return c
}

// flag is a CK_BBOOL, or a pointer of which only counts whether it is NULL.
func (c *cCall) flag(b bool) *cCall {
	if b {
		return c.word(1)
	}
	return c.word(0)
}

// at is a pointer to memory that is there, however short.
func (c *cCall) at(b []byte) *cCall {
	if cap(b) == 0 {
		b = make([]byte, 1)
	}
	return c.word(c.layout().addressOf(b[:1:1]))
}

// data is a pointer with its length; nil is NULL.
func (c *cCall) data(b []byte) *cCall {
	if b == nil {
		return c.word(0).word(0)
	}
	return c.at(b).word(uint(len(b)))
}

// text ends with a zero byte.
func (c *cCall) text(s string) *cCall { return c.at(append([]byte(s), 0)) }

// mechanism is a CK_MECHANISM; nil is NULL.
func (c *cCall) mechanism(m *mech) *cCall {
	if m == nil {
		return c.word(0)
	}
	s := c.layout().ulong(uint(m.Type))
	if p := cParameter(m.Params, c.layout()); p != nil {
		s.pointer(p.b).ulong(uint(len(p.b)))
	} else {
		s.ulong(0).ulong(0)
	}
	return c.at(s.b)
}

// parameter is that of a message, with its length.
func (c *cCall) parameter(p any) *cCall {
	if s := cParameter(p, c.layout()); s != nil {
		return c.data(s.b)
	}
	return c.data(nil)
}

// template is an array of CK_ATTRIBUTE with its length.
func (c *cCall) template(t T) *cCall {
	if len(t) == 0 {
		return c.word(0).word(0)
	}
	return c.at(cValue(t, c.pin)).word(uint(len(t)))
}

// number is a pointer to a CK_ULONG that the call writes.
func (c *cCall) number(n *uint) *cCall {
	b := make([]byte, ulong)
	c.good = append(c.good, func() { *n = uint(binary.NativeEndian.Uint64(b)) })
	return c.at(b)
}

func (c *cCall) handle(h *handle) *cCall {
	b := make([]byte, ulong)
	c.good = append(c.good, func() { *h = handle(binary.NativeEndian.Uint64(b)) })
	return c.at(b)
}

// room is memory for n bytes, with a guard behind.
func (c *cCall) room(n int) []byte {
	b := append(make([]byte, n), guard...)
	c.guards = append(c.guards, b[n:])
	return b[:n]
}

// output is a buffer with the pointer to its length. A nil o is NULL for both.
func (c *cCall) output(o *out) *cCall {
	if o == nil {
		return c.word(0).word(0)
	}
	length := make([]byte, ulong)
	binary.NativeEndian.PutUint64(length, uint64(o.Capacity))
	c.o = o
	if o.Query {
		c.word(0)
	} else {
		c.result = c.room(o.Capacity)
		c.at(c.result)
	}
	*c.back = append(*c.back, func() { o.Length = int(binary.NativeEndian.Uint64(length)) })
	c.good = append(c.good, func() {
		if !o.Query {
			o.Bytes = c.result[:o.Length]
		}
	})
	return c.at(length)
}

// do calls, and lets go of the memory unless the call is pending.
func (c *cCall) do() error {
	rv := ck.RV(c.module.lib.Call(c.name, c.words...))
	c.guarded()
	for _, f := range *c.back {
		f()
	}
	if rv == ck.CKR_PENDING {
		c.module.pend(c, c.name)
		return rv
	}
	defer c.pin.Unpin()
	if rv != ck.CKR_OK {
		return rv
	}
	for _, f := range c.good {
		f()
	}
	return nil
}

// guarded looks after the memory behind the call's buffers.
func (c *cCall) guarded() {
	for _, g := range c.guards {
		if !bytes.Equal(g, guard) {
			panic(c.name + " has written behind a buffer")
		}
	}
}

// cReader takes a C struct apart: texts, versions and CK_ULONGs, the latter at multiples of their size.
type cReader struct {
	b  []byte
	at int
}

func (r *cReader) text(n int) string {
	r.at += n
	return strings.TrimRight(string(r.b[r.at-n:r.at]), " ")
}

func (r *cReader) version() ck.Version {
	r.at += 2
	return ck.Version{Major: r.b[r.at-2], Minor: r.b[r.at-1]}
}

func (r *cReader) ulong() uint {
	r.at = (r.at+ulong-1)/ulong*ulong + ulong
	return uint(binary.NativeEndian.Uint64(r.b[r.at-ulong:]))
}

// filled has a call write a struct of n bytes.
func (c *cCall) filled(n int) (*cReader, error) {
	b := c.room(n)
	err := c.at(b).do()
	return &cReader{b: b}, err
}
