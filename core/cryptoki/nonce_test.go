package cryptoki

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCountedVectors(t *testing.T) {
	for _, c := range []struct {
		name             string
		iv               string
		fixed, generator uint
		from             uint64 // where the counter is
		want             []string
	}{
		{"counter", "aabbccddffffffffffffffff", 32, pkcs11.CKG_GENERATE_COUNTER, 0,
			[]string{"aabbccdd0000000000000000", "aabbccdd0000000000000001", "aabbccdd0000000000000002"}},
		{"all of it", "ffffffffffffffffffffffff", 0, pkcs11.CKG_GENERATE_COUNTER, 255,
			[]string{"0000000000000000000000ff", "000000000000000000000100"}},
		{"bits", "ffffff", 13, pkcs11.CKG_GENERATE_COUNTER, 0x7fe, []string{"fffffe", "ffffff", ""}},
		{"one bit", "fe", 7, pkcs11.CKG_GENERATE_COUNTER, 0, []string{"fe", "ff", ""}},
		{"xor", "aabbccdd00000000000000f0", 32, pkcs11.CKG_GENERATE_COUNTER_XOR, 0x0f,
			[]string{"aabbccdd00000000000000ff", "aabbccdd00000000000000e0"}},
		{"xor of few bits", "f5", 4, pkcs11.CKG_GENERATE_COUNTER_XOR, 14, []string{"fb", "fa", ""}},
		{"the end of 64 bits", "0000000000000000", 0, pkcs11.CKG_GENERATE_COUNTER, 1<<64 - 2, []string{"fffffffffffffffe", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v vectors
			if err := v.fill(fromHex(t, c.iv), c.fixed, c.generator); err != nil {
				t.Fatal(err)
			}
			v.next = c.from
			for _, want := range c.want {
				iv := fromHex(t, c.iv)
				err := v.fill(iv, c.fixed, c.generator)
				if want == "" {
					if pkcs11.RVOf(err) != pkcs11.CKR_FUNCTION_FAILED {
						t.Errorf("%x: error %v", iv, err)
					}
				} else if err != nil || hex.EncodeToString(iv) != want {
					t.Errorf("%x, error %v, want %s", iv, err, want)
				}
			}
		})
	}
}

// TestVectorsNeverComeTwice, neither with a random start at the very end of its bits nor with fixed bits in between.
func TestVectorsNeverComeTwice(t *testing.T) {
	for _, generator := range []uint{pkcs11.CKG_GENERATE, pkcs11.CKG_GENERATE_RANDOM, pkcs11.CKG_GENERATE_COUNTER, pkcs11.CKG_GENERATE_COUNTER_XOR} {
		for _, fixed := range []uint{0, 3, 8, 20} {
			var v vectors
			seen := map[string]bool{}
			start := bytes.Repeat([]byte{0xa7}, 15)
			for n := range 600 {
				iv := bytes.Clone(start)
				if err := v.fill(iv, fixed, generator); err != nil {
					t.Fatal(err)
				}
				if seen[string(iv)] {
					t.Fatalf("generator %d: %x comes twice", generator, iv)
				}
				seen[string(iv)] = true
				if !bytes.Equal(fixedPart(iv, fixed), fixedPart(start, fixed)) {
					t.Fatalf("generator %d: of %x the first %d bits were changed", generator, iv, fixed)
				}
				if n == 0 && generator == pkcs11.CKG_GENERATE {
					for i := range v.base[3:] {
						v.base[3+i] = 0xff // it is about to go round
					}
				}
			}
		}
	}
	var v, w vectors
	a, b := make([]byte, 12), make([]byte, 12)
	if v.fill(a, 0, pkcs11.CKG_GENERATE) != nil || w.fill(b, 0, pkcs11.CKG_GENERATE) != nil || bytes.Equal(a, b) {
		t.Error("two processes begin alike")
	}
}

func TestVectorsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		length           int
		fixed, generator uint
	}{
		{12, 0, 5}, {12, 0, 1 << 40}, {12, 97, pkcs11.CKG_GENERATE_COUNTER}, {12, 96, pkcs11.CKG_GENERATE_COUNTER}, {0, 0, pkcs11.CKG_GENERATE_COUNTER},
		{12, 1, pkcs11.CKG_GENERATE_RANDOM}, {11, 0, pkcs11.CKG_GENERATE_RANDOM}, {12, 41, pkcs11.CKG_GENERATE}, {12, 1<<64 - 1, pkcs11.CKG_GENERATE_COUNTER_XOR},
	} {
		var v vectors
		if err := v.fill(make([]byte, c.length), c.fixed, c.generator); pkcs11.RVOf(err) != pkcs11.CKR_MECHANISM_PARAM_INVALID {
			t.Errorf("%+v: error %v", c, err)
		}
	}
	// After the first, only the like.
	var v vectors
	iv := []byte("twelve bytes")
	if err := v.fill(bytes.Clone(iv), 32, pkcs11.CKG_GENERATE_COUNTER_XOR); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		iv               string
		fixed, generator uint
		want             pkcs11.RV
	}{
		{"twelve bytes", 32, pkcs11.CKG_GENERATE_COUNTER_XOR, pkcs11.CKR_OK},
		{"TWELve bytes", 32, pkcs11.CKG_GENERATE_COUNTER_XOR, pkcs11.CKR_OK}, // only the fixed bits are others
		{"twelve Bytes", 32, pkcs11.CKG_GENERATE_COUNTER_XOR, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"twelve bytes", 31, pkcs11.CKG_GENERATE_COUNTER_XOR, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"twelve bytes", 32, pkcs11.CKG_GENERATE_COUNTER, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"thirteen byte", 32, pkcs11.CKG_GENERATE_COUNTER_XOR, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{"its own", 0, pkcs11.CKG_NO_GENERATE, pkcs11.CKR_OK},
	} {
		if err := v.fill([]byte(c.iv), c.fixed, c.generator); pkcs11.RVOf(err) != c.want {
			t.Errorf("%+v: error %v", c, err)
		}
	}
	v = vectors{}
	if err := v.fill(make([]byte, 12), 0, pkcs11.CKG_GENERATE_RANDOM); err != nil {
		t.Fatal(err)
	}
	v.next = mostRandom
	if err := v.fill(make([]byte, 12), 0, pkcs11.CKG_GENERATE_RANDOM); pkcs11.RVOf(err) != pkcs11.CKR_FUNCTION_FAILED {
		t.Errorf("random vectors without end: error %v", err)
	}
}
