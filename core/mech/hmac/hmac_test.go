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

// hmacs are the hashes whose rows are HMACs, and movable those of them whose operations can be moved.
var hmacs, movables = func() (hmacs, movables []*hashes.Hash) {
	for _, h := range hashes.All {
		if h.Keyed != nil {
			continue
		}
		hmacs = append(hmacs, h)
		if hashes.HasState(h.New()) {
			movables = append(movables, h)
		}
	}
	return hmacs, movables
}()

func TestFamily(t *testing.T) {
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("a key of some length"))
	mechtest.Run(t, mechtest.Case{Row: rowOf(t, pkcs11.CKM_SHA512_T_HMAC), Key: k, FixedSize: true, Params: []any{
		pkcs11.MACGeneralParams(256), pkcs11.MACGeneralParams(500), pkcs11.MACGeneralParams(40),
	}})
	mechtest.Run(t, mechtest.Case{Row: rowOf(t, pkcs11.CKM_SHA512_T_KEY_GEN), Templates: []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 64)}}})
	for _, h := range hashes.All {
		mechtest.Run(t, mechtest.Case{Row: rowOf(t, h.HMAC), Key: k, FixedSize: true})
		mechtest.Run(t, mechtest.Case{Row: rowOf(t, h.HMACGeneral), Key: k, FixedSize: true, Params: []any{
			pkcs11.MACGeneralParams(h.Size()), pkcs11.MACGeneralParams(10), pkcs11.MACGeneralParams(4),
		}})
		if h.KeyGen == 0 {
			continue
		}
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

// TestTruncated: SHA-512/224 and /256 are SHA-512/t for their t.
func TestTruncated(t *testing.T) {
	k := mechtest.Secret(pkcs11.CKK_SHA512_T_HMAC, []byte("a key"))
	for bits, typ := range map[pkcs11.MACGeneralParams]pkcs11.MechanismType{224: pkcs11.CKM_SHA512_224_HMAC, 256: pkcs11.CKM_SHA512_256_HMAC} {
		one, err := rowOf(t, pkcs11.CKM_SHA512_T_HMAC).Sign(k, bits)
		if err != nil {
			t.Fatal(err)
		}
		two, err := rowOf(t, typ).Sign(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := one.Finish(nil, []byte("message"))
		if b, _ := two.Finish(nil, []byte("message")); !bytes.Equal(a, b) || len(a) != int(bits)/8 {
			t.Errorf("%d bits: %x and %x", bits, a, b)
		}
	}
}

// TestKeyedBLAKE2b is the hash's own MAC, not an HMAC over it.
func TestKeyedBLAKE2b(t *testing.T) {
	for _, h := range hashes.All {
		if h.Keyed == nil {
			continue
		}
		key, message := []byte("a key"), []byte("message")
		state, err := h.Keyed(key)
		if err != nil {
			t.Fatal(err)
		}
		state.Write(message)
		s, err := rowOf(t, h.HMAC).Sign(mechtest.Secret(h.KeyType, key), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Finish(nil, message); err != nil || !bytes.Equal(got, state.Sum(nil)) {
			t.Errorf("%v: %x, error %v", h, got, err)
		}
		if _, err := rowOf(t, h.HMAC).Sign(mechtest.Secret(h.KeyType, make([]byte, 65)), nil); pkcs11.RVOf(err) != pkcs11.CKR_KEY_SIZE_RANGE {
			t.Errorf("%v: a key of 65 bytes: %v", h, err)
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
	const messages = pkcs11.CKF_MESSAGE_SIGN | pkcs11.CKF_MESSAGE_VERIFY | pkcs11.CKF_MULTI_MESSAGE
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		info := m.Info()
		switch {
		case m.Generate != nil:
			if info.Flags != pkcs11.CKF_GENERATE || len(m.KeyTypes) != 1 {
				t.Errorf("%v: flags %v, key types %v", m.Type, info.Flags, m.KeyTypes)
			}
		case info.Flags&^messages != pkcs11.CKF_SIGN|pkcs11.CKF_VERIFY || len(m.KeyTypes) != 2:
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
