//go:build !race

package main

import (
	"encoding/binary"
	"runtime"
	"testing"

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
	runtime.KeepAlive([][]byte{iv, gcm, m})
}
