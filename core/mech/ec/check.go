package ec

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// check brings point and private value to the forms that are given out. A private key may carry a CKA_EC_POINT, which the
// standard does not know there; it must belong to the key.
func (k *kind) check(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	put := func(a pkcs11.AttributeType, normal []byte) {
		if !bytes.Equal(t.Bytes(a), normal) {
			add = append(add, pkcs11.Attr(a, normal))
		}
	}
	params := t.Bytes(pkcs11.CKA_EC_PARAMS)
	switch class {
	case pkcs11.CKO_PUBLIC_KEY:
		key, err := k.public(params, t.Bytes(pkcs11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		bare, err := key.barePoint(t.Bytes(pkcs11.CKA_EC_POINT))
		if err != nil {
			return nil, err
		}
		put(pkcs11.CKA_EC_PARAMS, key.normalParams(params))
		put(pkcs11.CKA_EC_POINT, emitPoint(bare))
		return add, nil
	case pkcs11.CKO_PRIVATE_KEY:
		key, err := k.private(params, t.Bytes(pkcs11.CKA_VALUE))
		if err != nil {
			return nil, err
		}
		scalar, point, err := key.take()
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE: %w", err)
		}
		if t.Has(pkcs11.CKA_EC_POINT) {
			bare, err := key.barePoint(t.Bytes(pkcs11.CKA_EC_POINT))
			if err != nil || !bytes.Equal(bare, point) {
				secret.Wipe(scalar)
				return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_EC_POINT does not belong to CKA_VALUE")
			}
			put(pkcs11.CKA_EC_POINT, emitPoint(bare))
		}
		put(pkcs11.CKA_EC_PARAMS, key.normalParams(params))
		put(pkcs11.CKA_VALUE, scalar)
		return add, nil
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be an elliptic curve key", class)
}

// normalParams keeps what was given, unless it is no DER.
func (c *curve) normalParams(given []byte) []byte {
	if c.isQuirk(given) {
		return c.params()
	}
	return given
}
