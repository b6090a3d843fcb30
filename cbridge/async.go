package main

import (
	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// asyncData checks a CK_ASYNC_DATA that results are to go to; NULL stands for none. Version 0 is the only one there is.
func (c *call) asyncData(p uintptr) {
	if p == 0 {
		return
	}
	version, err := readUlong(p)
	c.fail(err)
	if version != 0 {
		c.refuse("CK_ASYNC_DATA of version %d", version)
	}
}

// completed hands over what a pending call has come to. The buffer that the caller gave to that call is known here as a
// number, and is written to now and at no other time: the standard has the caller keep it until then. pValue names it
// after a failure too, so that the caller can free it.
func (c *call) completed(p uintptr, d cryptoki.AsyncData) {
	defer clear(d.Value)
	if p == 0 || pkcs11.RVOf(c.err) == pkcs11.CKR_PENDING || c.err != nil && d.Buffer == 0 {
		return
	}
	if c.err == nil {
		c.fail(write(uintptr(d.Buffer), d.Value))
	}
	r := record(c.room(64)[:0])
	for _, n := range []uint{0, d.Buffer, uint(len(d.Value)), d.Object, d.Additional} {
		r.ulong(n)
	}
	c.fail(write(p, r))
}

// place describes a buffer that the result of a call goes to once it is there. Nothing is written to it before.
func (c *call) place(buffer, length uintptr) *pkcs11.Out {
	return &pkcs11.Out{Query: buffer == 0, Buffer: uint(buffer), Capacity: int(min(uint(length), maxLength))}
}
