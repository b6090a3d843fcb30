package rsa

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Each operation gives the same with the kernel and without. Without AVX-512 IFMA, in FIPS mode and built with the tag
// purego there is only the one way, which is then compared with itself.
func TestKernelChangesNoResult(t *testing.T) {
	for _, bits := range []int{2048, 2056, 3072, 4096} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			std, err := rsa.GenerateKey(rand.Reader, bits)
			if err != nil {
				t.Fatal(err)
			}
			fast, err := newPrivateKey(privateTemplate(std).Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if want := newFast(std) != nil; (fast.fast != nil) != want || bits == 2056 && want {
				t.Errorf("the kernel does the key: %v, expected %v", fast.fast != nil, want)
			}
			t.Logf("kernel available: %v, does the key: %v", kernel.Available(), fast.fast != nil)
			slow := *fast
			slow.fast = nil
			for _, h := range append([]*hashes.Hash{nil}, hashes.All...) {
				digest := make([]byte, 20)
				if h != nil {
					if h.RSAPKCS == 0 {
						continue
					}
					digest = make([]byte, h.Size())
					if _, ok := digestInfo(h.ID); !ok {
						t.Errorf("%v has no name in a DigestInfo", h)
					}
				}
				rand.Read(digest)
				a, errA := fast.signPKCS1(hashID(h), digest)
				b, errB := slow.signPKCS1(hashID(h), digest)
				if errA != nil || errB != nil || !bytes.Equal(a, b) {
					t.Errorf("%v: %x, %v and %x, %v", h, a, errA, b, errB)
				}
			}
			for _, n := range []int{0, 1, fast.size - pkcs1Overhead} {
				data := bytes.Repeat([]byte{0xa5}, n)
				a, errA := fast.signPKCS1(0, data)
				b, errB := slow.signPKCS1(0, data)
				if errA != nil || errB != nil || !bytes.Equal(a, b) {
					t.Errorf("%d bytes: %x, %v and %x, %v", n, a, errA, b, errB)
				}
			}
			for _, in := range [][]byte{{}, {0}, {1}, make([]byte, fast.size), std.Primes[0].Bytes(), std.D.Bytes(), std.N.Bytes(), bytes.Repeat([]byte{0xff}, fast.size)} {
				a, okA, errA := fast.raw(in)
				b, okB, errB := slow.raw(in)
				if errA != nil || errB != nil || okA != okB || !bytes.Equal(a, b) {
					t.Errorf("in %x: %x, %v, %v and %x, %v, %v", in, a, okA, errA, b, okB, errB)
				}
			}
		})
	}
}

func TestKernelFaultIsADeviceError(t *testing.T) {
	source, _ := testPair()
	good, err := privateOf(source)
	if err != nil {
		t.Fatal(err)
	}
	if good.fast == nil {
		t.Skip("no kernel")
	}
	bad := *good
	numbers := &kernel.Numbers{
		N: good.std.N.Bytes(), E: uint(good.std.E), P: good.std.Primes[0].Bytes(), Q: good.std.Primes[1].Bytes(),
		DP: good.dQ, DQ: good.dQ, QInv: good.std.Precomputed.Qinv.Bytes(),
	}
	if bad.fast, err = kernel.NewKey(numbers); err != nil {
		t.Fatal(err)
	}
	if out, _, err := bad.raw([]byte{5}); pkcs11.RVOf(err) != pkcs11.CKR_DEVICE_ERROR || out != nil {
		t.Error("the raw operation let a fault through:", err)
	}
	if out, err := bad.signPKCS1(0, []byte{5}); pkcs11.RVOf(err) != pkcs11.CKR_DEVICE_ERROR || out != nil {
		t.Error("the signature let a fault through:", err)
	}
}
