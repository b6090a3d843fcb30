package main

import (
	"bytes"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// place is memory of the caller that a parameter points to and that a call may change: what was there, and what is to be
// there when the call has succeeded.
type place struct {
	p    uintptr
	was  []byte
	then []byte // the parameter's own bytes, which the machine writes into
}

// inout follows a pointer to n bytes that may be changed. NULL is nil, whatever the length: some calls have no use for them.
func (f *fields) inout(p, n uint) []byte {
	if p == 0 {
		return nil
	}
	b := f.bytes(p, n)
	if f.lent && !zero(b) {
		return b // the IV of C_EncryptInit, in whose place one is made only where there is none (cryptoki.EncryptInit)
	}
	if len(b) > 0 {
		was := f.call.room(len(b))
		copy(was, b)
		f.call.places = append(f.call.places, place{uintptr(p), was, b})
	}
	return b
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// nonceBytes is how many bytes a nonce has. The standard gives its length in bits, headers and NSS read it in bytes; no nonce
// has as many bytes as the shortest has bits, so the number tells.
func nonceBytes(n uint) uint {
	const leastBits = 64
	if n >= leastBits {
		return n/8 + min(n%8, 1)
	}
	return n
}

// giveBack writes what the machine has changed of a parameter. What is as it was is not touched: it may be memory that
// cannot be written.
func (c *call) giveBack() {
	for _, at := range c.places {
		if !bytes.Equal(at.was, at.then) {
			c.fail(write(at.p, at.then))
		}
	}
}

// messaging decodes the CK_MECHANISM of C_MessageEncryptInit and C_MessageDecryptInit. Where each message has a parameter
// of its own, what the mechanism has may be left out, and nothing in it counts.
func (c *call) messaging(p uintptr) *pkcs11.Mechanism {
	if p == 0 {
		return nil
	}
	var b [mechanismSize]byte
	if err := read(b[:], p); err != nil {
		c.fail(err)
		return nil
	}
	t := pkcs11.MechanismType(ulongAt(b[:]))
	kind := t.MessageKind()
	if kind == pkcs11.ParamUnknown {
		return c.mechanism(p)
	}
	at, n := uintptr(ulongAt(b[ulongSize:])), uintptr(ulongAt(b[2*ulongSize:]))
	if n != 0 && n != uintptr(decoders[kind].size) {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %d bytes, %d expected, or none", t, n, decoders[kind].size))
	} else if _, err := c.take(at, n); err != nil {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %w", t, err))
	}
	c.m = pkcs11.Mechanism{Type: t}
	return &c.m
}

// message decodes the parameter of a message, as the mechanism of the session's process wants it. Without such a process the
// machine has the answer, and does not look at it.
func (c *call) message(p, n uintptr) any {
	t, running := library().MessageMechanism(c.function, c.session)
	if !running || p == 0 && n == 0 {
		return nil
	}
	kind := t.MessageKind()
	if kind == pkcs11.ParamUnknown {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a message of %v takes no parameter, %d bytes given", t, n))
		return nil
	}
	d := decoders[kind]
	if n != uintptr(d.size) {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %d bytes, %d expected", t, n, d.size))
		return nil
	}
	b, err := c.take(p, n)
	if err != nil {
		c.fail(err)
		return nil
	}
	f := &c.fields
	*f = fields{call: c, b: b}
	v := d.read(f, false)
	if f.err != nil {
		c.fail(f.err)
		return nil
	}
	return v
}
