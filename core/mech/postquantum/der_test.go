package postquantum

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/base64"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

var counting = func() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// The seed of RFC 9881, appendix C, in its first form for ML-DSA-44.
const seedOnly = "MDQCAQAwCwYJYIZIAWUDBAMRBCKAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

func TestSeedAsInTheRFC(t *testing.T) {
	want, err := base64.StdEncoding.DecodeString(seedOnly)
	if err != nil {
		t.Fatal(err)
	}
	got, err := MarshalSeeded(NIST(3, 17), Private{Seed: counting, Value: []byte("not written")})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v", got, err)
	}
	oid, key, err := ParseSeeded(want)
	if err != nil || !oid.Equal(NIST(3, 17)) || !bytes.Equal(key.Seed, counting) || key.Value != nil {
		t.Error(oid, err)
	}
}

// info is a OneAsymmetricKey by encoding/asn1, another encoder than the one that is tested.
type info struct {
	Version    int
	Algorithm  struct{ OID asn1.ObjectIdentifier }
	Key        []byte
	Attributes []asn1.RawValue `asn1:"optional,tag:0,set"`
	Public     asn1.BitString  `asn1:"optional,tag:1"`
}

func der(t *testing.T, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestThreeFormsAndWhatComesWithThem(t *testing.T) {
	value := bytes.Repeat([]byte{7}, 100)
	forms := map[string]struct {
		inner       []byte
		seed, value bool
	}{
		"seed":     {der(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: counting}), true, false},
		"expanded": {der(t, value), false, true},
		"both":     {der(t, struct{ Seed, Value []byte }{counting, value}), true, true},
	}
	for name, f := range forms {
		plain := info{Algorithm: struct{ OID asn1.ObjectIdentifier }{NIST(4, 2)}, Key: f.inner}
		attributes := plain
		attributes.Attributes = []asn1.RawValue{{Tag: asn1.TagNull}}
		public := attributes
		public.Version, public.Public = 1, asn1.BitString{Bytes: []byte{1}, BitLength: 8}
		for i, k := range []info{plain, attributes, public} {
			whole := der(t, k)
			oid, key, err := ParseSeeded(whole)
			if err != nil || !oid.Equal(NIST(4, 2)) || (key.Seed != nil) != f.seed || (key.Value != nil) != f.value ||
				f.seed && !bytes.Equal(key.Seed, counting) || f.value && !bytes.Equal(key.Value, value) {
				t.Errorf("%s %d: %v %v", name, i, oid, err)
			}
			for cut := range whole {
				if _, _, err := ParseSeeded(whole[:cut]); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
					t.Errorf("%s %d cut to %d bytes: %v", name, i, cut, err)
				}
			}
			if _, _, err := ParseSeeded(append(whole, 0)); err == nil {
				t.Errorf("%s %d with a byte more: accepted", name, i)
			}
		}
		late := plain
		late.Public = public.Public // a public key without the version that has one
		if _, _, err := ParseSeeded(der(t, late)); err == nil {
			t.Errorf("%s: a public key in version 0", name)
		}
	}
	for name, inner := range map[string][]byte{
		"nothing": nil, "an empty seed": {0x80, 0}, "an empty key": {4, 0}, "an empty pair": {0x30, 0},
		"one of a pair": der(t, struct{ Seed []byte }{counting}), "three": der(t, struct{ A, B, C []byte }{counting, value, value}),
		"a number": der(t, 5), "two keys": append(der(t, value), der(t, value)...),
	} {
		k := info{Algorithm: struct{ OID asn1.ObjectIdentifier }{NIST(4, 2)}, Key: inner}
		if _, _, err := ParseSeeded(der(t, k)); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBareKeys(t *testing.T) {
	got, err := MarshalBare(NIST(3, 20), counting)
	if err != nil || !bytes.Equal(got, der(t, info{Algorithm: struct{ OID asn1.ObjectIdentifier }{NIST(3, 20)}, Key: counting})) {
		t.Errorf("%x, %v", got, err)
	}
	oid, value, err := ParseBare(got)
	if err != nil || !oid.Equal(NIST(3, 20)) || !bytes.Equal(value, counting) {
		t.Error(oid, err)
	}
	public, err := PublicInfo(NIST(3, 20), counting)
	if err != nil {
		t.Fatal(err)
	}
	oid, value, ok := ParsePublicInfo(public)
	if !ok || !oid.Equal(NIST(3, 20)) || !bytes.Equal(value, counting) {
		t.Error(oid, ok)
	}
	for range 2000 {
		wild := bytes.Clone(got)
		var at [2]byte
		rand.Read(at[:])
		wild[int(at[0])%len(wild)] ^= at[1]
		ParseBare(wild)       //nolint:errcheck // only a panic counts
		ParseSeeded(wild)     //nolint:errcheck // only a panic counts
		ParsePublicInfo(wild) // only a panic counts
	}
}

// The identifiers of FIPS 204, 5.4.1, as encoding/asn1 writes them; the lengths of the two SHAKEs.
func TestPreHashes(t *testing.T) {
	arcs := map[string]int{"SHA2-256": 1, "SHA2-384": 2, "SHA2-512": 3, "SHA2-224": 4, "SHA3-224": 7, "SHA3-256": 8, "SHA3-384": 9, "SHA3-512": 10,
		"SHAKE-128": 11, "SHAKE-256": 12}
	for _, h := range PreHashes {
		if want := der(t, NIST(2, arcs[h.Name])); !bytes.Equal(h.OID(), want) {
			t.Errorf("%s: %x, want %x", h.Name, h.OID(), want)
		}
		state := h.New()
		state.Write([]byte("a"))
		one := state.Sum([]byte("x"))
		if two := state.Sum([]byte("x")); !bytes.Equal(one, two) || len(one) != 1+h.Size() {
			t.Errorf("%s: summing changes the state", h.Name)
		}
		state.Write([]byte("b"))
		whole := h.New()
		whole.Write([]byte("ab"))
		if !bytes.Equal(state.Sum(nil), whole.Sum(nil)) {
			t.Errorf("%s: parts are not the whole", h.Name)
		}
	}
	if PreHashes[8].Size() != 32 || PreHashes[9].Size() != 64 {
		t.Error("the SHAKEs have other lengths")
	}
	if got := (Context{Bytes: []byte("c")}).Prefix(true); !bytes.Equal(got, []byte{1, 1, 'c'}) {
		t.Errorf("%x", got)
	}
}
