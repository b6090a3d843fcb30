package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// privateKey and publicKey are the expanded forms (mech.SlotMain): the curve and the key as its arithmetic has it.
type privateKey struct {
	*curve
	key any
}

type publicKey struct {
	*curve
	key any
}

func kindOf(t pkcs11.KeyType) (*kind, error) {
	for _, k := range kinds {
		if k.keyType == t {
			return k, nil
		}
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "%v is no elliptic curve key", t)
}

func privateOf(k mech.Key) (*privateKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) {
		kind, err := kindOf(k.Type())
		if err != nil {
			return nil, err
		}
		return kind.private(k.Bytes(pkcs11.CKA_EC_PARAMS), k.Bytes(pkcs11.CKA_VALUE))
	})
	if err != nil {
		return nil, err
	}
	key, ok := x.(*privateKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a private key is needed", x)
	}
	return key, nil
}

func publicOf(k mech.Key) (*publicKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) {
		kind, err := kindOf(k.Type())
		if err != nil {
			return nil, err
		}
		return kind.public(k.Bytes(pkcs11.CKA_EC_PARAMS), k.Bytes(pkcs11.CKA_EC_POINT))
	})
	if err != nil {
		return nil, err
	}
	key, ok := x.(*publicKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a public key is needed", x)
	}
	return key, nil
}

// privateFor and publicFor also see to the key's type.
func privateFor(k mech.Key, t pkcs11.KeyType) (*privateKey, error) {
	key, err := privateOf(k)
	if err == nil && key.keyType != t {
		return nil, wrongKey(key.key)
	}
	return key, err
}

func publicFor(k mech.Key, t pkcs11.KeyType) (*publicKey, error) {
	key, err := publicOf(k)
	if err == nil && key.keyType != t {
		return nil, wrongKey(key.key)
	}
	return key, err
}

func (k *kind) private(params, value []byte) (*privateKey, error) {
	c, err := k.curveOf(params)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE is needed")
	}
	scalar, err := c.scalar(value)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(scalar)
	key, err := c.arith.private(c, scalar)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE is no private value of the curve")
	}
	return &privateKey{c, key}, nil
}

func (k *kind) public(params, point []byte) (*publicKey, error) {
	c, err := k.curveOf(params)
	if err != nil {
		return nil, err
	}
	if point == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_EC_POINT is needed")
	}
	bare, err := c.barePoint(point)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_POINT: %w", err)
	}
	key, err := c.arith.public(c, append([]byte{}, bare...))
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_POINT: %w", err)
	}
	return &publicKey{c, key}, nil
}

// scalar brings CKA_VALUE to its fixed length, in memory of its own. The private value of CKK_EC is a number: it may
// lack leading zeros or have more of them. That of the others is a string of bytes, for which a DER OCTET STRING (RFC
// 8410's CurvePrivateKey) is taken as well.
func (c *curve) scalar(value []byte) ([]byte, error) {
	out := make([]byte, c.scalarLen)
	if c.keyType != pkcs11.CKK_EC {
		if len(value) == 2+c.scalarLen && value[0] == 4 && int(value[1]) == c.scalarLen {
			value = value[2:]
		}
		if len(value) != c.scalarLen {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, expected %d", len(value), c.scalarLen)
		}
		copy(out, value)
		return out, nil
	}
	for len(value) > c.scalarLen && value[0] == 0 {
		value = value[1:]
	}
	if len(value) > c.scalarLen {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, expected %d", len(value), c.scalarLen)
	}
	copy(out[c.scalarLen-len(value):], value)
	return out, nil
}
