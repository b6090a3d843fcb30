package main

import (
	"fmt"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Results: the places that a call has for them, and how they are filled once the machine has answered.

// out decodes an output that follows the two-call convention.
func (c *call) out(buffer, count uintptr) *pkcs11.Out {
	capacity, err := readUlong(count)
	if err != nil {
		c.fail(err)
	}
	c.output.Query = buffer == 0
	c.output.Buffer = uint(buffer)
	c.output.Capacity = int(min(capacity, maxLength))
	if buffer != 0 {
		c.output.Bytes = c.result
	}
	c.buffer, c.count, c.hasOutput = buffer, count, true
	return &c.output
}

// optionalOut is out for an output that is not wanted where count is NULL.
func (c *call) optionalOut(buffer, count uintptr) *pkcs11.Out {
	if count == 0 {
		return nil
	}
	return c.out(buffer, count)
}

// target checks that there is a place for a result that must have one. A length query has no other result.
func (c *call) target(p uintptr) {
	if p == 0 && !c.output.Query {
		c.refuse("no place for a result: NULL")
	}
}

// targetOf is target for a key that some mechanisms give back inside their parameter; of a mechanism that Go does not know
// nobody can say.
func (c *call) targetOf(p uintptr, m *pkcs11.Mechanism) {
	if m == nil || m.Type.ParamKind() != pkcs11.ParamUnknown && !pkcs11.PlacesOf(m.Params).Instead {
		c.target(p)
	}
}

// fill makes room for n bytes that the machine writes.
func (c *call) fill(p, n uintptr) []byte {
	if n == 0 {
		return c.room(0)
	}
	if err := c.present(p, n); err != nil {
		c.fail(err)
		return nil
	}
	return c.room(int(n))
}

// filled hands over what fill made room for.
func (c *call) filled(p uintptr, b []byte) {
	if c.err == nil {
		c.fail(write(p, b))
	}
}

// handles decodes the room for handles that C_FindObjects has, and answers how many to look for. Finding fewer than the
// caller has room for is allowed as long as one is found.
func (c *call) handles(p, room, count uintptr) int {
	c.target(count)
	if p == 0 && room != 0 {
		c.refuse("no place for %d handles: NULL", room)
	}
	return int(min(room, 1<<16))
}

// found hands over handles.
func (c *call) found(p, count uintptr, found []uint) {
	if c.err != nil {
		return
	}
	c.fail(write(p, putAll(c.room(ulongSize*len(found)), found)))
	number(c, count, uint(len(found)))
}

// finish takes the machine's answer and hands over the output: all of it, or none if one of its places cannot be written.
// Places of the parameter come first, for nobody can use a ciphertext whose tag did not arrive.
func (c *call) finish(err error) {
	c.err = err
	if len(c.places)+len(c.later) > 0 {
		c.fillPlaces()
	}
	if !c.hasOutput {
		return
	}
	// The length is said on success and to who has too little room, and to nobody else.
	switch {
	case c.err == nil && !c.output.Query:
		if len(c.output.Bytes) > c.output.Capacity {
			panic(fmt.Sprintf("%d bytes for a buffer of %d", len(c.output.Bytes), c.output.Capacity))
		}
		c.fail(writeCounted(c.buffer, c.output.Bytes, c.count, uint(c.output.Length)))
	case c.err == nil || pkcs11.RVOf(err) == pkcs11.CKR_BUFFER_TOO_SMALL:
		c.fail(writeUlong(c.count, uint(c.output.Length)))
	}
}

// number writes a handle or another number after a call that succeeded. NULL is a place that was optional.
func number[N ~uint](c *call, p uintptr, v N) {
	if c.err == nil && p != 0 && !c.output.Query {
		c.fail(writeUlong(p, uint(v)))
	}
}

// list writes a list under the two-call convention; count is how many elements there is room for.
func list[N ~uint](c *call, p, count uintptr, values []N) {
	if c.err != nil {
		return
	}
	capacity, err := readUlong(count)
	c.fail(err)
	c.fail(writeUlong(count, uint(len(values))))
	switch {
	case p == 0:
	case capacity < uint(len(values)):
		c.fail(pkcs11.CKR_BUFFER_TOO_SMALL)
	default:
		c.fail(write(p, putAll(c.room(ulongSize*len(values)), values)))
	}
}
