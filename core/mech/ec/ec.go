// Package ec is the family of elliptic curves: ECDSA and ECDH over the NIST and Brainpool curves and
// secp256k1, EdDSA and ECDH over Curve25519 and Curve448. The arithmetic is that of the standard library; for Curve448
// that of Cloudflare's circl; for secp256k1 and the Brainpool curves that of package short.
//
// How keys look from outside, where the standard's versions and the clients disagree:
//
// CKA_EC_POINT is accepted as the bare point, in a DER OCTET STRING or in a DER BIT STRING, for all three key types, and
// the points of CKK_EC compressed or not. It is given out as a DER OCTET STRING of the uncompressed point.
//
// Deviation: PKCS#11 v3.1 and v3.2 want the bare bytes for CKK_EC_EDWARDS and CKK_EC_MONTGOMERY, where v3.0 wanted DER.
// GnuTLS 3.7, libp11 0.4.12 and early pkcs11-provider read nothing but an OCTET STRING, their successors read both, and no
// client is known that needs the bare form. See emitPoint.
//
// CKA_EC_PARAMS is accepted as the curve's OID or as a PrintableString with one of its names, and is kept as it was
// given. Keys that come from PKCS #8 have the OID.
package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the elliptic curve family.
var Family = mech.Family{Name: "ec", Mechanisms: rows(), KeyTypes: keyTypes()}

// What every mechanism here says of the curves: over a prime field, by OID or name, points uncompressed.
const curveFlags = pkcs11.CKF_EC_F_P | pkcs11.CKF_EC_OID | pkcs11.CKF_EC_CURVENAME | pkcs11.CKF_EC_UNCOMPRESS

func rows() []mech.Mechanism {
	short := []pkcs11.KeyType{pkcs11.CKK_EC}
	edwards := []pkcs11.KeyType{pkcs11.CKK_EC_EDWARDS}
	montgomery := []pkcs11.KeyType{pkcs11.CKK_EC_MONTGOMERY}
	// The standard gives the sizes of Curve25519 as 255 bits, those of Curve448 as 448.
	all := []mech.Mechanism{
		{
			Type: pkcs11.CKM_EC_KEY_PAIR_GEN, KeyTypes: short, Min: 160, Max: 521,
			GeneratePair: generator(&weierstrass),
		},
		{
			Type: pkcs11.CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS, KeyTypes: short, Min: 160, Max: 521,
			GeneratePair: weierstrass.generator(withExtraBits),
		},
		{
			Type: pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, KeyTypes: edwards, Min: 255, Max: 448,
			GeneratePair: generator(&twistedEdwards),
		},
		{
			Type: pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, KeyTypes: montgomery, Min: 255, Max: 448,
			GeneratePair: generator(&montgomeryForm),
		},
		{
			Type: pkcs11.CKM_ECDSA, KeyTypes: short, Min: 160, Max: 521, OnePart: true,
			Sign: ecdsaSign(nil), Verify: ecdsaVerify(nil),
		},
		{
			Type: pkcs11.CKM_EDDSA, KeyTypes: edwards, Min: 255, Max: 448,
			Sign: eddsaSign, Verify: eddsaVerify,
		},
		{
			Type: pkcs11.CKM_ECDH1_DERIVE, KeyTypes: append(short, montgomery...), Min: 160, Max: 521,
			Derive:      derive,
			Encapsulate: encapsulate, Decapsulate: decapsulate, CiphertextLen: ciphertextLen,
		},
		{
			// All curves of CKK_EC here have cofactor 1, so the result is that of CKM_ECDH1_DERIVE.
			Type: pkcs11.CKM_ECDH1_COFACTOR_DERIVE, KeyTypes: short, Min: 160, Max: 521,
			Derive:      derive,
			Encapsulate: encapsulate, Decapsulate: decapsulate, CiphertextLen: ciphertextLen,
		},
	}
	for _, w := range aesWrappings {
		m := mech.Mechanism{Type: w.mechanism, KeyTypes: short, Min: 160, Max: 521, Wrap: w.wrap, Unwrap: w.unwrap}
		if w.keyType == pkcs11.CKK_EC_MONTGOMERY {
			m.KeyTypes, m.Min, m.Max = montgomery, 255, 448
		}
		all = append(all, m)
	}
	for _, h := range hashes.All {
		if h.ECDSA != 0 {
			all = append(all, mech.Mechanism{
				Type: h.ECDSA, KeyTypes: short, Min: 160, Max: 521, Hash: h.ID,
				Sign: ecdsaSign(h), Verify: ecdsaVerify(h),
			})
		}
	}
	for i := range all {
		all[i].Flags = curveFlags
	}
	return all
}

func keyTypes() []mech.KeyType {
	var all []mech.KeyType
	for _, k := range kinds {
		all = append(all, mech.KeyType{
			Type:          k.keyType,
			Check:         k.check,
			MarshalPKCS8:  marshalPKCS8,
			ParsePKCS8:    k.parsePKCS8,
			PublicKeyInfo: k.publicKeyInfo,
			Public:        k.toPublic,
		})
	}
	return all
}

// noParam refuses a parameter where the mechanism has none.
func noParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}
