package main

import (
	"runtime/debug"
	"sync"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// call is one call of the application. It decodes the arguments, remembers the first one that is wrong, writes the
// results, and wipes the copies: a PIN, a plaintext or a key does not outlive the call in the bridge.
//
// It is used by one goroutine, between enter and leave, and then again for another call: what it decodes into, it keeps.
type call struct {
	facts

	gcm    pkcs11.GCMParams // the parameter of m, if the machine copies it
	fields fields
	places []place        // of the parameter, where the machine may change it
	later  []func() error // fill the places of the parameter

	output pkcs11.Out
	result []byte // output that the last calls had room for goes here; wiped, of length 0

	attrs  rows[attribute]
	types  rows[pkcs11.AttributeType]
	answer rows[hsm.Value]
	pairs  rows[pkcs11.Attribute]

	scratch [1024]byte
	large   []byte   // takes what scratch does not; its length is what is used
	copies  [][]byte // what large does not take either
}

// facts are what a call knows and the next one does not.
type facts struct {
	function string // without C_
	session  uint
	err      error // the answer
	m        pkcs11.Mechanism
	lends    bool // the machine copies the parameter of m

	buffer, count uintptr // where output goes
	hasOutput     bool
	public        bool // output is no secret

	inner uintptr // attributes in templates that are values
	used  int     // of scratch
}

// mostKept is the largest buffer that a call keeps for the next one, for input and for output each. There are about as
// many calls as threads that were in the library at once.
const mostKept = 64 << 10

// rows hands out slices, of which the usual ones need no memory of their own.
type rows[T any] struct {
	kept [16]T
	used int
}

func (r *rows[T]) take(n int) []T {
	if n > len(r.kept)-r.used {
		return make([]T, n)
	}
	r.used += n
	return r.kept[r.used-n : r.used : r.used]
}

// clear forgets what was handed out, for the collector's sake and because some of it may be secret.
func (r *rows[T]) clear() {
	if r.used > 0 {
		clear(r.kept[:r.used])
		r.used = 0
	}
}

var calls = sync.Pool{New: func() any { return new(call) }}

// enter begins a call; session is 0 for functions that have none.
func enter(function string, session uintptr) *call {
	// On this goroutine a fault is a panic: mem.go answers for it, leave for the rest.
	debug.SetPanicOnFault(true)
	c := calls.Get().(*call)
	c.function, c.session = function, uint(session)
	return c
}

// leave ends a call, whatever happened in it. It must be deferred itself.
func (c *call) leave(rv *uintptr) {
	if fault := recover(); fault != nil {
		c.err = pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "panic: %v\n%s", fault, debug.Stack())
		note(c.function, c.err)
	}
	*rv = uintptr(pkcs11.CKR_OK)
	if c.err != nil {
		*rv = uintptr(pkcs11.RVOf(c.err))
	}
	clear(c.scratch[:c.used])
	if len(c.large) > 0 {
		clear(c.large[c.covered():])
		c.large = c.large[:0]
	}
	if len(c.copies) > 0 {
		c.wipeCopies()
	}
	if c.hasOutput {
		c.wipeOutput()
		c.output = pkcs11.Out{}
	}
	if c.m.Params != nil || c.fields.call != nil || len(c.places)+len(c.later) > 0 {
		c.leaveParam()
	}
	c.attrs.used, c.types.used = 0, 0 // the caller's addresses and numbers, no values
	c.answer.clear()
	c.pairs.clear()
	c.facts = facts{}
	calls.Put(c)
}

func (c *call) wipeCopies() {
	for i := range c.copies {
		clear(c.copies[i])
		c.copies[i] = nil
	}
	c.copies = c.copies[:0]
}

// leaveParam wipes what is secret of a parameter, and forgets it.
func (c *call) leaveParam() {
	if c.lends {
		c.gcm = pkcs11.GCMParams{} // whose memory leave has wiped
	} else {
		for _, b := range pkcs11.PlacesOf(c.m.Params).Secrets {
			clear(b)
		}
		c.fields = fields{}
	}
	clear(c.places)
	c.places = c.places[:0]
	clear(c.later)
	c.later = c.later[:0]
}

// covered is how many bytes at the beginning of large are output that is no secret, and no input any more.
func (c *call) covered() int {
	if out := c.output.Bytes; c.public && c.err == nil && len(out) > 0 && &out[0] == &c.large[0] {
		return len(out)
	}
	return 0
}

// wipeOutput clears the output, and keeps its memory if that is what the next call could use. If the machine has written
// beside the room that it was given, or has failed, all of the room is cleared.
func (c *call) wipeOutput() {
	b := c.output.Bytes[:cap(c.output.Bytes)]
	if over := c.output.Over; len(b) > 0 && cap(over) > 0 && &b[0] == &over[:1][0] {
		return // it is the input's memory, which leave has wiped
	}
	if !c.public || c.err != nil {
		clear(b)
	}
	if len(b) == 0 || cap(c.result) > 0 && &b[0] == &c.result[:1][0] {
		return
	}
	clear(c.result[:cap(c.result)])
	if len(b) > cap(c.result) && len(b) <= mostKept {
		c.result = b[:0]
	}
}

// fail remembers the first error.
func (c *call) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// refuse remembers that an argument is bad.
func (c *call) refuse(format string, args ...any) {
	c.fail(pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, format, args...))
}

// decoded reports whether the call may go on. If not, it lets the machine know, so that the session's operation ends,
// and a closed session or an uninitialised library is said before anything else.
func (c *call) decoded() bool { return c.err == nil || c.rejected() }

func (c *call) rejected() (decoded bool) {
	c.err = library().Reject(c.function, c.session, c.err)
	return false
}

// room returns n bytes that leave wipes.
func (c *call) room(n int) []byte {
	if b := c.scratch[c.used:]; n <= len(b) {
		c.used += n
		return b[:n:n]
	}
	if len(c.large) == 0 && cap(c.large) < n && n <= mostKept {
		c.large = make([]byte, 0, min(mostKept, max(2*cap(c.large), n)))
	}
	if at := len(c.large); n <= cap(c.large)-at {
		c.large = c.large[:at+n]
		return c.large[at : at+n : at+n]
	}
	b := make([]byte, n)
	c.copies = append(c.copies, b)
	return b
}

// take copies n bytes at p. It answers CKR_ARGUMENTS_BAD for a NULL pointer with a length and for wild ones.
func (c *call) take(p, n uintptr) ([]byte, error) { return c.takeWith(p, n, 0) }

// takeWith is take with room for more bytes behind them.
func (c *call) takeWith(p, n uintptr, more int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if err := c.present(p, n); err != nil {
		return nil, err
	}
	b := c.room(int(n) + more)[:n]
	return b, read(b, p)
}

// suspect is the longest length that is taken at its word.
const suspect = 1 << 20

// present finds out what can be no n bytes at p, before there is memory for them.
func (c *call) present(p, n uintptr) error {
	if p == 0 {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "NULL with a length of %d", n)
	}
	if n > suspect {
		return c.reaches(p, n)
	}
	return nil
}

// reaches finds out a wild length before there is memory for it.
func (c *call) reaches(p, n uintptr) error {
	if n > maxLength {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "a length of %d", n)
	}
	var last [1]byte
	return read(last[:], p+n-1)
}

// in decodes an input. NULL without a length is nil; anything else is not.
func (c *call) in(p, n uintptr) []byte { return c.input(p, n, 0) }

func (c *call) input(p, n uintptr, more int) []byte {
	b, err := c.takeWith(p, n, more)
	if err != nil {
		c.fail(err)
	}
	if b == nil && p != 0 {
		b = []byte{}
	}
	return b
}

// mostAdded is the most that an encryption adds to its input: a tag, or a block of padding.
const mostAdded = 16

// own is in for an input that output may be written over.
func (c *call) own(p, n uintptr) []byte {
	b := c.input(p, n, mostAdded)
	c.output.Over = b[:0]
	return b
}

// text decodes a string that ends with a zero byte.
func (c *call) text(p uintptr) string {
	const most = 256
	var text []byte
	for len(text) < most {
		var b [1]byte
		if err := read(b[:], p+uintptr(len(text))); err != nil {
			c.fail(err)
			return ""
		}
		if b[0] == 0 {
			return string(text)
		}
		text = append(text, b[0])
	}
	c.refuse("a text without end")
	return ""
}

// label decodes 32 bytes of text padded with blanks.
func (c *call) label(p uintptr) string {
	b := c.in(p, 32)
	if p == 0 {
		return ""
	}
	end := len(b)
	for end > 0 && b[end-1] == ' ' {
		end--
	}
	return string(b[:end])
}
