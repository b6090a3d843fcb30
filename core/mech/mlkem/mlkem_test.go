package mlkem

import (
	"bytes"
	"crypto/mlkem"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

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
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_ML_KEM, values)
}

func publicKeyOf(values pkcs11.Template) mech.Key {
	return mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_ML_KEM, values)
}

func newPair(t testing.TB, s *set) (pub, priv pkcs11.Template) {
	t.Helper()
	pub, priv, err := keys.Generate(nil, s.template(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pub, priv
}

func without(t pkcs11.Template, a pkcs11.AttributeType) pkcs11.Template {
	return slices.DeleteFunc(slices.Clone(t), func(x pkcs11.Attribute) bool { return x.Type == a })
}

func setNamed(t testing.TB, name string) *set {
	t.Helper()
	for _, s := range sets {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no parameter set %s", name)
	return nil
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	for i := range Family.Mechanisms {
		for _, s := range sets {
			t.Run(s.Name(), func(t *testing.T) {
				pub, priv := newPair(t, s)
				c := mechtest.Case{Row: &Family.Mechanisms[i], Key: privateKeyOf(priv), Public: publicKeyOf(pub), Costly: true}
				if c.Row.GeneratePair != nil {
					c.Key, c.Public, c.Templates, c.PublicPart = nil, nil, []pkcs11.Template{nil}, []pkcs11.Template{s.template()}
				}
				mechtest.Run(t, c)
			})
		}
	}
}

func TestKeyGenVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/keygen.txt", 4) {
		key := append(setNamed(t, v[0]).template(), pkcs11.Attr(pkcs11.CKA_SEED, v.Hex(t, 1)))
		private, err := privateOf(privateKeyOf(key))
		if err != nil {
			t.Fatal(err)
		}
		add, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, key)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range [][]byte{private.PublicValue(), add.Bytes(pkcs11.CKA_VALUE)} {
			if sum := sha256.Sum256(got); !bytes.Equal(sum[:], v.Hex(t, 2+i)) {
				t.Errorf("%s: key %d is another", v[0], i)
			}
		}
	}
}

func TestDecapsulateVectors(t *testing.T) {
	for file, form := range map[string]pkcs11.AttributeType{"decapsulate": pkcs11.CKA_VALUE, "seeds": pkcs11.CKA_SEED} {
		for i, v := range mechtest.Vectors(t, "testdata/"+file+".txt", 4) {
			key := append(setNamed(t, v[0]).template(), pkcs11.Attr(form, v.Hex(t, 1)))
			got, err := decapsulate(privateKeyOf(key), nil, v.Hex(t, 2), 0)
			if want := v.Hex(t, 3); (err != nil) != (len(want) == 0) || !bytes.Equal(got, want) {
				t.Errorf("%s %d, %s: %x, %v", file, i, v[0], got, err)
			}
		}
	}
}

func TestPublicKeysAreChecked(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/public.txt", 2) {
		_, err := keyRow.Check(pkcs11.CKO_PUBLIC_KEY, append(setNamed(t, v[0]).template(), pkcs11.Attr(pkcs11.CKA_VALUE, v.Hex(t, 1))))
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	}
}

// The standard library makes the same keys of a seed, and opens what is made here, as far as it goes.
func TestStandardLibraryAgrees(t *testing.T) {
	for _, s := range sets[1:] {
		pub, priv := newPair(t, s)
		value, ciphertext, err := encapsulate(publicKeyOf(pub), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var encoded, theirs []byte
		if s.id == pkcs11.CKP_ML_KEM_768 {
			key, err := mlkem.NewDecapsulationKey768(priv.Bytes(pkcs11.CKA_SEED))
			if err != nil {
				t.Fatal(err)
			}
			encoded = key.EncapsulationKey().Bytes()
			theirs, _ = key.Decapsulate(ciphertext)
		} else {
			key, err := mlkem.NewDecapsulationKey1024(priv.Bytes(pkcs11.CKA_SEED))
			if err != nil {
				t.Fatal(err)
			}
			encoded = key.EncapsulationKey().Bytes()
			theirs, _ = key.Decapsulate(ciphertext)
		}
		if !bytes.Equal(encoded, pub.Bytes(pkcs11.CKA_VALUE)) || !bytes.Equal(theirs, value) {
			t.Errorf("%s: crypto/mlkem finds another key or secret", s.Name())
		}
	}
}

// The three forms in which a private key may come, and a key in DER.
func TestPrivateKeyForms(t *testing.T) {
	for _, s := range sets {
		pub, priv := newPair(t, s)
		value, ciphertext, err := encapsulate(publicKeyOf(pub), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := keyRow.PublicKeyInfo(pkcs11.CKO_PUBLIC_KEY, pub)
		if err != nil {
			t.Fatal(err)
		}
		for name, form := range map[string]pkcs11.Template{"both": priv, "seed": without(priv, pkcs11.CKA_VALUE), "expanded": without(priv, pkcs11.CKA_SEED)} {
			if got, err := decapsulate(privateKeyOf(form), nil, ciphertext, 20); err != nil || !bytes.Equal(got, value[:20]) {
				t.Errorf("%s, %s: another secret, %v", s.Name(), name, err)
			}
			if of, err := keyRow.PublicKeyInfo(pkcs11.CKO_PRIVATE_KEY, form); err != nil || !bytes.Equal(of, info) {
				t.Errorf("%s, %s: another public key, %v", s.Name(), name, err)
			}
			der, err := keyRow.MarshalPKCS8(privateKeyOf(form))
			if err != nil {
				t.Fatal(err)
			}
			back, err := keyRow.ParsePKCS8(der)
			if err != nil || !bytes.Equal(back.Bytes(pkcs11.CKA_VALUE), priv.Bytes(pkcs11.CKA_VALUE)) ||
				!bytes.Equal(back.Bytes(pkcs11.CKA_SEED), form.Bytes(pkcs11.CKA_SEED)) {
				t.Errorf("%s, %s: another key comes back, %v", s.Name(), name, err)
			}
		}
		whole := priv.Bytes(pkcs11.CKA_VALUE)
		for _, at := range []int{0, 1, 300, len(whole)/2 + 50, len(whole) - 33} { // the last 32 bytes can be any string
			bad := bytes.Clone(whole)
			bad[at] ^= 0xff
			_, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), pkcs11.Attr(pkcs11.CKA_VALUE, bad)))
			wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
			_, err = keyRow.Check(pkcs11.CKO_PRIVATE_KEY, append(s.template(), priv[1], pkcs11.Attr(pkcs11.CKA_VALUE, bad)))
			wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
		}
	}
	_, _, err := keys.Generate(nil, nil, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
}
