package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestLentParametersAreTheCallsOwn: the parameter of CKM_AES_GCM is memory of the call, gone when it ends; that of another
// mechanism is the operation's, which outlives it.
func TestLentParametersAreTheCallsOwn(t *testing.T) {
	heap := func(text string) []byte { return bytes.Repeat([]byte(text), 1) } // the stack moves
	iv, aad := heap("twelve bytes"), heap("what is associated")
	gcm, m := bytes.Repeat([]byte{0}, 48), bytes.Repeat([]byte{0}, mechanismSize)
	point(gcm, iv, uint64(len(iv)))
	binary.NativeEndian.PutUint64(gcm[16:], 96)
	point(gcm[24:], aad, uint64(len(aad)))
	binary.NativeEndian.PutUint64(gcm[40:], 128)
	binary.NativeEndian.PutUint64(m, uint64(pkcs11.CKM_AES_GCM))
	point(m[8:], gcm, 48)
	var rv uintptr
	c := enter("EncryptInit", 1)
	p, ok := c.lent(address(m)).Params.(*pkcs11.GCMParams)
	if !ok || !bytes.Equal(p.IV, iv) || !bytes.Equal(p.AAD, aad) || !c.lends {
		t.Fatalf("%+v, %v", p, c.err)
	}
	held := p.AAD
	c.leave(&rv)
	if len(p.IV) != 0 || bytes.Equal(held, aad) {
		t.Errorf("after the call the parameter is %+v, the data %q", p, held)
	}

	binary.NativeEndian.PutUint64(m, uint64(pkcs11.CKM_AES_CBC))
	block := heap("sixteen bytes iv")
	point(m[8:], block, uint64(len(block)))
	c = enter("EncryptInit", 1)
	v, ok := c.lent(address(m)).Params.(pkcs11.IV)
	if !ok || c.lends {
		t.Fatalf("%v, %v", v, c.err)
	}
	c.leave(&rv)
	if !bytes.Equal(v, block) {
		t.Errorf("after the call the IV is %q", v)
	}
	runtime.KeepAlive([][]byte{iv, aad, gcm, m, block})
}

// TestAnIVThatIsMadeArrives where the caller has left zeros for it; the others are not looked at again.
func TestAnIVThatIsMadeArrives(t *testing.T) {
	for given, places := range map[string]int{"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": 1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01": 0} {
		iv, gcm, m := bytes.Repeat([]byte(given), 1), bytes.Repeat([]byte{0}, 48), bytes.Repeat([]byte{0}, mechanismSize)
		point(gcm, iv, uint64(len(iv)))
		binary.NativeEndian.PutUint64(m, uint64(pkcs11.CKM_AES_GCM))
		point(m[8:], gcm, 48)
		var rv uintptr
		func() {
			c := enter("EncryptInit", 1)
			defer c.leave(&rv)
			p := c.lent(address(m)).Params.(*pkcs11.GCMParams)
			if len(c.places) != places {
				t.Errorf("%x: %d places", given, len(c.places))
			}
			if places > 0 {
				copy(p.IV, "twelve bytes")
			}
			c.finish(nil)
		}()
		if made := string(iv) == "twelve bytes"; rv != 0 || made != (places > 0) {
			t.Errorf("%x becomes %x: %v", given, iv, pkcs11.RV(rv))
		}
		runtime.KeepAlive([][]byte{iv, gcm, m})
	}
}
