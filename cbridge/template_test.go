package main

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestValuesInTheWild: a value that is not the caller's memory is its attribute's fault, wherever in a template it is, and the
// thread goes on.
func TestValuesInTheWild(t *testing.T) {
	label, number := []byte("a label"), make([]byte, ulongSize)
	binary.NativeEndian.PutUint64(number, 32)
	types := []pkcs11.AttributeType{pkcs11.CKA_LABEL, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_ID}
	lengths := []uint64{7, ulongSize, 7}
	decode := func(nested bool, bad int, at uint64) error {
		template, inside := make([]byte, len(types)*attributeSize), make([]byte, attributeSize)
		for i, typ := range types {
			b := template[i*attributeSize:]
			binary.NativeEndian.PutUint64(b, uint64(typ))
			point(b[ulongSize:], [][]byte{label, number, label}[i], lengths[i])
			if i == bad {
				binary.NativeEndian.PutUint64(b[ulongSize:], at)
			}
		}
		binary.NativeEndian.PutUint64(inside, uint64(pkcs11.CKA_UNWRAP_TEMPLATE))
		point(inside[ulongSize:], template, uint64(len(template)))
		var rv uintptr
		c := enter("CreateObject", 1)
		defer c.leave(&rv)
		if nested {
			c.template(address(inside), 1)
		} else {
			c.template(address(template), uintptr(len(types)))
		}
		runtime.KeepAlive([][]byte{template, inside})
		return c.err
	}
	for _, nested := range []bool{false, true} {
		if err := decode(nested, -1, 0); err != nil {
			t.Fatal(err)
		}
		for bad := range types {
			for _, at := range []uint64{0, 1, 1 << 40, 1<<64 - 4} {
				if err := decode(nested, bad, at); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
					t.Errorf("%v at %#x, in another template: %v: %v", types[bad], at, nested, err)
				}
			}
		}
	}
	runtime.KeepAlive([][]byte{label, number})
}
