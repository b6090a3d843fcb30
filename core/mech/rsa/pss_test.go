package rsa

import (
	"bytes"
	"crypto/fips140"
	"crypto/rsa"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestPSSWithEveryHashMGFAndSalt(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_PKCS_PSS)
	for _, h := range usable() {
		for _, g := range mgfs() {
			longest := testBits/8 - h.Size() - 2
			for _, salt := range []int{0, h.Size(), longest} {
				p := &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: g.MGF, SaltLen: uint(salt)}
				digest := h.Sum([]byte("data"))
				sig, err := sign(t, m, private, p, digest)
				if err != nil {
					t.Fatal(err)
				}
				if err := verify(t, m, public, p, digest, sig); err != nil {
					t.Errorf("%v %v %d: %v", h, g, salt, err)
				}
				other := *p
				other.SaltLen = p.SaltLen ^ 1
				if int(other.SaltLen) <= longest {
					wantRV(t, verify(t, m, public, &other, digest, sig), pkcs11.CKR_SIGNATURE_INVALID)
				}
				if g == h && h.ID.Available() {
					pub, _ := publicOf(public)
					err := rsa.VerifyPSS(pub.std, h.ID, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
					if err != nil {
						t.Errorf("%v: crypto/rsa says %v", h, err)
					}
				}
			}
			for _, salt := range []uint{uint(longest) + 1, 1 << 31, math.MaxInt, math.MaxUint - 66, math.MaxUint} {
				_, err := m.Sign(private, &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: g.MGF, SaltLen: salt})
				wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			}
		}
	}
}

// TestPSSLooksAtEveryBit: none of the encoded message is without a meaning, at keys of any number of bits; and it is another one
// each time.
func TestPSSLooksAtEveryBit(t *testing.T) {
	h := hashes.ByMGF(pkcs11.CKG_MGF1_SHA256)
	digest := h.Sum([]byte("data"))
	for _, bits := range []int{1023, 1022, 1017, 1016} { // of the first byte 7, 6, 1 and all 8 belong to it
		s := &pss{hash: h, mgf: h, salt: h.Size(), bits: bits}
		em := s.encode(digest)
		if bytes.Equal(em, s.encode(digest)) {
			t.Errorf("%d bits: the salt is the same twice", bits)
		}
		if !s.matches(digest, bytes.Clone(em)) {
			t.Fatalf("%d bits: its own encoding does not match", bits)
		}
		for i := range 8 * len(em) {
			bad := bytes.Clone(em)
			bad[i/8] ^= 0x80 >> (i % 8)
			if s.matches(digest, bad) {
				t.Errorf("%d bits: bit %d may be another", bits, i)
			}
		}
	}
}

func TestPSSParameterMustNameTheMechanismsHash(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_SHA256_RSA_PKCS_PSS)
	p := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA384, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 32}
	_, err := m.Sign(private, p)
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = m.Verify(public, p)
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	p = &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA384, SaltLen: 3}
	sig, err := sign(t, m, private, p, []byte("data"))
	if err != nil || verify(t, m, public, p, []byte("data"), sig) != nil {
		t.Error("another MGF hash was refused:", err)
	}
}

// TestPSSInFIPSMode runs the tests of this file in a process in FIPS mode, where this one finds itself again.
func TestPSSInFIPSMode(t *testing.T) {
	if fips140.Enabled() {
		testPSSByTheModule(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^TestPSS", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=on")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPSSInFIPSMode") {
		t.Errorf("%v: %s", err, out)
	}
}

// testPSSByTheModule: where crypto/rsa can, it signs and verifies, and the encoding of ours agrees with it.
func testPSSByTheModule(t *testing.T) {
	a, b := testPair()
	private, err := privateOf(a)
	if err != nil {
		t.Fatal(err)
	}
	public, err := publicOf(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range usable() {
		s, err := newPSS(nil, &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: h.MGF, SaltLen: uint(h.Size())}, public)
		if h.MGF == 0 {
			continue
		}
		if err != nil || s.standard() == nil {
			t.Errorf("%v: not by the module, %v", h, err)
			continue
		}
		digest := h.Sum([]byte("data"))
		theirs, err := s.sign(private, digest)
		if err != nil {
			t.Errorf("%v: %v", h, err)
			continue
		}
		if em, err := public.open(theirs); err != nil || !s.matches(digest, em) {
			t.Errorf("%v: what the module has signed is not right: %v", h, err)
		}
		ours, err := private.signRaw(s.encode(digest))
		if err != nil || s.verify(public, digest, ours) != nil {
			t.Errorf("%v: the module does not take what was signed here: %v", h, err)
		}
		ours[len(ours)-1] ^= 1
		wantRV(t, s.verify(public, digest, ours), pkcs11.CKR_SIGNATURE_INVALID)
		wantRV(t, s.verify(public, digest, ours[1:]), pkcs11.CKR_SIGNATURE_LEN_RANGE)
	}
}
