package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/pkcs8"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// marshalPKCS8 writes an ECPrivateKey (RFC 5915) or a CurvePrivateKey (RFC 8410) in a PrivateKeyInfo.
func marshalPKCS8(k mech.Key) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	return pkcs8.Marshal(key.key)
}

// A key takes at most a quarter of a kilobyte; what is longer is refused before anybody computes with its numbers.
const maxPKCS8 = 4 << 10

func (k *kind) parsePKCS8(der []byte) (pkcs11.Template, error) {
	parsed, err := pkcs8.Parse(der, maxPKCS8)
	if err != nil {
		return nil, err
	}
	p, ok := k.take(parsed)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "a %T where a key of %v was expected", parsed, k.keyType)
	}
	return pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_EC_PARAMS, p.curve.params()),
		pkcs11.Attr(pkcs11.CKA_VALUE, p.scalar),
	}, nil
}

func (k *kind) publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	public, err := k.publicFrom(class, t)
	if err != nil {
		return nil, err
	}
	return pkcs8.PublicInfo(public)
}

// publicFrom gives the standard library's public key of a public or a private key.
func (k *kind) publicFrom(class pkcs11.ObjectClass, t pkcs11.Template) (any, error) {
	params := t.Bytes(pkcs11.CKA_EC_PARAMS)
	if class == pkcs11.CKO_PUBLIC_KEY {
		key, err := k.public(params, t.Bytes(pkcs11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		return key.key, nil
	}
	key, err := k.private(params, t.Bytes(pkcs11.CKA_VALUE))
	if err != nil {
		return nil, err
	}
	p, ok := k.take(key.key)
	secret.Wipe(p.scalar)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE is no private value of the curve")
	}
	return p.public, nil
}
