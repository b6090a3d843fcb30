package hmac

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func rowOf(t testing.TB, typ pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for i := range Family.Mechanisms {
		if Family.Mechanisms[i].Type == typ {
			return &Family.Mechanisms[i]
		}
	}
	t.Fatalf("no row for %v", typ)
	return nil
}

func TestFamily(t *testing.T) {
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("a key of some length"))
	for _, h := range hashes.All {
		mechtest.Run(t, mechtest.Case{Row: rowOf(t, h.HMAC), Key: k, FixedSize: true})
		mechtest.Run(t, mechtest.Case{Row: rowOf(t, h.HMACGeneral), Key: k, FixedSize: true, Params: []any{
			pkcs11.MACGeneralParams(h.Size()), pkcs11.MACGeneralParams(10), pkcs11.MACGeneralParams(4),
		}})
		mechtest.Run(t, mechtest.Case{Row: rowOf(t, h.KeyGen), Templates: []pkcs11.Template{
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 1)},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, h.Size())},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, generic.MaxBytes)},
		}})
	}
}

func TestVectors(t *testing.T) {
	byName := map[string]*hashes.Hash{}
	for _, h := range hashes.All {
		byName[h.Mechanism.String()] = h
	}
	for _, v := range mechtest.Vectors(t, "testdata/hmac.txt", 4) {
		h := byName["CKM_"+v[0]]
		if h == nil {
			t.Errorf("no hash %s", v[0])
			continue
		}
		value, message, tag := v.Hex(t, 1), v.Hex(t, 2), v.Hex(t, 3)
		for _, typ := range []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET, h.KeyType} {
			row, param := rowOf(t, h.HMACGeneral), any(pkcs11.MACGeneralParams(len(tag)))
			if len(tag) == h.Size() && typ == h.KeyType {
				row, param = rowOf(t, h.HMAC), nil
			}
			k := mechtest.Secret(typ, value)
			s, err := row.Sign(k, param)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Finish(nil, message); err != nil || !bytes.Equal(got, tag) {
				t.Errorf("%v: %x, error %v, want %x", row.Type, got, err, tag)
			}
		}
	}
}

// TestKeysOfAnyLength: shorter than the hash, longer than its block, longer than what is generated.
func TestKeysOfAnyLength(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_SHA256_HMAC)
	for _, n := range []int{1, 8, 13, 14, 31, 64, 65, 1000, 1 << 20} {
		if _, err := row.Sign(mechtest.Secret(pkcs11.CKK_SHA256_HMAC, make([]byte, n)), nil); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := row.Sign(mechtest.Secret(pkcs11.CKK_SHA256_HMAC, nil), nil); pkcs11.RVOf(err) != pkcs11.CKR_KEY_SIZE_RANGE {
		t.Errorf("no key: error %v, want CKR_KEY_SIZE_RANGE", err)
	}
}

func TestRowsAreComplete(t *testing.T) {
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		info := m.Info()
		switch {
		case m.Generate != nil:
			if info.Flags != pkcs11.CKF_GENERATE || len(m.KeyTypes) != 1 {
				t.Errorf("%v: flags %v, key types %v", m.Type, info.Flags, m.KeyTypes)
			}
		case info.Flags != pkcs11.CKF_SIGN|pkcs11.CKF_VERIFY || len(m.KeyTypes) != 2:
			t.Errorf("%v: flags %v, key types %v", m.Type, info.Flags, m.KeyTypes)
		}
	}
}

func BenchmarkSHA256(b *testing.B) {
	row, k := rowOf(b, pkcs11.CKM_SHA256_HMAC), mechtest.Secret(pkcs11.CKK_SHA256_HMAC, make([]byte, 32))
	in, out := make([]byte, 1024), make([]byte, 0, 64)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		op, err := row.Sign(k, nil)
		if err != nil {
			b.Fatal(err)
		}
		if out, err = op.Finish(out[:0], in); err != nil {
			b.Fatal(err)
		}
		op.Close()
	}
}
