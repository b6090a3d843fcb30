package mldsa

import (
	"bytes"
	"fmt"
	"slices"
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

func (s *set) template() pkcs11.Template {
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s.id)}
}

func privateKeyOf(values pkcs11.Template) mech.Key {
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_ML_DSA, values)
}

func publicKeyOf(values pkcs11.Template) mech.Key {
	return mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_ML_DSA, values)
}

func newPair(t testing.TB, s *set) (pub, priv pkcs11.Template) {
	t.Helper()
	pub, priv, err := keys.Generate(nil, s.template(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pub, priv
}

// without returns the template but for one attribute.
func without(t pkcs11.Template, a pkcs11.AttributeType) pkcs11.Template {
	return slices.DeleteFunc(slices.Clone(t), func(x pkcs11.Attribute) bool { return x.Type == a })
}

func signWith(t testing.TB, m pkcs11.MechanismType, k mech.Key, param any, data []byte) []byte {
	t.Helper()
	s, err := row(t, m).Sign(k, param)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Finish(nil, data)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func verifyWith(t testing.TB, m pkcs11.MechanismType, k mech.Key, param any, data, sig []byte) error {
	t.Helper()
	v, err := row(t, m).Verify(k, param)
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(data, sig)
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		for j, s := range sets {
			// A hashing row runs with the smallest set; the hash does not know of it.
			if m.Type.ParamKind() == pkcs11.ParamSignContext && m.Type != pkcs11.CKM_ML_DSA && j != 0 {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				pub, priv := newPair(t, s)
				c := mechtest.Case{Row: m, Key: privateKeyOf(priv), Public: publicKeyOf(pub), Costly: true, FixedSize: true, Lens: []int{0, 300}}
				deterministic := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: make([]byte, 255)}
				switch m.Type {
				case pkcs11.CKM_ML_DSA_KEY_PAIR_GEN:
					c.Key, c.Public, c.Templates, c.PublicPart = nil, nil, []pkcs11.Template{nil}, []pkcs11.Template{s.template()}
				case pkcs11.CKM_HASH_ML_DSA:
					c.Lens, c.Takes = []int{0, 28, 32, 33}, func(n int) bool { return n == 32 }
					c.Params = []any{
						&pkcs11.HashSignContextParams{Hash: pkcs11.CKM_SHA256, Hedge: pkcs11.CKH_HEDGE_REQUIRED},
						&pkcs11.HashSignContextParams{Hash: pkcs11.CKM_SHA3_256, Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: []byte("context")},
					}
				default:
					c.Params = []any{nil, &pkcs11.SignContextParams{Hedge: pkcs11.CKH_HEDGE_REQUIRED, Context: []byte("context")}, deterministic}
					if j > 0 {
						c.Params = c.Params[:1]
					}
				}
				mechtest.Run(t, c)
			})
		}
	}
}

func TestContextsAndVariants(t *testing.T) {
	pub, priv := newPair(t, sets[0])
	data := []byte("data")
	plain := signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(priv), nil, data)
	for _, p := range []any{&pkcs11.SignContextParams{}, &pkcs11.SignContextParams{Hedge: 99}} {
		if err := verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), p, data, plain); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	other := &pkcs11.SignContextParams{Context: []byte{0}}
	wantRV(t, verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), other, data, plain), pkcs11.CKR_SIGNATURE_INVALID)
	for _, p := range []*pkcs11.SignContextParams{{Hedge: 3}, {Context: make([]byte, 256)}} {
		_, err := signMessage(privateKeyOf(priv), p)
		wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	}
	again := func(h pkcs11.HedgeType) bool {
		p := &pkcs11.SignContextParams{Hedge: h}
		return bytes.Equal(signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(priv), p, data), signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(priv), p, data))
	}
	if again(pkcs11.CKH_HEDGE_PREFERRED) || again(pkcs11.CKH_HEDGE_REQUIRED) || !again(pkcs11.CKH_DETERMINISTIC_REQUIRED) {
		t.Error("the hedge variant is not obeyed")
	}
	if _, _, err := postquantum.HashedContextOf(&pkcs11.HashSignContextParams{Hash: pkcs11.CKM_SHA_1}, true); pkcs11.RVOf(err) != pkcs11.CKR_MECHANISM_PARAM_INVALID {
		t.Error("SHA-1 before the signature:", err)
	}
}

// A digest that was made outside gives the signature that the hashing mechanism gives.
func TestHashingAndDigestAgree(t *testing.T) {
	for _, h := range postquantum.PreHashes {
		pub, priv := newPair(t, sets[0])
		p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: []byte("c")}
		data := bytes.Repeat([]byte("data"), 100)
		sig := signWith(t, h.MLDSA, privateKeyOf(priv), p, data)
		wantRV(t, verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), p, data, sig), pkcs11.CKR_SIGNATURE_INVALID)
		if h.Digest == 0 {
			continue
		}
		digest := h.Hash().Sum(data)
		q := &pkcs11.HashSignContextParams{Hedge: p.Hedge, Context: p.Context, Hash: h.Digest}
		if !bytes.Equal(sig, signWith(t, pkcs11.CKM_HASH_ML_DSA, privateKeyOf(priv), q, digest)) {
			t.Errorf("%s: another signature", h.Name)
		}
		if err := verifyWith(t, pkcs11.CKM_HASH_ML_DSA, publicKeyOf(pub), q, digest, sig); err != nil {
			t.Errorf("%s: %v", h.Name, err)
		}
	}
}

// The three forms in which a private key may come.
func TestPrivateKeyForms(t *testing.T) {
	for _, s := range sets {
		pub, priv := newPair(t, s)
		seedOnly, valueOnly := without(priv, pkcs11.CKA_VALUE), without(priv, pkcs11.CKA_SEED)
		info, err := keyRow.PublicKeyInfo(pkcs11.CKO_PUBLIC_KEY, pub)
		if err != nil {
			t.Fatal(err)
		}
		for name, form := range map[string]pkcs11.Template{"both": priv, "seed": seedOnly, "expanded": valueOnly} {
			add, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, form)
			if err != nil {
				t.Fatalf("%s, %s: %v", s.name, name, err)
			}
			if got := append(add, form...); !bytes.Equal(got.Bytes(pkcs11.CKA_VALUE), priv.Bytes(pkcs11.CKA_VALUE)) {
				t.Errorf("%s, %s: another CKA_VALUE", s.name, name)
			}
			of, err := keyRow.PublicKeyInfo(pkcs11.CKO_PRIVATE_KEY, form)
			if err != nil || !bytes.Equal(of, info) {
				t.Errorf("%s, %s: another public key, %v", s.name, name, err)
			}
			sig := signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(form), nil, []byte("data"))
			if err := verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), nil, []byte("data"), sig); err != nil {
				t.Errorf("%s, %s: %v", s.name, name, err)
			}
			op, err := signMessage(privateKeyOf(form), nil)
			if err != nil {
				t.Fatal(err)
			}
			first := op.Update([]byte("da"))
			if sig, err = op.Finish(nil, []byte("ta")); first != nil || err != nil {
				t.Fatalf("%s, %s, in parts: %v, %v", s.name, name, first, err)
			}
			if err := verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), nil, []byte("data"), sig); err != nil {
				t.Errorf("%s, %s, in parts: %v", s.name, name, err)
			}
			der, err := keyRow.MarshalPKCS8(privateKeyOf(form))
			if err != nil {
				t.Fatal(err)
			}
			back, err := keyRow.ParsePKCS8(der)
			if err != nil || !bytes.Equal(back.Bytes(pkcs11.CKA_VALUE), priv.Bytes(pkcs11.CKA_VALUE)) ||
				!bytes.Equal(back.Bytes(pkcs11.CKA_SEED), form.Bytes(pkcs11.CKA_SEED)) {
				t.Errorf("%s, %s: another key comes back, %v", s.name, name, err)
			}
		}
		_, err = row(t, pkcs11.CKM_HASH_ML_DSA_SHA256).Sign(privateKeyOf(valueOnly), nil)
		wantRV(t, err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
		_, err = signDigest(privateKeyOf(valueOnly), &pkcs11.HashSignContextParams{Hash: pkcs11.CKM_SHA256})
		wantRV(t, err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	}
}

// What is no key is refused, bit by bit.
func TestExpandedKeysAreChecked(t *testing.T) {
	s := sets[0]
	_, priv := newPair(t, s)
	value := priv.Bytes(pkcs11.CKA_VALUE)
	// One bit of rho, of tr, of s1, of s2 and some of t0. K, which only makes signatures unpredictable, can be any string.
	for _, at := range []int{0, 31, 64, 127, 128, 600, 900, 1000, 1100, 1500, 2000, 2400, len(value) - 1} {
		bad := bytes.Clone(value)
		bad[at] ^= 0x80
		_, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), pkcs11.Attr(pkcs11.CKA_VALUE, bad)))
		if err == nil {
			t.Errorf("byte %d changed: accepted", at)
		}
		_, err = keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), priv[1], pkcs11.Attr(pkcs11.CKA_VALUE, bad)))
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
	}
	for _, n := range []int{0, 1, 32, len(value) - 1, len(value) + 1} {
		_, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, n))))
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	}
	_, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), pkcs11.Attr(pkcs11.CKA_SEED, make([]byte, 31))))
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	_, err = keyRow.Check(pkcs11.CKO_PUBLIC_KEY, append(s.template(), pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 5))))
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	_, _, err = keys.Generate(nil, nil, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	_, _, err = keys.Generate(nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, uint(9))}, nil)
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
}

func TestRowsRefuseOtherKeys(t *testing.T) {
	pub, priv := newPair(t, sets[0])
	if _, err := signMessage(publicKeyOf(pub), nil); err == nil {
		t.Error("a public key signs")
	}
	key := privateKeyOf(priv)
	if _, err := privateOf(key); err != nil {
		t.Fatal(err)
	}
	_, err := verifyMessage(key, nil)
	wantRV(t, err, pkcs11.CKR_KEY_TYPE_INCONSISTENT)
}

func BenchmarkVerify(b *testing.B) {
	for _, s := range sets {
		pub, priv := newPair(b, s)
		sig := signWith(b, pkcs11.CKM_ML_DSA, privateKeyOf(priv), nil, []byte("data"))
		key := publicKeyOf(pub)
		b.Run(fmt.Sprint(s.name), func(b *testing.B) {
			for b.Loop() {
				if err := verifyWith(b, pkcs11.CKM_ML_DSA, key, nil, []byte("data"), sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
