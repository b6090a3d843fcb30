package rsa

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const testBits = 2048

// testPair is one key for all tests of this package.
var testPair = sync.OnceValues(func() (private, public mech.Key) {
	key, err := rsa.GenerateKey(rand.Reader, testBits)
	if err != nil {
		panic(err)
	}
	return pairOf(privateTemplate(key))
})

func pairOf(t pkcs11.Template) (private, public mech.Key) {
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA, t), mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA, t)
}

func row(t testing.TB, m pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for i := range Family.Mechanisms {
		if Family.Mechanisms[i].Type == m {
			return &Family.Mechanisms[i]
		}
	}
	t.Fatalf("no row for %v", m)
	return nil
}

func wantRV(t testing.TB, err error, want pkcs11.RV) {
	t.Helper()
	if got := pkcs11.RVOf(err); got != want {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func hashByPSS(m pkcs11.MechanismType) *hashes.Hash {
	for _, h := range hashes.All {
		if h.RSAPSS == m {
			return h
		}
	}
	return nil
}

// usable are the hashes that a parameter may name. The others are refused.
func usable() (all []*hashes.Hash) {
	for _, h := range hashes.All {
		if !h.Legacy && h.Keyed == nil {
			all = append(all, h)
		}
	}
	return all
}

func TestParametersNameNoLegacyHash(t *testing.T) {
	private, public := testPair()
	for _, h := range hashes.All {
		if h.Legacy || h.Keyed != nil {
			_, err := row(t, pkcs11.CKM_RSA_PKCS_OAEP).Encrypt(public, &pkcs11.OAEPParams{HashAlg: h.Mechanism, MGF: pkcs11.CKG_MGF1_SHA1, Source: 1})
			wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			_, err = row(t, pkcs11.CKM_RSA_PKCS_PSS).Sign(private, &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: pkcs11.CKG_MGF1_SHA1})
			wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
		}
	}
}

func mgfs() (all []*hashes.Hash) {
	for _, h := range hashes.All {
		if h.MGF != 0 {
			all = append(all, h)
		}
	}
	return all
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	private, public := testPair()
	const size = testBits / 8
	oaep := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA1, Source: pkcs11.CKZ_DATA_SPECIFIED, SourceData: []byte("label")}
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		c := mechtest.Case{
			Row: m, Key: private, Public: public, FixedSize: true, Costly: true,
			Lens: []int{0, 1, 16, 20, 28, 32, 48, 64, 190, 191, 245, 246, 256, 300},
		}
		pkcs1 := func(n int) bool { return n <= size-pkcs1Overhead }
		switch {
		case m.Type == pkcs11.CKM_RSA_X_509:
			continue // its plaintexts come back longer: TestRawRSA
		case m.GeneratePair != nil:
			c.Key, c.Public = nil, nil
			c.Templates = []pkcs11.Template{nil}
			c.PublicPart = []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, uint(testBits))}}
		case m.Type == pkcs11.CKM_RSA_PKCS:
			c.Takes, c.WrapTakes = pkcs1, pkcs1
		case m.Type == pkcs11.CKM_RSA_PKCS_OAEP:
			c.Params, c.Authentic = []any{oaep}, true
			c.Takes = func(n int) bool { return n <= size-2*32-2 }
			c.WrapTakes = c.Takes
		case m.Type == pkcs11.CKM_RSA_AES_KEY_WRAP:
			c.Authentic = true
			c.Params = []any{&pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEP: oaep}, &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 128, OAEP: oaep}}
		case m.Type == pkcs11.CKM_RSA_PKCS_PSS:
			c.Params = []any{&pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA384, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 7}}
			c.Takes = func(n int) bool { return n == 48 }
		case hashByPSS(m.Type) != nil:
			h := hashByPSS(m.Type)
			c.Lens = []int{0, 1, 16, 300}
			c.Params = []any{&pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: h.MGF, SaltLen: uint(h.Size())}}
		default:
			c.Lens = []int{0, 1, 16, 300}
		}
		mechtest.Run(t, c)
	}
}

func TestEveryRowRefusesTheWrongClass(t *testing.T) {
	private, public := testPair()
	param := map[pkcs11.MechanismType]any{
		pkcs11.CKM_RSA_PKCS_OAEP: &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, Source: 1},
	}
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		// Expand both first, so that each slot holds the form that belongs there.
		if _, err := privateOf(private); err != nil {
			t.Fatal(err)
		}
		if _, err := publicOf(public); err != nil {
			t.Fatal(err)
		}
		p := param[m.Type]
		if h := hashByPSS(m.Type); h != nil {
			p = &pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: h.MGF}
		}
		if m.Type == pkcs11.CKM_RSA_PKCS_PSS {
			p = &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1}
		}
		if m.Sign != nil {
			_, err := m.Sign(public, p)
			wantRV(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
		}
		if m.Verify != nil {
			_, err := m.Verify(private, p)
			wantRV(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
		}
		if m.Decrypt != nil {
			_, err := m.Decrypt(public, p)
			wantRV(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
		}
	}
}

func encrypt(t testing.TB, m *mech.Mechanism, k mech.Key, param any, in []byte) ([]byte, error) {
	t.Helper()
	c, err := m.Encrypt(k, param)
	if err != nil {
		return nil, err
	}
	return c.Finish(nil, in)
}

func decrypt(t testing.TB, m *mech.Mechanism, k mech.Key, param any, in []byte) ([]byte, error) {
	t.Helper()
	c, err := m.Decrypt(k, param)
	if err != nil {
		return nil, err
	}
	return c.Finish(nil, in)
}

func TestOAEPWithEveryHashAndMGF(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_PKCS_OAEP)
	for _, h := range usable() {
		for _, g := range mgfs() {
			for _, label := range [][]byte{nil, []byte("x"), make([]byte, 1000)} {
				p := &pkcs11.OAEPParams{HashAlg: h.Mechanism, MGF: g.MGF, Source: pkcs11.CKZ_DATA_SPECIFIED, SourceData: label}
				in := bytes.Repeat([]byte{7}, testBits/8-2*h.Size()-2)
				sealed, err := encrypt(t, m, public, p, in)
				if err != nil {
					t.Fatalf("%v %v: %v", h, g, err)
				}
				out, err := decrypt(t, m, private, p, sealed)
				if err != nil || !bytes.Equal(in, out) {
					t.Errorf("%v %v: %v", h, g, err)
				}
				other := *p
				other.SourceData = append([]byte{1}, label...)
				_, err = decrypt(t, m, private, &other, sealed)
				wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID)
				_, err = encrypt(t, m, public, p, append(in, 0))
				wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
			}
		}
	}
}

func TestOAEPSource(t *testing.T) {
	_, public := testPair()
	m := row(t, pkcs11.CKM_RSA_PKCS_OAEP)
	for _, c := range []struct {
		source pkcs11.OAEPSource
		data   []byte
		want   pkcs11.RV
	}{
		{pkcs11.CKZ_DATA_SPECIFIED, nil, pkcs11.CKR_OK},
		{0, nil, pkcs11.CKR_OK},
		{0, []byte{1}, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{2, nil, pkcs11.CKR_MECHANISM_PARAM_INVALID},
	} {
		p := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, Source: c.source, SourceData: c.data}
		_, err := m.Encrypt(public, p)
		wantRV(t, err, c.want)
	}
}

func sign(t testing.TB, m *mech.Mechanism, k mech.Key, param any, in []byte) ([]byte, error) {
	t.Helper()
	s, err := m.Sign(k, param)
	if err != nil {
		return nil, err
	}
	return s.Finish(nil, in)
}

func verify(t testing.TB, m *mech.Mechanism, k mech.Key, param any, in, sig []byte) error {
	t.Helper()
	v, err := m.Verify(k, param)
	if err != nil {
		return err
	}
	return v.Verify(in, sig)
}

func TestRawRSA(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_X_509)
	pub, _ := publicOf(public)
	for _, n := range []int{0, 1, 2, 100, 255, 256} {
		in := bytes.Repeat([]byte{0x15}, n) // smaller than a modulus, whose first bit is set
		padded := append(make([]byte, 256-n), in...)
		sealed, err := encrypt(t, m, public, nil, in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := decrypt(t, m, private, nil, sealed)
		if err != nil || !bytes.Equal(out, padded) {
			t.Errorf("decrypt %d bytes: %v", n, err)
		}
		wrapped, err := m.Wrap(public, nil, in)
		if err != nil || !bytes.Equal(wrapped, sealed) {
			t.Errorf("wrap %d bytes: %v", n, err)
		}
		if out, err := m.Unwrap(private, nil, wrapped); err != nil || !bytes.Equal(out, padded) {
			t.Errorf("unwrap %d bytes: %v", n, err)
		}
		sig, err := sign(t, m, private, nil, in)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, m, public, nil, in, sig); err != nil {
			t.Errorf("verify %d bytes: %v", n, err)
		}
		wantRV(t, verify(t, m, public, nil, append([]byte{1}, in...), sig), map[bool]pkcs11.RV{
			true: pkcs11.CKR_SIGNATURE_INVALID, false: pkcs11.CKR_DATA_LEN_RANGE}[n < 256])
		wantRV(t, verify(t, m, public, nil, in, sig[1:]), pkcs11.CKR_SIGNATURE_LEN_RANGE)
		sr, _ := m.SignRecover(private, nil)
		vr, _ := m.VerifyRecover(public, nil)
		got, err := sr.Finish(nil, in)
		if err != nil || !bytes.Equal(got, sig) {
			t.Errorf("sign-recover %d bytes: %v", n, err)
		}
		if got, err = vr.Finish(nil, got); err != nil || !bytes.Equal(got, padded) {
			t.Errorf("verify-recover %d bytes: %v", n, err)
		}
	}
	modulus := pub.std.N.Bytes()
	_, err := encrypt(t, m, public, nil, modulus)
	wantRV(t, err, pkcs11.CKR_DATA_INVALID)
	_, err = encrypt(t, m, public, nil, make([]byte, 257))
	wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
	_, err = sign(t, m, private, nil, modulus)
	wantRV(t, err, pkcs11.CKR_DATA_INVALID)
	_, err = decrypt(t, m, private, nil, modulus)
	wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID)
	_, err = decrypt(t, m, private, nil, modulus[1:])
	wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE)
	_, err = m.Unwrap(private, nil, modulus[1:])
	wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
	_, err = m.Wrap(public, nil, make([]byte, 257))
	wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	for _, p := range []any{0, []byte{}, (*pkcs11.OAEPParams)(nil)} {
		_, err = m.Sign(private, p)
		wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
		_, err = m.Decrypt(private, p)
		wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	}
}

// A signature made with a damaged CRT value would give a prime away.
func TestFaultsNeverLeave(t *testing.T) {
	source, public := testPair()
	good, err := privateOf(source)
	if err != nil {
		t.Fatal(err)
	}
	bad := *good
	bad.fast = nil // TestKernelFaultIsADeviceError
	bad.dP = bytes.Clone(good.dP)
	bad.dP[len(bad.dP)-1] ^= 2
	if _, _, err := bad.raw([]byte{5}); pkcs11.RVOf(err) != pkcs11.CKR_DEVICE_ERROR {
		t.Error("the raw operation let a fault through:", err)
	}
	_ = public
}

func TestPKCS1RecoverIsStrict(t *testing.T) {
	private, public := testPair()
	raw, m := row(t, pkcs11.CKM_RSA_X_509), row(t, pkcs11.CKM_RSA_PKCS)
	ff := func(n int) []byte { return bytes.Repeat([]byte{0xff}, n) }
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, em := range map[string][]byte{
		"type 2":        cat([]byte{0, 2}, ff(250), []byte{0, 1, 2, 3}),
		"short padding": cat([]byte{0, 1}, ff(7), make([]byte, 247)),
		"no separator":  cat([]byte{0, 1}, ff(254)),
		"other padding": cat([]byte{0, 1}, ff(20), []byte{0xfe}, ff(20), make([]byte, 213)),
		"nothing":       make([]byte, 256),
	} {
		sig, err := sign(t, raw, private, nil, em)
		if err != nil {
			t.Fatal(err)
		}
		vr, _ := m.VerifyRecover(public, nil)
		if _, err := vr.Finish(nil, sig); pkcs11.RVOf(err) != pkcs11.CKR_SIGNATURE_INVALID {
			t.Errorf("%s: %v", name, err)
		}
		d, err := encrypt(t, raw, public, nil, em)
		if err != nil {
			t.Fatal(err)
		}
		if name != "type 2" {
			_, err = decrypt(t, m, private, nil, d)
			wantRV(t, err, pkcs11.CKR_ENCRYPTED_DATA_INVALID)
			_, err = m.Unwrap(private, nil, d)
			wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
		}
	}
}

func TestShortKeysAndLargeHashes(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, minBits)
	if err != nil {
		t.Fatal(err)
	}
	private, public := pairOf(privateTemplate(key))
	p := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA512, MGF: pkcs11.CKG_MGF1_SHA1, Source: 1}
	_, err = row(t, pkcs11.CKM_RSA_PKCS_OAEP).Encrypt(public, p)
	wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	_, err = row(t, pkcs11.CKM_RSA_PKCS_OAEP).Unwrap(private, p, make([]byte, 128))
	wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	for _, h := range hashes.All {
		if h.RSAPKCS == 0 {
			continue
		}
		sig, err := sign(t, row(t, h.RSAPKCS), private, nil, []byte("data"))
		if err != nil || verify(t, row(t, h.RSAPKCS), public, nil, []byte("data"), sig) != nil {
			t.Errorf("%v: %v", h, err)
		}
	}
}

func TestDigestsMadeElsewhere(t *testing.T) {
	private, public := testPair()
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_SHA256_RSA_PKCS, pkcs11.CKM_SHA256_RSA_PKCS_PSS} {
		var p any
		if m == pkcs11.CKM_SHA256_RSA_PKCS_PSS {
			p = &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 32}
		}
		s, _ := row(t, m).Sign(private, p)
		sig, err := s.(*hashes.Signer).FinishDigest(nil, hashes.ByMechanism(pkcs11.CKM_SHA256).Sum([]byte("data")))
		if err != nil || verify(t, row(t, m), public, p, []byte("data"), sig) != nil {
			t.Errorf("%v: %v", m, err)
		}
		s, _ = row(t, m).Sign(private, p)
		_, err = s.(*hashes.Signer).FinishDigest(nil, make([]byte, 31))
		wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
	}
}

func BenchmarkPrivateOperation(b *testing.B) {
	private, _ := testPair()
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_X_509} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			for b.Loop() {
				if _, err := sign(b, row(b, m), private, nil, make([]byte, 32)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
