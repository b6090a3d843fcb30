package ec

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/pkcs8"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// idECPublicKey is the algorithm of all keys of CKK_EC, which has the curve as parameter (RFC 5480). The other kinds have
// an algorithm for each curve (RFC 8410).
var idECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}

func (c *curve) algorithm() pkcs8.Algorithm {
	if c.keyType == pkcs11.CKK_EC {
		return pkcs8.Algorithm{OID: idECPublicKey, Parameters: c.params()}
	}
	return pkcs8.Algorithm{OID: c.oids[0]}
}

// marshalPKCS8 writes an ECPrivateKey (RFC 5915) or a CurvePrivateKey (RFC 8410) in a PrivateKeyInfo.
func marshalPKCS8(k mech.Key) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	scalar, point, err := key.take()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(scalar)
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, len(scalar)+len(point)+64))
	if key.keyType != pkcs11.CKK_EC {
		b.AddASN1OctetString(scalar)
	} else {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			b.AddASN1OctetString(scalar)
			b.AddASN1(der.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1BitString(point) })
		})
	}
	inner, err := b.Bytes()
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "PKCS #8: %w", err)
	}
	defer secret.Wipe(inner)
	return pkcs8.Join(key.algorithm(), inner)
}

// A key takes at most half a kilobyte.
const maxPKCS8 = 4 << 10

var errNoKey = pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "no private key of the curve in the PrivateKeyInfo")

func (k *kind) parsePKCS8(info []byte) (pkcs11.Template, error) {
	a, inner, err := pkcs8.Split(info, maxPKCS8)
	if err != nil {
		return nil, err
	}
	c := k.byAlgorithm(a)
	if c == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a key of algorithm %v where one of %v was expected", a.OID, k.keyType)
	}
	value, point := split(c, inner)
	if value == nil {
		return nil, errNoKey
	}
	key, err := k.private(c.params(), value)
	if err != nil {
		return nil, errNoKey
	}
	defer key.Wipe()
	scalar, own, err := key.take()
	if err != nil || point != nil && string(point) != string(own) {
		secret.Wipe(scalar)
		return nil, errNoKey
	}
	return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()), pkcs11.Attr(pkcs11.CKA_VALUE, scalar)}, nil
}

// byAlgorithm finds the curve of a kind by its AlgorithmIdentifier; nil for none.
func (k *kind) byAlgorithm(a pkcs8.Algorithm) *curve {
	name := a.Parameters
	if k.keyType != pkcs11.CKK_EC {
		if name != nil {
			return nil
		}
		name = mustDER(a.OID)
	} else if !a.OID.Equal(idECPublicKey) || len(name) == 0 || name[0] != asn1.TagOID {
		return nil
	}
	c, err := k.curveOf(name)
	if err != nil {
		return nil
	}
	return c
}

// split takes the private value out of an ECPrivateKey or a CurvePrivateKey, and the uncompressed point where there is
// one; nil for what is neither.
func split(c *curve, inner cryptobyte.String) (value, point []byte) {
	var octets cryptobyte.String
	if c.keyType != pkcs11.CKK_EC {
		if !inner.ReadASN1(&octets, der.OCTET_STRING) || !inner.Empty() {
			return nil, nil
		}
		return octets, nil
	}
	var body, params, public cryptobyte.String
	var version int
	var named, has bool
	ok := inner.ReadASN1(&body, der.SEQUENCE) && inner.Empty() &&
		body.ReadASN1Integer(&version) && version == 1 &&
		body.ReadASN1(&octets, der.OCTET_STRING) &&
		body.ReadOptionalASN1(&params, &named, der.Tag(0).Constructed().ContextSpecific()) &&
		body.ReadOptionalASN1(&public, &has, der.Tag(1).Constructed().ContextSpecific()) && body.Empty()
	if !ok || named && !c.answersTo(params) {
		return nil, nil
	}
	if has {
		var bits []byte
		if !public.ReadASN1BitStringAsBytes(&bits) || !public.Empty() {
			return nil, nil
		}
		if point = c.uncompressed(bits); point == nil {
			return nil, nil
		}
	}
	return octets, point
}

// publicKeyInfo writes the SubjectPublicKeyInfo of a public or a private key.
func (k *kind) publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	params := t.Bytes(pkcs11.CKA_EC_PARAMS)
	if class == pkcs11.CKO_PUBLIC_KEY {
		key, err := k.public(params, t.Bytes(pkcs11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		point, err := key.barePoint(t.Bytes(pkcs11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		return pkcs8.JoinPublic(key.algorithm(), point)
	}
	key, err := k.private(params, t.Bytes(pkcs11.CKA_VALUE))
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	point, err := key.point()
	if err != nil {
		return nil, err
	}
	return pkcs8.JoinPublic(key.algorithm(), point)
}
