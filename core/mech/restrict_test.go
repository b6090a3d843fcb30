package mech_test

import (
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestRestrictLeavesWhatItIsTold of every row: all, none, and each operation alone.
func TestRestrictLeavesWhatItIsTold(t *testing.T) {
	r, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	same := r.Restrict(func(_ pkcs11.MechanismType, _ bool, flags pkcs11.Flags) pkcs11.Flags { return flags })
	if !slices.Equal(same.Types(), r.Types()) {
		t.Error("a policy that leaves all has taken something away")
	}
	for _, typ := range r.Types() {
		if same.Mechanism(typ) != r.Mechanism(typ) {
			t.Errorf("%v is another row", typ)
		}
	}
	none := r.Restrict(func(pkcs11.MechanismType, bool, pkcs11.Flags) pkcs11.Flags { return 0 })
	if len(none.Types()) != 0 || none.Mechanism(pkcs11.CKM_AES_GCM) != nil {
		t.Error("a policy that leaves nothing has left something")
	}
	if none.KeyType(pkcs11.CKK_AES) == nil {
		t.Error("key types are gone with their mechanisms")
	}
	const operations = pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT | pkcs11.CKF_DIGEST | pkcs11.CKF_SIGN | pkcs11.CKF_VERIFY | pkcs11.CKF_SIGN_RECOVER |
		pkcs11.CKF_VERIFY_RECOVER | pkcs11.CKF_GENERATE | pkcs11.CKF_GENERATE_KEY_PAIR | pkcs11.CKF_WRAP | pkcs11.CKF_UNWRAP |
		pkcs11.CKF_DERIVE | pkcs11.CKF_ENCAPSULATE | pkcs11.CKF_DECAPSULATE
	for flag := pkcs11.Flags(1); flag != 0 && flag <= operations; flag <<= 1 {
		if flag&operations == 0 {
			continue
		}
		only := r.Restrict(func(pkcs11.MechanismType, bool, pkcs11.Flags) pkcs11.Flags { return flag })
		for _, typ := range r.Types() {
			had, has := r.Mechanism(typ).Info().Flags&flag != 0, only.Mechanism(typ) != nil
			if had != has {
				t.Errorf("%v: %#x was there %v, is there %v", typ, flag, had, has)
			}
			if has && only.Mechanism(typ).Info().Flags&operations != flag {
				t.Errorf("%v: %#x alone was to stay", typ, flag)
			}
		}
	}
}

// TestRestrictTellsLegacy rows to who decides.
func TestRestrictTellsLegacy(t *testing.T) {
	digest := func(legacy bool, typ pkcs11.MechanismType) mech.Mechanism {
		return mech.Mechanism{Type: typ, Legacy: legacy, GeneratePair: func(any, pkcs11.Template, pkcs11.Template) (a, b pkcs11.Template, err error) { return }}
	}
	r, err := mech.NewRegistry(mech.Family{Mechanisms: []mech.Mechanism{digest(true, 1), digest(false, 2)}})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Restrict(func(_ pkcs11.MechanismType, legacy bool, flags pkcs11.Flags) pkcs11.Flags {
		if legacy {
			return 0
		}
		return flags
	})
	if !slices.Equal(got.Types(), []pkcs11.MechanismType{2}) {
		t.Errorf("%v is left, 2 was expected", got.Types())
	}
}
