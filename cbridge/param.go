package main

import (
	"bytes"

	"github.com/coffer-hsm/coffer/pkcs11"
)

const mechanismSize = 3 * ulongSize // CK_MECHANISM: mechanism, pParameter, ulParameterLen

// decoder reads one kind of parameter struct.
type decoder struct {
	size, short int // sizeof, and that of a second layout in use; 0 if there is none
	read        func(f *fields, short bool) any
}

// mechanism decodes a CK_MECHANISM; nil stands for NULL.
func (c *call) mechanism(p uintptr) *pkcs11.Mechanism {
	if p == 0 {
		return nil
	}
	var b [mechanismSize]byte
	if err := read(b[:], p); err != nil {
		c.fail(err)
		return nil
	}
	m := &c.m // no function has two
	m.Type = pkcs11.MechanismType(ulongAt(b[:]))
	params, err := c.params(m.Type, uintptr(ulongAt(b[ulongSize:])), uintptr(ulongAt(b[2*ulongSize:])))
	if err != nil {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %w", m.Type, err))
	}
	m.Params = params
	return m
}

// lent is mechanism for functions of which the machine copies the parameter of CKM_AES_GCM: it stays the call's.
func (c *call) lent(p uintptr) *pkcs11.Mechanism {
	c.lends = true
	m := c.mechanism(p)
	_, c.lends = c.m.Params.(*pkcs11.GCMParams)
	return m
}

// params decodes the parameter of a mechanism. A mechanism that nobody knows has none: the machine will refuse it.
func (c *call) params(t pkcs11.MechanismType, p, n uintptr) (any, error) {
	kind := t.ParamKind()
	if kind == pkcs11.ParamUnknown || p == 0 && n == 0 && (kind == pkcs11.ParamNone || t.ParamOptional()) {
		return nil, nil
	}
	want, short := t.IVLen(), 0
	var d decoder
	if int(kind) < len(decoders) {
		d = decoders[kind]
	}
	isStruct := d.size != 0
	switch {
	case isStruct:
		want, short = d.size, d.short
	case kind == pkcs11.ParamUlong, kind == pkcs11.ParamHandle:
		want = ulongSize
	case kind == pkcs11.ParamNone && n == 0:
		return nil, nil // a pointer to nothing
	case kind == pkcs11.ParamNone:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "takes no parameter, %d bytes given", n)
	}
	if p == 0 || want != 0 && n != uintptr(want) && (short == 0 || n != uintptr(short)) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes at %#x, %d expected", n, p, want)
	}
	b, err := c.take(p, n)
	if err != nil {
		return nil, err
	}
	switch {
	case c.lends && kind == pkcs11.ParamGCM:
		f := fields{call: c, b: b, at: p, lent: true}
		readGCMParams(&f, &c.gcm, n == uintptr(short))
		return &c.gcm, f.err
	case isStruct:
		f := &c.fields
		*f = fields{call: c, b: b, at: p, short: short != 0 && n == uintptr(short)}
		v := d.read(f, f.short)
		return v, f.err
	case kind == pkcs11.ParamUlong:
		return pkcs11.MACGeneralParams(ulongAt(b)), nil
	case kind == pkcs11.ParamHandle:
		return pkcs11.Handle(ulongAt(b)), nil
	}
	return pkcs11.IV(bytes.Clone(b)), nil
}

// fields reads a C struct field by field, in the compiler's layout for 64-bit Unix.
type fields struct {
	call *call
	b    []byte
	at   uintptr // where b was read
	off  int
	err  error

	short bool // the parameter is in its second layout
	lent  bool // what pointers lead to may stay the call's
}

// align goes to the next multiple of n, a power of two.
func (f *fields) align(n int) { f.off = (f.off + n - 1) &^ (n - 1) }

// ulong reads a CK_ULONG or a pointer.
func (f *fields) ulong() uint {
	at := (f.off + ulongSize - 1) &^ (ulongSize - 1)
	f.off = at + ulongSize
	return ulongAt(f.b[at:f.off])
}

func (f *fields) byte() byte {
	f.off++
	return f.b[f.off-1]
}

// fixed reads an array in place.
func (f *fields) fixed(to []byte) { f.off += copy(to, f.b[f.off:]) }

// bytes follows a pointer to n bytes. The copy is the operation's own: it outlives the call (hsm.HSM, Begin).
func (f *fields) bytes(p, n uint) []byte {
	b, err := f.call.take(uintptr(p), uintptr(n))
	f.fail(err)
	if f.lent {
		return b
	}
	return bytes.Clone(b)
}

// nonce follows a pointer to a nonce.
func (f *fields) nonce(p, n uint) []byte { return f.bytes(p, nonceBytes(n)) }

// follow begins to read the struct of n bytes that p points to; nil if p is NULL or wild.
func (f *fields) follow(p uint, n int) *fields {
	if p == 0 {
		return nil
	}
	b, err := f.call.take(uintptr(p), uintptr(n))
	f.fail(err)
	if err != nil {
		return nil
	}
	return &fields{call: f.call, b: b, at: uintptr(p), short: f.short}
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// set stores a number in a field of whatever type.
func set[N ~uint | ~byte](to *N, v uint) { *to = N(v) }
