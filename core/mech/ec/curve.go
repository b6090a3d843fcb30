package ec

import (
	"bytes"
	"crypto/elliptic"
	"encoding/asn1"
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// curve is a row of the curves that we have.
type curve struct {
	keyType   pkcs11.KeyType
	arith     *arithmetic
	nist      elliptic.Curve // nistArithmetic's
	scalarLen int            // of a private value in bytes
	pointLen  int            // of a bare public point in bytes: x and y after a byte 04 for CKK_EC
	oids      []asn1.ObjectIdentifier
	names     []string
	quirks    [][]byte // other values of CKA_EC_PARAMS that clients send
}

var curves = []*curve{
	{
		keyType: pkcs11.CKK_EC, arith: &nistArithmetic, nist: elliptic.P224(), scalarLen: 28, pointLen: 57,
		oids: []asn1.ObjectIdentifier{{1, 3, 132, 0, 33}}, names: []string{"secp224r1", "P-224"},
	},
	{
		keyType: pkcs11.CKK_EC, arith: &nistArithmetic, nist: elliptic.P256(), scalarLen: 32, pointLen: 65,
		oids: []asn1.ObjectIdentifier{{1, 2, 840, 10045, 3, 1, 7}}, names: []string{"secp256r1", "prime256v1", "P-256"},
	},
	{
		keyType: pkcs11.CKK_EC, arith: &nistArithmetic, nist: elliptic.P384(), scalarLen: 48, pointLen: 97,
		oids: []asn1.ObjectIdentifier{{1, 3, 132, 0, 34}}, names: []string{"secp384r1", "P-384"},
	},
	{
		keyType: pkcs11.CKK_EC, arith: &nistArithmetic, nist: elliptic.P521(), scalarLen: 66, pointLen: 133,
		oids: []asn1.ObjectIdentifier{{1, 3, 132, 0, 35}}, names: []string{"secp521r1", "P-521"},
	},
	{
		// RFC 8410, and the OID that GnuPG used before there was one.
		keyType: pkcs11.CKK_EC_EDWARDS, arith: &ed25519Arithmetic, scalarLen: 32, pointLen: 32,
		oids:  []asn1.ObjectIdentifier{{1, 3, 101, 112}, {1, 3, 6, 1, 4, 1, 11591, 15, 1}},
		names: []string{"edwards25519", "Ed25519", "id-Ed25519"},
	},
	{
		keyType: pkcs11.CKK_EC_MONTGOMERY, arith: &x25519Arithmetic, scalarLen: 32, pointLen: 32,
		oids:  []asn1.ObjectIdentifier{{1, 3, 101, 110}, {1, 3, 6, 1, 4, 1, 3029, 1, 5, 1}},
		names: []string{"curve25519", "X25519", "id-X25519"},
		// pkcs11-tool up to 0.23 announces eleven characters and sends ten.
		quirks: [][]byte{append([]byte{asn1.TagPrintableString, 11}, "curve25519"...)},
	},
	{
		keyType: pkcs11.CKK_EC_EDWARDS, arith: &ed448Arithmetic, scalarLen: 57, pointLen: 57,
		oids: []asn1.ObjectIdentifier{{1, 3, 101, 113}}, names: []string{"edwards448", "Ed448", "id-Ed448"},
	},
	{
		keyType: pkcs11.CKK_EC_MONTGOMERY, arith: &x448Arithmetic, scalarLen: 56, pointLen: 56,
		oids: []asn1.ObjectIdentifier{{1, 3, 101, 111}}, names: []string{"curve448", "X448", "id-X448"},
	},
	shortCurve(256, "secp256k1", 1, 3, 132, 0, 10),
	brainpool(160, "brainpoolP160r1", 1),
	brainpool(160, "brainpoolP160t1", 2),
	brainpool(192, "brainpoolP192r1", 3),
	brainpool(192, "brainpoolP192t1", 4),
	brainpool(224, "brainpoolP224r1", 5),
	brainpool(224, "brainpoolP224t1", 6),
	brainpool(256, "brainpoolP256r1", 7),
	brainpool(256, "brainpoolP256t1", 8),
	brainpool(320, "brainpoolP320r1", 9),
	brainpool(320, "brainpoolP320t1", 10),
	brainpool(384, "brainpoolP384r1", 11),
	brainpool(384, "brainpoolP384t1", 12),
	brainpool(512, "brainpoolP512r1", 13),
	brainpool(512, "brainpoolP512t1", 14),
}

// signatureLen is the length of a signature: ECDSA's two numbers below the order, EdDSA's point and number.
func (c *curve) signatureLen() int { return 2 * c.scalarLen }

// params is the curve's own CKA_EC_PARAMS: its OID.
func (c *curve) params() []byte { return mustDER(c.oids[0]) }

// curveOf finds the curve that CKA_EC_PARAMS names for a kind of keys. CKR_CURVE_NOT_SUPPORTED for a name that is none
// of ours; CKR_DOMAIN_PARAMS_INVALID for explicit parameters, implicit ones and what is not DER.
func (k *kind) curveOf(params []byte) (*curve, error) {
	if params == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_EC_PARAMS is needed")
	}
	for _, c := range curves {
		if c.keyType == k.keyType && c.answersTo(params) {
			return c, nil
		}
	}
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(params, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagOID && v.Tag != asn1.TagPrintableString {
		return nil, pkcs11.Errorf(pkcs11.CKR_DOMAIN_PARAMS_INVALID, "CKA_EC_PARAMS must be an OID or a PrintableString, got %x", head(params))
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_CURVE_NOT_SUPPORTED, "no curve of %v with CKA_EC_PARAMS %x", k.keyType, head(params))
}

func (c *curve) answersTo(params []byte) bool {
	for _, oid := range c.oids {
		if bytes.Equal(params, mustDER(oid)) {
			return true
		}
	}
	for _, name := range c.names {
		if len(params) == 2+len(name) && params[0] == asn1.TagPrintableString && int(params[1]) == len(name) && string(params[2:]) == name {
			return true
		}
	}
	return c.isQuirk(params)
}

func (c *curve) isQuirk(params []byte) bool {
	return slices.ContainsFunc(c.quirks, func(q []byte) bool { return bytes.Equal(q, params) })
}

// head keeps messages short.
func head(b []byte) []byte { return b[:min(len(b), 40)] }

// mustDER encodes a value whose encoding cannot fail.
func mustDER(v any) []byte {
	der, err := asn1.Marshal(v)
	if err != nil {
		panic("ec: " + err.Error())
	}
	return der
}
