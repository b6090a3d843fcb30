package mldsa

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"filippo.io/mldsa"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func setNamed(t testing.TB, name string) *set {
	t.Helper()
	for _, s := range sets {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no parameter set %s", name)
	return nil
}

func wantSum(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if sum := sha256.Sum256(got); !bytes.Equal(sum[:], want) {
		t.Errorf("%s: SHA-256 %x, want %x", what, sum, want)
	}
}

func TestKeyGenVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/keygen.txt", 4) {
		s := setNamed(t, v[0])
		key := append(s.template(), pkcs11.Attr(pkcs11.CKA_SEED, v.Hex(t, 1)))
		private, err := privateOf(privateKeyOf(key))
		if err != nil {
			t.Fatal(err)
		}
		wantSum(t, "public key", private.key.Bytes(), v.Hex(t, 2))
		add, err := keyRow.Check(pkcs11.CKO_PRIVATE_KEY, key)
		if err != nil {
			t.Fatal(err)
		}
		wantSum(t, "private key", add.Bytes(pkcs11.CKA_VALUE), v.Hex(t, 3))
	}
}

// Seeds with one library, expanded keys with the other.
func TestSignVectors(t *testing.T) {
	for file, form := range map[string]pkcs11.AttributeType{"sign": pkcs11.CKA_SEED, "expanded": pkcs11.CKA_VALUE} {
		for i, v := range mechtest.Vectors(t, "testdata/"+file+".txt", 5) {
			key := append(setNamed(t, v[0]).template(), pkcs11.Attr(form, v.Hex(t, 1)))
			p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: v.Hex(t, 2)}
			t.Log(file, i)
			wantSum(t, "signature", signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(key), p, v.Hex(t, 3)), v.Hex(t, 4))
		}
	}
}

func TestVerifyVectors(t *testing.T) {
	for i, v := range mechtest.Vectors(t, "testdata/verify.txt", 6) {
		key := append(setNamed(t, v[0]).template(), pkcs11.Attr(pkcs11.CKA_VALUE, v.Hex(t, 1)))
		p := &pkcs11.SignContextParams{Context: v.Hex(t, 2)}
		err := verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(key), p, v.Hex(t, 3), v.Hex(t, 4))
		if (err == nil) != (v[5] == "valid") {
			t.Errorf("%d, %s: %v, want %s", i, v[0], err, v[5])
		}
	}
}

// The two libraries sign alike, and the verification here says of signatures and of changed ones what they say.
func TestLibrariesAgree(t *testing.T) {
	for _, s := range sets {
		pub, priv := newPair(t, s)
		public, err := publicOf(publicKeyOf(pub))
		if err != nil {
			t.Fatal(err)
		}
		p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: []byte("context")}
		message := make([]byte, 100)
		rand.Read(message)
		one := signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(without(priv, pkcs11.CKA_VALUE)), p, message)
		two := signWith(t, pkcs11.CKM_ML_DSA, privateKeyOf(without(priv, pkcs11.CKA_SEED)), p, message)
		if !bytes.Equal(one, two) {
			t.Errorf("%s: the libraries sign differently", s.name)
		}
		their, err := s.expand.UnmarshalBinaryPublicKey(pub.Bytes(pkcs11.CKA_VALUE))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(one); i += 97 {
			one[i] ^= 1 << (i % 8)
			a := verifyWith(t, pkcs11.CKM_ML_DSA, publicKeyOf(pub), p, message, one) == nil
			b := mldsa.Verify(public.key, message, one, &mldsa.Options{Context: "context"}) == nil
			c := s.expand.Verify(their, message, one, nil)
			if a || b || c {
				t.Errorf("%s, byte %d changed: here %v, the libraries %v and %v", s.name, i, a, b, c)
			}
			one[i] ^= 1 << (i % 8)
		}
		if err := mldsa.Verify(public.key, message, one, &mldsa.Options{Context: "context"}); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
