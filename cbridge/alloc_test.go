//go:build !race

package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestTheBridgeAllocatesLittle: bytes in either direction cost nothing, and of a mechanism only what outlives the call.
func TestTheBridgeAllocatesLittle(t *testing.T) {
	for _, n := range []int{100, 16 << 10} {
		s := newSealing(n)
		if got := testing.AllocsPerRun(100, func() { s.offer(); s.call(within) }); got > 0 {
			t.Errorf("%d bytes in and out: %v allocations", n, got)
		}
	}
	iv, gcm, m := make([]byte, 12), make([]byte, 48), make([]byte, mechanismSize)
	point(gcm, iv, 12)
	binary.NativeEndian.PutUint64(gcm[16:], 96)
	binary.NativeEndian.PutUint64(gcm[40:], 128)
	binary.NativeEndian.PutUint64(m, uint64(pkcs11.CKM_AES_GCM))
	point(m[8:], gcm, 48)
	got := testing.AllocsPerRun(100, func() {
		var rv uintptr
		c := enter("EncryptInit", 1)
		if p, ok := c.mechanism(address(m)).Params.(*pkcs11.GCMParams); !ok || len(p.IV) != 12 || p.TagBits != 128 {
			t.Fatalf("%+v, %v", p, c.err)
		}
		c.leave(&rv)
	})
	if got > 2 {
		t.Errorf("the parameter of GCM: %v allocations, 2 expected: the struct and its IV", got)
	}
	if got := testing.AllocsPerRun(100, func() {
		var rv uintptr
		c := enter("EncryptInit", 1)
		if p, ok := c.lent(address(m)).Params.(*pkcs11.GCMParams); !ok || len(p.IV) != 12 || p.TagBits != 128 {
			t.Fatalf("%+v, %v", p, c.err)
		}
		c.leave(&rv)
	}); got > 0 {
		t.Errorf("the parameter of GCM, which the machine copies: %v allocations", got)
	}
	runtime.KeepAlive([][]byte{iv, gcm, m})
}

// TestAttributesCostNothing: what the machine shows is written without a copy of the call's.
func TestAttributesCostNothing(t *testing.T) {
	number, label := bytes.Repeat([]byte{0}, ulongSize), bytes.Repeat([]byte{0}, 32) // not on the stack, which moves
	template := bytes.Repeat([]byte{0}, 2*attributeSize)
	for i, place := range [][]byte{number, label} {
		at := template[i*attributeSize:]
		binary.NativeEndian.PutUint64(at, uint64([]pkcs11.AttributeType{pkcs11.CKA_KEY_TYPE, pkcs11.CKA_LABEL}[i]))
		point(at[ulongSize:], place, uint64(len(place)))
	}
	var kept any = []byte("a label")
	var keyType any = uint(pkcs11.CKK_EC)
	got := testing.AllocsPerRun(100, func() {
		var rv uintptr
		binary.NativeEndian.PutUint64(template[attributeSize+2*ulongSize:], uint64(len(label)))
		c := enter("GetAttributeValue", 1)
		places, types, values := c.wanted(address(template), 2)
		if len(types) != 2 || types[1] != pkcs11.CKA_LABEL || c.err != nil {
			t.Fatalf("%v, %v", types, c.err)
		}
		values[0], values[1] = hsm.Value{Value: keyType, Shared: true}, hsm.Value{Value: kept, Shared: true}
		c.give(address(template), places, values)
		c.leave(&rv)
		if rv != 0 {
			t.Fatalf("%#x", rv)
		}
	})
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
	if string(label[:7]) != "a label" || string(kept.([]byte)) != "a label" || ulongAt(number) != uint(pkcs11.CKK_EC) {
		t.Errorf("%q was written, %q is what the machine has now, the key type is %d", label, kept, ulongAt(number))
	}
	runtime.KeepAlive([][]byte{template, number, label})
}
