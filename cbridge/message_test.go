package main

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// messageParam is a parameter struct of a message in the caller's memory.
func messageParam(kind pkcs11.ParamKind, at map[int][]byte, numbers map[int]uint64) []byte {
	b := make([]byte, decoders[kind].size)
	for off, mem := range at {
		binary.NativeEndian.PutUint64(b[off:], uint64(address(mem)))
	}
	for off, n := range numbers {
		binary.NativeEndian.PutUint64(b[off:], n)
	}
	return b
}

// decodeParam reads a parameter struct, lets the machine change it, and gives it back.
func decodeParam(t *testing.T, kind pkcs11.ParamKind, b []byte, change func(p any)) (rv uintptr) {
	t.Helper()
	func() {
		c := enter("EncryptMessage", 1)
		defer c.leave(&rv)
		f := &c.fields
		*f = fields{call: c, b: b}
		p := decoders[kind].read(f, false)
		if c.fail(f.err); f.err == nil {
			change(p)
			c.finish(nil)
		}
	}()
	return rv
}

func TestMessageParametersAreGivenBack(t *testing.T) {
	for _, c := range []struct {
		kind    pkcs11.ParamKind
		iv, tag int // where their pointers are
		numbers map[int]uint64
	}{
		{pkcs11.ParamGCMMessage, 0, 32, map[int]uint64{8: 12, 16: 32, 24: 1, 40: 128}},
		{pkcs11.ParamCCMMessage, 8, 40, map[int]uint64{0: 5, 16: 12, 24: 32, 32: 1, 48: 16}},
		{pkcs11.ParamPoly1305Message, 0, 16, map[int]uint64{8: 96}}, // in bits, as the standard has it
		{pkcs11.ParamPoly1305Message, 0, 16, map[int]uint64{8: 12}}, // in bytes
	} {
		iv, tag := []byte("twelve bytes and more"), bytes.Repeat([]byte{0xee}, 20)
		param := messageParam(c.kind, map[int][]byte{c.iv: iv, c.tag: tag}, c.numbers)
		before := bytes.Clone(param)
		rv := decodeParam(t, c.kind, param, func(p any) {
			var v, m []byte
			switch p := p.(type) {
			case *pkcs11.GCMMessageParams:
				v, m = p.IV, p.Tag
			case *pkcs11.CCMMessageParams:
				v, m = p.Nonce, p.MAC
			case *pkcs11.Poly1305MessageParams:
				v, m = p.Nonce, p.Tag
			}
			if string(v) != "twelve bytes" || len(m) != 16 {
				t.Fatalf("%T: vector %q, tag of %d bytes", p, v, len(m))
			}
			copy(v, "TWELVE")
			clear(m)
		})
		if rv != 0 || string(iv) != "TWELVE bytes and more" || !bytes.Equal(tag, append(make([]byte, 16), 0xee, 0xee, 0xee, 0xee)) {
			t.Errorf("kind %d: %v, vector %q, tag %x", c.kind, pkcs11.RV(rv), iv, tag)
		}
		if !bytes.Equal(param, before) {
			t.Errorf("kind %d: the struct itself was changed", c.kind)
		}
		runtime.KeepAlive([][]byte{iv, tag, param})
	}
}

func TestMessageParametersWithoutPlaces(t *testing.T) {
	param := messageParam(pkcs11.ParamGCMMessage, nil, map[int]uint64{8: 12, 40: 128})
	if rv := decodeParam(t, pkcs11.ParamGCMMessage, param, func(p any) {
		if m := p.(*pkcs11.GCMMessageParams); m.IV != nil || m.Tag != nil || m.TagBits != 128 {
			t.Errorf("%+v", m)
		}
	}); rv != 0 {
		t.Error(pkcs11.RV(rv))
	}
	for _, numbers := range []map[int]uint64{{0: 8, 8: 12}, {32: 8, 40: 128}, {0: 4096 << 30, 8: 1 << 40}, {32: 1 << 63, 40: 1<<64 - 1}} {
		if rv := decodeParam(t, pkcs11.ParamGCMMessage, messageParam(pkcs11.ParamGCMMessage, nil, numbers), func(any) {}); pkcs11.RV(rv) != pkcs11.CKR_ARGUMENTS_BAD {
			t.Errorf("%v: %v", numbers, pkcs11.RV(rv))
		}
	}
}

// TestNothingIsGivenBackAfterAnError, nor when only a length was asked for.
func TestNothingIsGivenBackAfterAnError(t *testing.T) {
	for name, end := range map[string]func(*call){
		"error": func(c *call) { c.finish(pkcs11.CKR_DATA_LEN_RANGE) },
		"query": func(c *call) { c.output.Query = true; c.finish(nil) },
	} {
		iv := []byte("twelve bytes")
		var rv uintptr
		func() {
			c := enter("EncryptMessage", 1)
			defer c.leave(&rv)
			b := (&fields{call: c}).inout(uint(address(iv)), uint(len(iv)))
			clear(b)
			end(c)
		}()
		if string(iv) != "twelve bytes" {
			t.Errorf("%s: %q", name, iv)
		}
	}
}
