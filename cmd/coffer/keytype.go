package main

import (
	"encoding/asn1"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// curve is an elliptic curve: its name in --type and the object identifier that CKA_EC_PARAMS holds.
type curve struct {
	name    string
	keyType pkcs11.KeyType
	oid     asn1.ObjectIdentifier
	size    int // bytes of a coordinate, or of a key for Edwards and Montgomery curves
}

var curves = []curve{
	{"ec:p224", pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 3, 132, 0, 33}, 28},
	{"ec:p256", pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	{"ec:p384", pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	{"ec:p521", pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
	{"ed25519", pkcs11.CKK_EC_EDWARDS, asn1.ObjectIdentifier{1, 3, 101, 112}, 32},
	{"x25519", pkcs11.CKK_EC_MONTGOMERY, asn1.ObjectIdentifier{1, 3, 101, 110}, 32},
	{"ed448", pkcs11.CKK_EC_EDWARDS, asn1.ObjectIdentifier{1, 3, 101, 113}, 57},
	{"x448", pkcs11.CKK_EC_MONTGOMERY, asn1.ObjectIdentifier{1, 3, 101, 111}, 56},
	{"ec:secp256k1", pkcs11.CKK_EC, asn1.ObjectIdentifier{1, 3, 132, 0, 10}, 32},
	{"ec:brainpoolP160r1", pkcs11.CKK_EC, brainpool(1), 20},
	{"ec:brainpoolP160t1", pkcs11.CKK_EC, brainpool(2), 20},
	{"ec:brainpoolP192r1", pkcs11.CKK_EC, brainpool(3), 24},
	{"ec:brainpoolP192t1", pkcs11.CKK_EC, brainpool(4), 24},
	{"ec:brainpoolP224r1", pkcs11.CKK_EC, brainpool(5), 28},
	{"ec:brainpoolP224t1", pkcs11.CKK_EC, brainpool(6), 28},
	{"ec:brainpoolP256r1", pkcs11.CKK_EC, brainpool(7), 32},
	{"ec:brainpoolP256t1", pkcs11.CKK_EC, brainpool(8), 32},
	{"ec:brainpoolP320r1", pkcs11.CKK_EC, brainpool(9), 40},
	{"ec:brainpoolP320t1", pkcs11.CKK_EC, brainpool(10), 40},
	{"ec:brainpoolP384r1", pkcs11.CKK_EC, brainpool(11), 48},
	{"ec:brainpoolP384t1", pkcs11.CKK_EC, brainpool(12), 48},
	{"ec:brainpoolP512r1", pkcs11.CKK_EC, brainpool(13), 64},
	{"ec:brainpoolP512t1", pkcs11.CKK_EC, brainpool(14), 64},
}

// brainpool is the OID of a curve of RFC 5639 by its last number.
func brainpool(last int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, last}
}

// params is CKA_EC_PARAMS: the DER of the object identifier.
func (c curve) params() []byte {
	der, err := asn1.Marshal(c.oid)
	if err != nil {
		panic("coffer: an object identifier of the table of curves is wrong: " + err.Error())
	}
	return der
}

func curveNamed(name string) (curve, bool) {
	i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
	if i < 0 {
		return curve{}, false
	}
	return curves[i], true
}

// curveOf finds the curve of a CKA_EC_PARAMS. Edwards and Montgomery curves may be named by text (PKCS#11 v3.2, 6.3.3).
func curveOf(params []byte) (curve, bool) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err == nil && len(rest) == 0 {
		i := slices.IndexFunc(curves, func(c curve) bool { return c.oid.Equal(oid) })
		if i >= 0 {
			return curves[i], true
		}
	}
	var text string
	if _, err := asn1.UnmarshalWithParams(params, &text, "printable"); err == nil {
		if c, ok := curveNamed(map[string]string{"edwards25519": "ed25519", "curve25519": "x25519", "edwards448": "ed448", "curve448": "x448"}[text]); ok {
			return c, true
		}
	}
	return curve{}, false
}

// typeName describes a key as --type does: rsa:2048, ec:p256, aes:256.
func (o object) typeName() string {
	switch o.keyType() {
	case pkcs11.CKK_RSA:
		n := bitLen(o.attrs.Bytes(pkcs11.CKA_MODULUS))
		return "rsa:" + strconv.Itoa(n)
	case pkcs11.CKK_DH:
		return "dh:" + strconv.Itoa(bitLen(o.attrs.Bytes(pkcs11.CKA_PRIME)))
	case pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_EC_MONTGOMERY:
		if c, ok := curveOf(o.attrs.Bytes(pkcs11.CKA_EC_PARAMS)); ok {
			return c.name
		}
		return "ec:other"
	}
	if s, ok := setOf(o.attrs); ok {
		return s.name
	}
	name := strings.ToLower(strings.TrimPrefix(o.keyType().String(), "CKK_"))
	if o.keyType() == pkcs11.CKK_GENERIC_SECRET {
		name = "generic"
		if o.flag(pkcs11.CKA_SIGN) && !o.flag(pkcs11.CKA_DERIVE) {
			name = "hmac"
		}
	}
	if n, ok := o.attrs.Uint(pkcs11.CKA_VALUE_LEN); ok {
		return fmt.Sprintf("%s:%d", name, n*8)
	}
	return name
}

func bitLen(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return (len(b)-i-1)*8 + len(strconv.FormatUint(uint64(c), 2))
		}
	}
	return 0
}

// keyKind is what key generate can make: a row for each word of --type before the colon.
type keyKind struct {
	name      string
	sizes     []string // after the colon; nil: nothing may follow
	bits      bool     // any number of bits may follow
	mechanism pkcs11.MechanismType
	public    []string // usage of the public key; nil: this is a secret key
	private   []string // usage of the private or secret key
}

var keyKinds = []keyKind{
	{"rsa", []string{"2048", "3072", "4096"}, false, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		[]string{"verify", "encrypt", "wrap"}, []string{"sign", "decrypt", "unwrap"}},
	{"ec", []string{"p256", "p384", "p521", "secp256k1", "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"}, false, pkcs11.CKM_EC_KEY_PAIR_GEN, []string{"verify"}, []string{"sign", "derive"}},
	{"ed25519", nil, false, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, []string{"verify"}, []string{"sign"}},
	{"x25519", nil, false, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, []string{}, []string{"derive"}},
	{"ed448", nil, false, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, []string{"verify"}, []string{"sign"}},
	{"x448", nil, false, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, []string{}, []string{"derive"}},
	{"dh", []string{"2048", "3072", "4096"}, false, pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN, []string{}, []string{"derive"}},
	{"ml-dsa", []string{"44", "65", "87"}, false, pkcs11.CKM_ML_DSA_KEY_PAIR_GEN, []string{"verify"}, []string{"sign"}},
	{"ml-kem", []string{"512", "768", "1024"}, false, pkcs11.CKM_ML_KEM_KEY_PAIR_GEN, []string{"encapsulate"}, []string{"decapsulate"}},
	{"slh-dsa", []string{"sha2-128s", "sha2-128f", "sha2-192s", "sha2-192f", "sha2-256s", "sha2-256f", "shake-128s", "shake-128f",
		"shake-192s", "shake-192f", "shake-256s", "shake-256f"}, false, pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN, []string{"verify"}, []string{"sign"}},
	{"hss", hssSizes(), false, pkcs11.CKM_HSS_KEY_PAIR_GEN, []string{"verify"}, []string{"sign"}},
	{"aes", []string{"128", "192", "256"}, false, pkcs11.CKM_AES_KEY_GEN, nil,
		[]string{"encrypt", "decrypt"}},
	{"hmac", nil, true, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, nil, []string{"sign", "verify"}},
	{"generic", nil, true, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, nil, []string{"derive"}},
}

// hssKeys are the trees of an HSS key by how many signatures it can make, from the top: LMS types of SHA-256, and digits of 4 bits
// on each level, which make signatures of about 2.5 KB for each level in a fraction of a second.
var hssKeys = []struct {
	signatures string
	lms, lmots []uint
}{
	{"1024", []uint{6}, []uint{3}},
	{"32768", []uint{5, 6}, []uint{3, 3}},
	{"1048576", []uint{6, 6}, []uint{3, 3}},
}

func hssSizes() (out []string) {
	for _, k := range hssKeys {
		out = append(out, k.signatures)
	}
	return out
}

// hssTemplate is what the private half of a new HSS key says of its trees.
func hssTemplate(signatures string) pkcs11.Template {
	i := slices.Index(hssSizes(), signatures)
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_HSS), pkcs11.AttrUlong(pkcs11.CKA_HSS_LEVELS, uint(len(hssKeys[i].lms))),
		pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, hssKeys[i].lms), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, hssKeys[i].lmots)}
}

const maxSecretBits = 8192

// keySpec is a --type that was understood.
type keySpec struct {
	keyKind
	full string // as given: rsa:2048
	size string
	n    uint // the size in bits, where it is a number
}

// parseKeySpec reads a --type of key generate.
func parseKeySpec(text string) (keySpec, error) {
	name, size, _ := strings.Cut(text, ":")
	i := slices.IndexFunc(keyKinds, func(k keyKind) bool { return k.name == name })
	if i < 0 {
		return keySpec{}, usage("the key type %q is not known", "known are: "+keySpecNames(), text)
	}
	s := keySpec{keyKind: keyKinds[i], full: text, size: size}
	n, err := strconv.ParseUint(size, 10, 32)
	if err == nil {
		s.n = uint(n)
	}
	switch {
	case s.bits:
		if err != nil || n < 8 || n > maxSecretBits || n%8 != 0 {
			return keySpec{}, usage("%q needs a number of bits from 8 to %d, a multiple of 8", "such as "+name+":256", text, maxSecretBits)
		}
	case s.sizes == nil && size != "":
		return keySpec{}, usage("%s has only one size", "leave :"+size+" out", name)
	case s.sizes != nil && !slices.Contains(s.sizes, size):
		return keySpec{}, usage("%q is not a known size of %s", "known are: "+strings.Join(s.names(), ", "), size, name)
	}
	return s, nil
}

func (k keyKind) names() []string {
	if k.bits {
		return []string{k.name + ":BITS"}
	}
	if k.sizes == nil {
		return []string{k.name}
	}
	var out []string
	for _, s := range k.sizes {
		out = append(out, k.name+":"+s)
	}
	return out
}

func keySpecNames() string {
	var out []string
	for _, k := range keyKinds {
		out = append(out, k.names()...)
	}
	return strings.Join(out, ", ")
}
