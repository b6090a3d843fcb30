package dh

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/pkcs8"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The algorithms: PKCS #3's dhKeyAgreement with p, g and perhaps the private value's length; X9.42's dhpublicnumber with
// p, g, q (RFC 3279, 2.3.3).
var oids = map[pkcs11.KeyType]asn1.ObjectIdentifier{
	pkcs11.CKK_DH:       {1, 2, 840, 113549, 1, 3, 1},
	pkcs11.CKK_X9_42_DH: {1, 2, 840, 10046, 2, 1},
}

func keyTypes() []mech.KeyType {
	var all []mech.KeyType
	for _, kt := range []pkcs11.KeyType{pkcs11.CKK_DH, pkcs11.CKK_X9_42_DH} {
		all = append(all, mech.KeyType{
			Type: kt, Check: check(kt), MarshalPKCS8: marshalPKCS8, ParsePKCS8: parsePKCS8(kt), PublicKeyInfo: publicKeyInfo(kt),
		})
	}
	return all
}

func algorithm(g *ff.Group, kt pkcs11.KeyType) pkcs8.Algorithm {
	if kt == pkcs11.CKK_X9_42_DH {
		return pkcs8.WithIntegers(oids[kt], g.P, g.G, g.Q)
	}
	return pkcs8.WithIntegers(oids[kt], g.P, g.G)
}

func marshalPKCS8(k mech.Key) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	x, err := pkcs8.Integer(key.x)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	defer secret.Wipe(x)
	return pkcs8.Join(algorithm(key.group, k.Type()), x)
}

// A key has four numbers of at most a kilobyte.
const maxPKCS8 = 8 << 10

var errNoKey = pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no Diffie-Hellman key in the PrivateKeyInfo")

func parsePKCS8(kt pkcs11.KeyType) func(info []byte) (pkcs11.Template, error) {
	return func(info []byte) (pkcs11.Template, error) {
		a, inner, err := pkcs8.Split(info, maxPKCS8)
		if err != nil {
			return nil, err
		}
		value := cryptobyte.String(inner)
		var x []byte
		t, ok := domainOf(a, kt)
		if !ok || !value.ReadASN1Integer(&x) || !value.Empty() || len(x) == 0 {
			return nil, errNoKey
		}
		key, err := private(kt, append(t, pkcs11.Attr(pkcs11.CKA_VALUE, x)).Bytes)
		if err != nil {
			return nil, errNoKey
		}
		return append(domain(key.group, kt), pkcs11.Attr(pkcs11.CKA_VALUE, key.x)), nil
	}
}

// domainOf reads the domain parameters of an AlgorithmIdentifier. What may follow them (the private value's length, a
// cofactor and a seed) is left.
func domainOf(a pkcs8.Algorithm, kt pkcs11.KeyType) (pkcs11.Template, bool) {
	types := []pkcs11.AttributeType{pkcs11.CKA_PRIME, pkcs11.CKA_BASE}
	if kt == pkcs11.CKK_X9_42_DH {
		types = append(types, pkcs11.CKA_SUBPRIME)
	}
	numbers, _, ok := a.Integers(len(types))
	if !ok || !a.OID.Equal(oids[kt]) {
		return nil, false
	}
	var t pkcs11.Template
	for i, n := range numbers {
		t = append(t, pkcs11.Attr(types[i], n))
	}
	return t, true
}

// publicKeyInfo writes the SubjectPublicKeyInfo of a public or a private key.
func publicKeyInfo(kt pkcs11.KeyType) func(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	return func(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
		g, err := group(kt, t.Bytes)
		if err != nil {
			return nil, err
		}
		y := t.Bytes(pkcs11.CKA_VALUE)
		switch class {
		case pkcs11.CKO_PUBLIC_KEY:
		case pkcs11.CKO_PRIVATE_KEY:
			x, err := g.Private(y)
			if err != nil {
				return nil, err
			}
			defer secret.Wipe(x)
			if y, err = g.Exp(g.G.Bytes(), x); err != nil {
				return nil, err
			}
		default:
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v has no public key", class)
		}
		bits, err := pkcs8.Integer(y)
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "SubjectPublicKeyInfo: %w", err)
		}
		return pkcs8.JoinPublic(algorithm(g, kt), bits)
	}
}
