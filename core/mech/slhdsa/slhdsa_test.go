package slhdsa

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
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

func (s *set) with(values ...pkcs11.Attribute) pkcs11.Template {
	return append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id)}, values...)
}

func (s *set) privateKeyOf(value []byte) mech.Key {
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_SLH_DSA, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, value)))
}

func (s *set) publicKeyOf(value []byte) mech.Key {
	return mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_SLH_DSA, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, value)))
}

func setNamed(t testing.TB, name string) *set {
	t.Helper()
	for _, s := range sets {
		if s.alg.String() == name {
			return s
		}
	}
	t.Fatalf("no parameter set %s", name)
	return nil
}

// rowOf is the mechanism of a hash as NIST names it, "-" for none.
func rowOf(t testing.TB, hash string) *mech.Mechanism {
	if hash == "-" {
		return row(t, pkcs11.CKM_SLH_DSA)
	}
	for _, h := range postquantum.PreHashes {
		if h.Name == hash {
			return row(t, h.SLHDSA)
		}
	}
	return nil // PKCS#11 has none: the truncated SHA-512
}

// The battery runs with one of the fast sets: rows do not know of sets.
func TestEveryRowKeepsItsPromises(t *testing.T) {
	s := setNamed(t, "SLH-DSA-SHA2-128f")
	pub, priv, err := generate(nil, s.with(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		c := mechtest.Case{Row: m, Key: s.privateKeyOf(priv.Bytes(pkcs11.CKA_VALUE)), Public: s.publicKeyOf(pub.Bytes(pkcs11.CKA_VALUE)),
			Costly: true, FixedSize: true, Lens: []int{5}}
		switch {
		case m.GeneratePair != nil:
			c.Key, c.Public, c.Templates, c.PublicPart = nil, nil, []pkcs11.Template{nil}, []pkcs11.Template{s.with()}
		case m.Type == pkcs11.CKM_SLH_DSA:
			c.Lens = []int{0, 300}
			c.Params = []any{nil, &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: make([]byte, 255)}}
		}
		mechtest.Run(t, c)
	}
}

func TestKeyVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/keygen.txt", 3) {
		s := setNamed(t, v[0])
		if _, err := check(pkcs11.CKO_PRIVATE_KEY, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, v.Hex(t, 1)))); err != nil {
			t.Errorf("%s: %v", v[0], err)
		}
		private, err := privateOf(s.privateKeyOf(v.Hex(t, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if public, err := private.publicKey.key.MarshalBinary(); err != nil || !bytes.Equal(public, v.Hex(t, 2)) {
			t.Errorf("%s: another public key, %v", v[0], err)
		}
		wrong := v.Hex(t, 1)
		wrong[len(wrong)-1] ^= 1
		_, err = check(pkcs11.CKO_PRIVATE_KEY, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, wrong)))
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
		k := s.privateKeyOf(v.Hex(t, 1))
		der, err := marshalPKCS8(k)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parsePKCS8(der)
		if err != nil || !bytes.Equal(back.Bytes(pkcs11.CKA_VALUE), v.Hex(t, 1)) {
			t.Errorf("%s: another key comes back, %v", v[0], err)
		}
		one, errOne := publicKeyInfo(pkcs11.CKO_PRIVATE_KEY, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, v.Hex(t, 1))))
		two, errTwo := publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, v.Hex(t, 2))))
		if errOne != nil || errTwo != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: the halves say different public keys: %v, %v", v[0], errOne, errTwo)
		}
	}
}

// Each signature is also verified before it leaves.
func TestSignVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/sign.txt", 6) {
		m := rowOf(t, v[1])
		if m == nil {
			continue
		}
		t.Run(v[0]+"/"+v[1], func(t *testing.T) {
			t.Parallel()
			p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: v.Hex(t, 3)}
			op, err := m.Sign(setNamed(t, v[0]).privateKeyOf(v.Hex(t, 2)), p)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := op.Finish(nil, v.Hex(t, 4))
			if sum := sha256.Sum256(sig); err != nil || !bytes.Equal(sum[:], v.Hex(t, 5)) {
				t.Errorf("another signature, %v", err)
			}
		})
	}
}

func TestVerifyVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/verify.txt", 7) {
		m := rowOf(t, v[1])
		if m == nil {
			continue
		}
		op, err := m.Verify(setNamed(t, v[0]).publicKeyOf(v.Hex(t, 2)), &pkcs11.SignContextParams{Context: v.Hex(t, 3)})
		if err != nil {
			t.Fatal(err)
		}
		if err := op.Verify(v.Hex(t, 4), v.Hex(t, 5)); (err == nil) != (v[6] == "valid") {
			t.Errorf("%s, %s: %v, want %s", v[0], v[1], err, v[6])
		}
	}
}

func TestBadKeys(t *testing.T) {
	for _, s := range []*set{sets[0], sets[11]} {
		for _, n := range []int{0, 1, s.publicLen() - 1, s.publicLen() + 1, s.privateLen() + 1} {
			for _, class := range []pkcs11.ObjectClass{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
				_, err := check(class, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, n))))
				wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
				_, err = publicKeyInfo(class, s.with(pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, n))))
				wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
			}
		}
	}
	_, _, err := generate(nil, nil, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	_, _, err = generate(nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, uint(13))}, nil)
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
}
