package all

import (
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// keyFlags are the operations that a key goes into or comes out of.
const keyFlags = pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT | pkcs11.CKF_SIGN | pkcs11.CKF_VERIFY | pkcs11.CKF_SIGN_RECOVER |
	pkcs11.CKF_VERIFY_RECOVER | pkcs11.CKF_GENERATE | pkcs11.CKF_GENERATE_KEY_PAIR | pkcs11.CKF_WRAP | pkcs11.CKF_UNWRAP |
	pkcs11.CKF_DERIVE | pkcs11.CKF_ENCAPSULATE | pkcs11.CKF_DECAPSULATE

func TestRegistryIsWhole(t *testing.T) {
	for _, make := range []func() (*mech.Registry, error){Registry, Full} {
		r, err := make()
		if err != nil {
			t.Fatal(err)
		}
		isWhole(t, r)
	}
}

// TestLegacyIsNotOffered by default, and is all that Full has more.
func TestLegacyIsNotOffered(t *testing.T) {
	r, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	full, err := Full()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range full.Types() {
		if offered := r.Mechanism(typ) != nil; offered == full.Mechanism(typ).Legacy {
			t.Errorf("%v: legacy %v, offered %v", typ, full.Mechanism(typ).Legacy, offered)
		}
	}
	for _, typ := range r.Types() {
		if full.Mechanism(typ) == nil {
			t.Errorf("%v is not in the full registry", typ)
		}
	}
	for _, k := range []pkcs11.KeyType{pkcs11.CKK_DES3, pkcs11.CKK_MD5_HMAC} {
		if r.KeyType(k) != nil || full.KeyType(k) == nil {
			t.Errorf("%v: offered %v, known %v", k, r.KeyType(k) != nil, full.KeyType(k) != nil)
		}
	}
}

func isWhole(t *testing.T, r *mech.Registry) {
	t.Helper()
	for _, typ := range r.Types() {
		m := r.Mechanism(typ)
		info := m.Info()
		if info.Flags&(keyFlags|pkcs11.CKF_DIGEST) == 0 {
			t.Errorf("%v can do nothing", typ)
		}
		if (info.Flags&keyFlags != 0) != (len(m.KeyTypes) > 0) {
			t.Errorf("%v: flags %v, key types %v", typ, info.Flags, m.KeyTypes)
		}
		if info.MinKeySize > info.MaxKeySize {
			t.Errorf("%v: key sizes %d to %d", typ, info.MinKeySize, info.MaxKeySize)
		}
		for _, k := range m.KeyTypes {
			if row := r.KeyType(k); row == nil || row.Check == nil {
				t.Errorf("%v works on %v, which nothing checks", typ, k)
			}
		}
		if typ.ParamKind() == pkcs11.ParamUnknown {
			t.Errorf("%v: its parameter is not decoded", typ)
		}
	}
	if !slices.IsSorted(r.Types()) {
		t.Error("mechanisms are out of order")
	}
}

// TestPairs: what can be encrypted can be decrypted, and so on. A public key that only verifies has no other half.
func TestPairs(t *testing.T) {
	r, err := Full()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range r.Types() {
		m := r.Mechanism(typ)
		for _, pair := range []struct {
			name string
			a, b bool
		}{
			{"encrypt, decrypt", m.Encrypt != nil, m.Decrypt != nil},
			{"sign, verify", m.Sign != nil, m.Verify != nil},
			{"sign-recover, verify-recover", m.SignRecover != nil, m.VerifyRecover != nil},
			{"wrap, unwrap", m.Wrap != nil, m.Unwrap != nil},
			{"encapsulate, decapsulate", m.Encapsulate != nil, m.Decapsulate != nil},
			{"encapsulate, the ciphertext's length", m.Encapsulate != nil, m.CiphertextLen != nil},
		} {
			if pair.a != pair.b {
				t.Errorf("%v: %s: only one of them", typ, pair.name)
			}
		}
	}
}
