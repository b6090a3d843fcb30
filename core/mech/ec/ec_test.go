package ec

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

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

var generators = map[pkcs11.KeyType]pkcs11.MechanismType{
	pkcs11.CKK_EC:            pkcs11.CKM_EC_KEY_PAIR_GEN,
	pkcs11.CKK_EC_EDWARDS:    pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN,
	pkcs11.CKK_EC_MONTGOMERY: pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
}

func (c *curve) publicTemplate() pkcs11.Template {
	return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params())}
}

// newPair generates a key through the row.
func newPair(t testing.TB, c *curve) (private, public mech.Key, priv, pub pkcs11.Template) {
	t.Helper()
	pub, priv, err := row(t, generators[c.keyType]).GeneratePair(nil, c.publicTemplate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.keyType, priv), mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.keyType, pub), priv, pub
}

// peerPoint is another party's bare point.
func peerPoint(t testing.TB, c *curve) []byte {
	t.Helper()
	_, _, _, pub := newPair(t, c)
	bare, err := c.barePoint(pub.Bytes(pkcs11.CKA_EC_POINT))
	if err != nil {
		t.Fatal(err)
	}
	return bare
}

func kdfs() (all []pkcs11.KDFType) {
	for _, h := range hashes.All {
		if h.KDF != 0 {
			all = append(all, h.KDF)
		}
		if h.KDFSP800 != 0 {
			all = append(all, h.KDFSP800)
		}
	}
	return all
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		for j, c := range curves {
			// A hashing row runs on the fastest curve; TestECDSAVectors has all hashes on all curves. The curves of package
			// short run the same code.
			slow := c.arith == &shortArithmetic && c.names[0] != "brainpoolP160r1" && m.GeneratePair == nil
			if !slices.Contains(m.KeyTypes, c.keyType) || m.Hash != 0 && j != 1 || slow {
				continue
			}
			t.Run(c.names[0], func(t *testing.T) {
				private, public, _, _ := newPair(t, c)
				k := mechtest.Case{Row: m, Key: private, Public: public, Costly: true, Lens: []int{0, 1, 5, 16, 28, 300}}
				switch {
				case m.GeneratePair != nil:
					k.Key, k.Public = nil, nil
					k.Templates = []pkcs11.Template{nil}
					k.PublicPart = []pkcs11.Template{c.publicTemplate()}
				case m.Derive != nil:
					peer := peerPoint(t, c)
					k.Params = []any{&pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer}}
					for _, kdf := range []pkcs11.KDFType{pkcs11.CKD_SHA256_KDF, pkcs11.CKD_SHA512_KDF_SP800} { // all: TestBothSidesAgree
						k.Params = append(k.Params, &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: peer, SharedData: []byte("shared")})
						k.KEMParams = append(k.KEMParams, &pkcs11.ECDH1DeriveParams{KDF: kdf, SharedData: []byte("shared")})
					}
					k.KEMParams = append(k.KEMParams, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL})
				case m.Wrap != nil:
					k.Authentic, k.Lens = true, []int{1, 16, 33, 200}
					k.Params = []any{
						&pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 128, KDF: pkcs11.CKD_SHA1_KDF},
						&pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 256, KDF: pkcs11.CKD_SHA256_KDF_SP800, SharedData: []byte("shared")},
					}
				case m.Type == pkcs11.CKM_ECDSA:
					k.Lens = []int{0, 20, 400}
					k.Takes = func(n int) bool { return n > 0 }
				case m.Type == pkcs11.CKM_EDDSA:
					k.FixedSize = true
					k.Params = []any{
						nil, &pkcs11.EdDSAParams{}, &pkcs11.EdDSAParams{PhFlag: true},
						&pkcs11.EdDSAParams{ContextData: []byte("context")}, &pkcs11.EdDSAParams{PhFlag: true, ContextData: make([]byte, 255)},
					}
				}
				mechtest.Run(t, k)
			})
		}
	}
}

// A parameter of another mechanism and the extremes of its own, beyond what the battery tries.
func TestHostileParameters(t *testing.T) {
	c := curves[1]
	private, _, _, _ := newPair(t, c)
	peer := peerPoint(t, c)
	for _, p := range []any{
		&pkcs11.ECDH1DeriveParams{}, &pkcs11.ECDH1DeriveParams{KDF: ^pkcs11.KDFType(0), PublicData: peer},
		&pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL}, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer, SharedData: []byte{1}},
		&pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: []byte{0}}, // infinity
		&pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: append([]byte{4}, make([]byte, 64)...)},
		&pkcs11.EdDSAParams{}, *(&pkcs11.ECDH1DeriveParams{}),
	} {
		_, err := derive(private, p, 16)
		wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	}
	_, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_SHA256_KDF, PublicData: peer}, 0)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	_, err = derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_SHA256_KDF, PublicData: peer}, -1)
	wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	ed, _, _, _ := newPair(t, curves[4])
	_, err = eddsaSign(ed, &pkcs11.EdDSAParams{ContextData: make([]byte, 256)})
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
}

// The wrapped key is what the documentation says: a point, and AES-KWP under what that point and the key agree on.
func TestAESWrapIsMadeOfItsParts(t *testing.T) {
	for _, made := range []struct {
		m      pkcs11.MechanismType
		c      *curve
		before []byte // what stands before the point
	}{
		{pkcs11.CKM_ECDH_AES_KEY_WRAP, named(t, "secp256r1"), nil},
		{pkcs11.CKM_ECDH_AES_KEY_WRAP, named(t, "secp384r1"), nil},
		{pkcs11.CKM_ECDH_AES_KEY_WRAP, named(t, "secp256k1"), nil},
		{pkcs11.CKM_ECDH_AES_KEY_WRAP, named(t, "brainpoolP384r1"), nil},
		{pkcs11.CKM_ECDH_COF_AES_KEY_WRAP, named(t, "secp256r1"), []byte{4, 65}},
		{pkcs11.CKM_ECDH_COF_AES_KEY_WRAP, named(t, "secp521r1"), []byte{4, 0x81, 133}},
		{pkcs11.CKM_ECDH_X_AES_KEY_WRAP, named(t, "curve25519"), nil},
		{pkcs11.CKM_ECDH_X_AES_KEY_WRAP, named(t, "curve448"), nil},
	} {
		m, c := row(t, made.m), made.c
		private, public, _, _ := newPair(t, c)
		p := &pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 192, KDF: pkcs11.CKD_SHA384_KDF, SharedData: []byte("shared")}
		key := []byte("the key that is wrapped")
		whole, err := m.Wrap(public, p, key)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, boxed := bytes.CutPrefix(whole, made.before)
		if !boxed {
			t.Fatalf("%v, %s: the point is %x...", m.Type, c.names[0], whole[:4])
		}
		kek, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: p.KDF, SharedData: p.SharedData, PublicData: wrapped[:c.pointLen]}, 24)
		if err != nil {
			t.Fatal(err)
		}
		got, err := aes.UnwrapKWP(kek, wrapped[c.pointLen:])
		if err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", c.names[0], got, err)
		}
		if got, err := m.Unwrap(private, p, whole); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", c.names[0], got, err)
		}
		if _, err := m.Unwrap(private, &pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 192, KDF: p.KDF}, whole); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
			t.Errorf("%s: other shared data: %v", c.names[0], err)
		}
	}
	private, public, _, _ := newPair(t, named(t, "secp256r1"))
	m, p := row(t, pkcs11.CKM_ECDH_AES_KEY_WRAP), &pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 128, KDF: pkcs11.CKD_NULL}
	wrapped, err := m.Wrap(public, p, []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: wrapped[:65]}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := aes.UnwrapKWP(z[:16], wrapped[65:]); err != nil || string(got) != "key" {
		t.Errorf("not the first 128 bits of the shared secret: %q, %v", got, err)
	}
	if got, err := m.Unwrap(private, p, wrapped); err != nil || string(got) != "key" {
		t.Errorf("%q, %v", got, err)
	}
	// 20 bytes are too few for a longer key, without a derivation function.
	private, public, _, _ = newPair(t, named(t, "brainpoolP160r1"))
	p = &pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 256, KDF: pkcs11.CKD_NULL}
	_, err = row(t, pkcs11.CKM_ECDH_AES_KEY_WRAP).Wrap(public, p, []byte("key"))
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = row(t, pkcs11.CKM_ECDH_AES_KEY_WRAP).Unwrap(private, p, make([]byte, 100))
	wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
}

// The numbers that FIPS 186-5, A.2.1 makes, against math/big.
func TestExtraBitsAreReduced(t *testing.T) {
	for _, c := range curves {
		if c.keyType != pkcs11.CKK_EC {
			continue
		}
		n := new(big.Int).SetBytes(c.order())
		less := new(big.Int).Sub(n, big.NewInt(1))
		for _, random := range [][]byte{
			make([]byte, c.scalarLen+8), bytes.Repeat([]byte{255}, c.scalarLen+8), less.FillBytes(make([]byte, c.scalarLen+8)),
			new(big.Int).Sub(less, big.NewInt(1)).FillBytes(make([]byte, c.scalarLen+8)), bytes.Repeat([]byte{0x5a}, c.scalarLen+8),
		} {
			got, err := reduced(random, c.order())
			want := new(big.Int).Mod(new(big.Int).SetBytes(random), less)
			want.Add(want, big.NewInt(1))
			if err != nil || !bytes.Equal(got, want.FillBytes(make([]byte, c.scalarLen))) {
				t.Errorf("%s: %x gives %x, %v, want %x", c.names[0], random, got, err, want)
			}
		}
	}
}

func TestRowsRefuseOtherKeys(t *testing.T) {
	nist, nistPublic, _, _ := newPair(t, curves[1])
	ed, edPublic, _, _ := newPair(t, curves[4])
	x, xPublic, _, _ := newPair(t, curves[5])
	for _, k := range []mech.Key{ed, x, nistPublic} {
		if _, err := privateOf(k); k != nistPublic && err != nil {
			t.Fatal(err)
		}
		_, err := ecdsaSign(nil)(k, nil)
		if err == nil {
			t.Error("ECDSA signs with another key")
		}
	}
	for _, k := range []mech.Key{edPublic, xPublic, nist} {
		if _, err := ecdsaVerify(nil)(k, nil); err == nil {
			t.Error("ECDSA verifies with another key")
		}
	}
	for _, k := range []mech.Key{nist, x, edPublic} {
		if _, err := eddsaSign(k, nil); err == nil {
			t.Error("EdDSA signs with another key")
		}
	}
	if _, err := eddsaVerify(nistPublic, nil); err == nil {
		t.Error("EdDSA verifies with another key")
	}
	p := &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: make([]byte, 32)}
	if _, err := derive(ed, p, 0); err == nil {
		t.Error("ECDH with an Edwards key")
	}
	other := mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA, nil)
	_, err := privateOf(other)
	wantRV(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
}

// SunPKCS11 sends r and s without leading zeros, both of the longer one's length.
func TestECDSATakesShortSignatures(t *testing.T) {
	c := curves[3]
	private, public, _, _ := newPair(t, c)
	digest := bytes.Repeat([]byte{9}, 32)
	check := func(sig []byte, want pkcs11.RV) {
		t.Helper()
		v, err := ecdsaVerify(nil)(public, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantRV(t, v.Verify(digest, sig), want)
	}
	for {
		s, err := ecdsaSign(nil)(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Finish(nil, digest)
		if err != nil || len(sig) != 132 {
			t.Fatal(len(sig), err)
		}
		check(sig, pkcs11.CKR_OK)
		check(sig[:131], pkcs11.CKR_SIGNATURE_LEN_RANGE)
		check(nil, pkcs11.CKR_SIGNATURE_LEN_RANGE)
		check(append(sig[:132:132], 0, 0), pkcs11.CKR_SIGNATURE_LEN_RANGE)
		check(make([]byte, 132), pkcs11.CKR_SIGNATURE_INVALID)
		// r, s + n is the same number modulo the order, but no signature.
		n := c.nist.Params().N
		big2 := new(big.Int).Add(new(big.Int).SetBytes(sig[66:]), n)
		if big2.BitLen() <= 66*8 {
			check(append(sig[:66:66], big2.FillBytes(make([]byte, 66))...), pkcs11.CKR_SIGNATURE_INVALID)
		}
		if sig[0] == 0 && sig[66] == 0 { // one in four: the order has 521 bits
			check(slices.Concat(sig[1:66], sig[67:]), pkcs11.CKR_OK)
			return
		}
	}
}

func TestECDSATruncatesLongData(t *testing.T) {
	private, public, _, _ := newPair(t, curves[1])
	long := bytes.Repeat([]byte{0xa5}, 64)
	s, _ := ecdsaSign(nil)(private, nil)
	sig, err := s.Finish(nil, long)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := ecdsaVerify(nil)(public, nil)
	if err := v.Verify(long[:32], sig); err != nil {
		t.Errorf("64 bytes are not signed like their first 32: %v", err)
	}
	v, _ = ecdsaVerify(nil)(public, nil)
	wantRV(t, v.Verify(nil, sig), pkcs11.CKR_DATA_LEN_RANGE)
}

// The standard keeps the last bytes of a shared secret that is longer than wanted.
func TestPlainECDHKeepsTheLastBytes(t *testing.T) {
	for _, c := range []*curve{curves[0], curves[1], curves[5]} {
		private, _, _, _ := newPair(t, c)
		p := &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peerPoint(t, c)}
		z, err := derive(private, p, 0)
		if err != nil || len(z) != c.scalarLen {
			t.Fatal(len(z), err)
		}
		short, err := derive(private, p, 16)
		if err != nil || !bytes.Equal(short, z[len(z)-16:]) {
			t.Errorf("%s: %v", c.names[0], err)
		}
		_, err = derive(private, p, len(z)+1)
		wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	}
}

func TestBothSidesAgree(t *testing.T) {
	for _, c := range curves {
		if c.keyType == pkcs11.CKK_EC_EDWARDS {
			continue
		}
		a, _, _, aPub := newPair(t, c)
		b, _, _, bPub := newPair(t, c)
		for _, kdf := range append(kdfs(), pkcs11.CKD_NULL) {
			pa := &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: bPub.Bytes(pkcs11.CKA_EC_POINT)}
			bare, _ := c.barePoint(aPub.Bytes(pkcs11.CKA_EC_POINT))
			pb := &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: bare}
			x, errX := derive(a, pa, 20)
			y, errY := derive(b, pb, 20)
			if errX != nil || errY != nil || !bytes.Equal(x, y) {
				t.Errorf("%s, KDF %d: %v %v", c.names[0], kdf, errX, errY)
			}
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, c := range curves[1:5] {
		private, _, _, _ := newPair(b, c)
		b.Run(fmt.Sprint(c.names[0]), func(b *testing.B) {
			for b.Loop() {
				var s mech.Signer
				var err error
				if c.keyType == pkcs11.CKK_EC {
					s, err = ecdsaSign(nil)(private, nil)
				} else {
					s, err = eddsaSign(private, nil)
				}
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Finish(nil, make([]byte, 32)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
