package policy

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// fake is a Key and a Head.
type fake struct {
	kt pkcs11.KeyType
	t  pkcs11.Template
}

func (k fake) Class() pkcs11.ObjectClass {
	if k.kt == pkcs11.CKK_RSA {
		return pkcs11.CKO_PUBLIC_KEY
	}
	return pkcs11.CKO_SECRET_KEY
}
func (k fake) Type() pkcs11.KeyType                     { return k.kt }
func (k fake) Bytes(t pkcs11.AttributeType) []byte      { return k.t.Bytes(t) }
func (k fake) Uint(t pkcs11.AttributeType) (uint, bool) { return k.t.Uint(t) }
func (k fake) Bool(t pkcs11.AttributeType) bool         { v, _ := k.t.Bool(t); return v }

func of(kt pkcs11.KeyType, attrs ...pkcs11.Attribute) fake { return fake{kt, attrs} }

func want(t *testing.T, what string, rv pkcs11.RV, err error) {
	t.Helper()
	if got := pkcs11.RVOf(err); got != rv {
		t.Errorf("%s: %v, want %v (%v)", what, got, rv, err)
	}
}

func TestMayAsksListsThenLegacyThenApproval(t *testing.T) {
	const both = pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT
	gcm, sha := pkcs11.CKM_AES_GCM, pkcs11.CKM_SHA256
	for _, c := range []struct {
		name   string
		p      Policy
		legacy bool
		want   pkcs11.Flags
	}{
		{"nothing said", Policy{}, false, both},
		{"legacy, not asked for", Policy{}, true, 0},
		{"legacy, asked for", Policy{Legacy: true}, true, both},
		{"allowed", Policy{Allow: []pkcs11.MechanismType{gcm}}, false, both},
		{"not among the allowed", Policy{Allow: []pkcs11.MechanismType{sha}}, false, 0},
		{"denied", Policy{Deny: []pkcs11.MechanismType{gcm}}, false, 0},
		{"allowed and denied", Policy{Allow: []pkcs11.MechanismType{gcm}, Deny: []pkcs11.MechanismType{gcm}}, false, 0},
		{"allowed, but legacy", Policy{Allow: []pkcs11.MechanismType{gcm}}, true, 0},
		{"approved in part", Policy{FIPS: true}, false, pkcs11.CKF_DECRYPT},
		{"legacy is never approved here", Policy{FIPS: true, Deny: []pkcs11.MechanismType{gcm}}, false, 0},
	} {
		if got := c.p.May(gcm, c.legacy, both); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if got := (&Policy{FIPS: true}).May(pkcs11.CKM_MD5, false, pkcs11.CKF_DIGEST); got != 0 {
		t.Error("MD5 is approved")
	}
}

func bytesOf(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBits(t *testing.T) {
	modulus := make([]byte, 256)
	modulus[0] = 0x80
	short := make([]byte, 257) // a leading zero, and a top bit that is not set
	short[1] = 0x7f
	p256 := append([]byte{4}, make([]byte, 64)...)
	p521 := append([]byte{4}, make([]byte, 132)...)
	for _, c := range []struct {
		name string
		k    fake
		want uint
	}{
		{"RSA", of(pkcs11.CKK_RSA, pkcs11.Attr(pkcs11.CKA_MODULUS, modulus)), 2048},
		{"RSA, one bit less", of(pkcs11.CKK_RSA, pkcs11.Attr(pkcs11.CKA_MODULUS, short)), 2047},
		{"DH", of(pkcs11.CKK_DH, pkcs11.Attr(pkcs11.CKA_PRIME, modulus), pkcs11.Attr(pkcs11.CKA_VALUE, []byte{1})), 2048},
		{"P-256, bare point", of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_EC_POINT, p256)), 256},
		{"P-256 in DER", of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_EC_POINT, append([]byte{4, 65}, p256...))), 256},
		{"P-521 in DER", of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_EC_POINT, append([]byte{4, 0x81, 133}, p521...))), 528},
		{"P-256, compressed", of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_EC_POINT, append([]byte{2}, make([]byte, 32)...))), 256},
		{"P-384, private", of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 48))), 384},
		{"Ed25519", of(pkcs11.CKK_EC_EDWARDS, pkcs11.Attr(pkcs11.CKA_EC_POINT, append([]byte{4, 32}, make([]byte, 32)...))), 256},
		{"AES", of(pkcs11.CKK_AES, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 24)), 192},
	} {
		got, ok := Bits(c.k)
		if !ok || got != c.want {
			t.Errorf("%s: %d (%v), want %d", c.name, got, ok, c.want)
		}
	}
	if _, ok := Bits(of(pkcs11.CKK_ML_DSA, pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, 1))); ok {
		t.Error("a parameter set has a number of bits")
	}
}

func TestKeysAreLargeEnough(t *testing.T) {
	small := of(pkcs11.CKK_AES, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16))
	want(t, "no limit", pkcs11.CKR_OK, (&Policy{}).Key(small))
	want(t, "exact", pkcs11.CKR_OK, (&Policy{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_AES: 128}}).Key(small))
	want(t, "too small", pkcs11.CKR_KEY_SIZE_RANGE, (&Policy{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_AES: 129}}).Key(small))
	want(t, "another type", pkcs11.CKR_OK, (&Policy{MinBits: map[pkcs11.KeyType]uint{pkcs11.CKK_RSA: 4096}}).Key(small))

	fips := &Policy{FIPS: true}
	hmac := of(pkcs11.CKK_GENERIC_SECRET, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 13))
	want(t, "104 bits in FIPS mode", pkcs11.CKR_KEY_SIZE_RANGE, fips.Key(hmac))
	want(t, "X25519 in FIPS mode", pkcs11.CKR_CURVE_NOT_SUPPORTED, fips.Key(of(pkcs11.CKK_EC_MONTGOMERY)))
	point := pkcs11.Attr(pkcs11.CKA_EC_POINT, append([]byte{4}, make([]byte, 64)...))
	for oid, rv := range map[string]pkcs11.RV{
		"06082a8648ce3d030107": pkcs11.CKR_OK,                  // P-256
		"06052b8104000a":       pkcs11.CKR_CURVE_NOT_SUPPORTED, // secp256k1
		"":                     pkcs11.CKR_CURVE_NOT_SUPPORTED,
	} {
		want(t, oid, rv, fips.Key(of(pkcs11.CKK_EC, pkcs11.Attr(pkcs11.CKA_EC_PARAMS, bytesOf(t, oid)), point)))
	}
}

// TestRolesAreForLife: no key wraps and decrypts, neither at the same time nor one after the other.
func TestRolesAreForLife(t *testing.T) {
	with := func(wraps, decrypts bool) fake {
		return of(pkcs11.CKK_AES, pkcs11.Attr(pkcs11.CKA_WRAP, wraps), pkcs11.Attr(pkcs11.CKA_DECRYPT, decrypts))
	}
	encrypts := of(pkcs11.CKK_AES, pkcs11.Attr(pkcs11.CKA_ENCRYPT, true))
	p := &Policy{}
	want(t, "wraps", pkcs11.CKR_OK, p.Roles(nil, with(true, false)))
	want(t, "decrypts", pkcs11.CKR_OK, p.Roles(nil, with(false, true)))
	want(t, "both", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, with(true, true)))
	want(t, "wraps, then decrypts", pkcs11.CKR_ATTRIBUTE_READ_ONLY, p.Roles(with(true, false), with(false, true)))
	want(t, "neither, then wraps", pkcs11.CKR_ATTRIBUTE_READ_ONLY, p.Roles(with(false, false), with(true, false)))
	want(t, "wraps, then encrypts", pkcs11.CKR_ATTRIBUTE_READ_ONLY, p.Roles(with(true, false), encrypts))
	want(t, "wraps and encrypts", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, of(pkcs11.CKK_AES,
		pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_ENCRYPT, true))))
	want(t, "encrypts, then decrypts", pkcs11.CKR_OK, p.Roles(encrypts, with(false, true)))
	want(t, "wraps, then signs", pkcs11.CKR_ATTRIBUTE_READ_ONLY, p.Roles(with(true, false), of(pkcs11.CKK_AES, pkcs11.Attr(pkcs11.CKA_SIGN, true))))
	public := of(pkcs11.CKK_RSA, pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_ENCRYPT, true))
	want(t, "a public key wraps and encrypts", pkcs11.CKR_OK, p.Roles(nil, public))
	want(t, "wraps no more", pkcs11.CKR_OK, p.Roles(with(true, false), with(false, false)))
	want(t, "both since long", pkcs11.CKR_OK, p.Roles(with(true, true), with(true, true)))
	want(t, "stays", pkcs11.CKR_OK, p.Roles(with(false, true), with(false, true)))
	ofPassword := func(token, wraps bool) fake {
		return of(pkcs11.CKK_AES, pkcs11.AttrUlong(pkcs11.CKA_KEY_GEN_MECHANISM, uint(pkcs11.CKM_PKCS5_PBKD2)), pkcs11.Attr(pkcs11.CKA_TOKEN, token),
			pkcs11.Attr(pkcs11.CKA_WRAP, wraps), pkcs11.Attr(pkcs11.CKA_DECRYPT, true))
	}
	want(t, "both, of a password", pkcs11.CKR_OK, p.Roles(nil, ofPassword(false, true)))
	want(t, "decrypts, then both, of a password", pkcs11.CKR_OK, p.Roles(ofPassword(false, false), ofPassword(false, true)))
	want(t, "both, of a password, on the token", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, ofPassword(true, true)))
	want(t, "copied to the token", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(ofPassword(false, true), ofPassword(true, true)))
	readable := func(token, sensitive, extractable bool) fake {
		return of(pkcs11.CKK_AES, pkcs11.Attr(pkcs11.CKA_TOKEN, token), pkcs11.Attr(pkcs11.CKA_SENSITIVE, sensitive),
			pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, extractable), pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_DECRYPT, true))
	}
	want(t, "both, readable", pkcs11.CKR_OK, p.Roles(nil, readable(false, false, true)))
	want(t, "both, readable, on the token", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, readable(true, false, true)))
	want(t, "both, sensitive", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, readable(false, true, true)))
	want(t, "both, not extractable", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(nil, readable(false, false, false)))
	want(t, "both, readable no more", pkcs11.CKR_TEMPLATE_INCONSISTENT, p.Roles(readable(false, false, true), readable(false, true, true)))
	decrypting := of(pkcs11.CKK_AES, pkcs11.AttrUlong(pkcs11.CKA_KEY_GEN_MECHANISM, uint(pkcs11.CKM_PKCS5_PBKD2)), pkcs11.Attr(pkcs11.CKA_TOKEN, false),
		pkcs11.Attr(pkcs11.CKA_DECRYPT, true))
	wrapping := of(pkcs11.CKK_AES, pkcs11.AttrUlong(pkcs11.CKA_KEY_GEN_MECHANISM, uint(pkcs11.CKM_PKCS5_PBKD2)), pkcs11.Attr(pkcs11.CKA_TOKEN, true),
		pkcs11.Attr(pkcs11.CKA_WRAP, true))
	want(t, "of a password, copied from the token by who does not have it", pkcs11.CKR_ATTRIBUTE_READ_ONLY, p.Roles(wrapping, decrypting))
	free := &Policy{WrapAndDecrypt: true}
	want(t, "both, allowed", pkcs11.CKR_OK, free.Roles(nil, with(true, true)))
	want(t, "changed, allowed", pkcs11.CKR_OK, free.Roles(with(true, false), with(true, true)))
}

func TestDays(t *testing.T) {
	noon := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	date := func(t pkcs11.AttributeType, s string) pkcs11.Attribute { return pkcs11.AttrString(t, s) }
	p := &Policy{Dates: true}
	for _, c := range []struct {
		start, end string
		rv         pkcs11.RV
	}{
		{"", "", pkcs11.CKR_OK},
		{"20260315", "20260315", pkcs11.CKR_OK},
		{"20260316", "", pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		{"", "20260314", pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED},
		{"20250101", "20261231", pkcs11.CKR_OK},
	} {
		k := of(pkcs11.CKK_AES, date(pkcs11.CKA_START_DATE, c.start), date(pkcs11.CKA_END_DATE, c.end))
		want(t, c.start+"-"+c.end, c.rv, p.Day(k, noon))
		want(t, "not enforced", pkcs11.CKR_OK, (&Policy{}).Day(k, noon))
	}
	// In Auckland it is the 16th already; the day is UTC's.
	auckland := time.FixedZone("", 13*3600)
	k := of(pkcs11.CKK_AES, date(pkcs11.CKA_END_DATE, "20260315"))
	want(t, "another zone", pkcs11.CKR_OK, p.Day(k, time.Date(2026, 3, 16, 0, 30, 0, 0, auckland)))
}

func TestWhatPSSSignsWithInFIPSMode(t *testing.T) {
	fips := &Policy{FIPS: true}
	old := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, SaltLen: 20}
	want(t, "sign", pkcs11.CKR_MECHANISM_PARAM_INVALID, fips.Parameter(pkcs11.CKF_SIGN, old))
	want(t, "verify", pkcs11.CKR_OK, fips.Parameter(pkcs11.CKF_VERIFY, old))
	want(t, "typed nil", pkcs11.CKR_OK, fips.Parameter(pkcs11.CKF_SIGN, (*pkcs11.PSSParams)(nil)))
	want(t, "not in FIPS mode", pkcs11.CKR_OK, (&Policy{}).Parameter(pkcs11.CKF_SIGN, old))
	for h, may := range approvedPSS {
		for salt, rv := range map[uint]pkcs11.RV{0: pkcs11.CKR_MECHANISM_PARAM_INVALID, 1: pkcs11.CKR_OK, may.salt: pkcs11.CKR_OK,
			may.salt + 1: pkcs11.CKR_MECHANISM_PARAM_INVALID} {
			want(t, fmt.Sprint(h, salt), rv, fips.Parameter(pkcs11.CKF_SIGN, &pkcs11.PSSParams{HashAlg: h, MGF: may.mgf, SaltLen: salt}))
		}
		want(t, fmt.Sprint(h), pkcs11.CKR_MECHANISM_PARAM_INVALID, fips.Parameter(pkcs11.CKF_SIGN, &pkcs11.PSSParams{HashAlg: h, MGF: pkcs11.CKG_MGF1_SHA1, SaltLen: 1}))
	}
}
