package main

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// This file is the only one that touches the application's memory. Pointers of the application are uintptr everywhere:
// Go must not take a wild one for a pointer of its own. What is read is copied before anyone looks at it, for another
// thread of the application may be changing it.

// maxLength is the most bytes that one argument may have. A length above it is a mistake, such as a -1 that became a
// CK_ULONG.
const maxLength = 1<<31 - 1

// ulongSize is sizeof(CK_ULONG), which is sizeof(void *) too: LP64.
const ulongSize = 8

// lowest is the lowest address that can be anybody's memory.
const lowest = 4096

// memory views n bytes at p.
func memory(p uintptr, n int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n)
}

// valid reports whether n bytes at p could be memory at all.
func valid(p uintptr, n int) bool {
	return p >= lowest && n >= 0 && n <= maxLength && p+uintptr(n) >= p
}

// badPointer is the answer for memory that is not there.
func badPointer(p uintptr, n int) error {
	return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d bytes at %#x are not the caller's memory", n, p)
}

// faulted makes an error of the fault of touching a wild pointer. It is one because enter has set SetPanicOnFault.
//
// The guard around it stands in read, write and writeCounted: all calls go through them. As one function for the three, or a
// value of its own whose method is deferred, it takes one to two instructions in a hundred more in the shortest calls.
func faulted(fault any, p uintptr, n int) error {
	if _, ok := fault.(runtime.Error); !ok {
		panic(fault)
	}
	return badPointer(p, n)
}

// reader reads the values of attributes, one after the other: that takes half as long as with a guard for each. Whoever has
// one defers its caught.
type reader struct {
	of       pkcs11.AttributeType // whose value is being read
	p        uintptr
	n        int
	touching bool // the caller's memory, now
}

// read copies len(to) bytes from p.
func (r *reader) read(to []byte, p uintptr) error {
	if !valid(p, len(to)) {
		return badPointer(p, len(to))
	}
	r.p, r.n, r.touching = p, len(to), true
	copy(to, memory(p, len(to)))
	r.touching = false
	return nil
}

// caught is caught for what a reader touches.
func (r *reader) caught(err *error) {
	if !r.touching {
		return
	}
	if fault := recover(); fault != nil {
		if _, ok := fault.(runtime.Error); !ok {
			panic(fault)
		}
		*err = errValue(r.of, badPointer(r.p, r.n))
	}
}

// read copies len(to) bytes from p.
func read(to []byte, p uintptr) (err error) {
	if len(to) == 0 {
		return nil
	}
	if !valid(p, len(to)) {
		return badPointer(p, len(to))
	}
	touched := false
	defer func() {
		if !touched {
			err = faulted(recover(), p, len(to))
		}
	}()
	copy(to, memory(p, len(to)))
	touched = true
	return nil
}

// write copies from to p.
func write(p uintptr, from []byte) (err error) {
	if len(from) == 0 {
		return nil
	}
	if !valid(p, len(from)) {
		return badPointer(p, len(from))
	}
	touched := false
	defer func() {
		if !touched {
			err = faulted(recover(), p, len(from))
		}
	}()
	copy(memory(p, len(from)), from)
	touched = true
	return nil
}

// writeCounted writes n, a CK_ULONG, to count, and copies from to p: that and not two writes for the sake of what every
// output is. Where the one cannot be written, the other need not be.
func writeCounted(p uintptr, from []byte, count uintptr, n uint) (err error) {
	if len(from) == 0 {
		return writeUlong(count, n)
	}
	if !valid(p, len(from)) {
		return badPointer(p, len(from))
	}
	if !valid(count, ulongSize) {
		return badPointer(count, ulongSize)
	}
	touched := false
	defer func() {
		if !touched {
			err = faulted(recover(), p, len(from))
		}
	}()
	binary.NativeEndian.PutUint64(memory(count, ulongSize), uint64(n))
	copy(memory(p, len(from)), from)
	touched = true
	return nil
}

// readUlong reads a CK_ULONG or a pointer.
func readUlong(p uintptr) (uint, error) {
	var b [ulongSize]byte
	err := read(b[:], p)
	return ulongAt(b[:]), err
}

// writeUlong writes a CK_ULONG.
func writeUlong(p uintptr, v uint) error {
	var b [ulongSize]byte
	binary.NativeEndian.PutUint64(b[:], uint64(v))
	return write(p, b[:])
}

// ulongAt decodes the CK_ULONG at the beginning of b.
func ulongAt(b []byte) uint { return uint(binary.NativeEndian.Uint64(b)) }

// appendUlong encodes a CK_ULONG.
func appendUlong(b []byte, v uint) []byte { return binary.NativeEndian.AppendUint64(b, uint64(v)) }
