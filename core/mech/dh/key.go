package dh

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// privateKey is the expanded form (mech.SlotMain).
type privateKey struct {
	group *ff.Group
	x     []byte
}

// Wipe zeroes the private value.
func (k *privateKey) Wipe() { secret.Wipe(k.x) }

func privateOf(k mech.Key) (*privateKey, error) {
	if k.Class() != pkcs11.CKO_PRIVATE_KEY {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %v where a private key is needed", k.Class())
	}
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return private(k.Type(), k.Bytes) })
	if err != nil {
		return nil, err
	}
	key, ok := x.(*privateKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a private key is needed", x)
	}
	return key, nil
}

// attributes gives a byte-string attribute of a key or a template.
type attributes func(pkcs11.AttributeType) []byte

func private(kt pkcs11.KeyType, of attributes) (*privateKey, error) {
	g, err := group(kt, of)
	if err != nil {
		return nil, err
	}
	value := of(pkcs11.CKA_VALUE)
	if value == nil {
		return nil, errNoValue
	}
	x, err := g.Private(value)
	if err != nil {
		return nil, err
	}
	return &privateKey{g, x}, nil
}

var errNoValue = pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE is needed")

// group is the group of a key or of domain parameters.
func group(kt pkcs11.KeyType, of attributes) (*ff.Group, error) {
	p, g, q := of(pkcs11.CKA_PRIME), of(pkcs11.CKA_BASE), []byte(nil)
	if kt == pkcs11.CKK_X9_42_DH {
		if q = of(pkcs11.CKA_SUBPRIME); q == nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_SUBPRIME is needed")
		}
	} else if kt != pkcs11.CKK_DH {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "%v is no Diffie-Hellman key", kt)
	}
	if p == nil || g == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PRIME and CKA_BASE are needed")
	}
	return ff.New(p, q, g)
}

// domain is the group in attributes.
func domain(g *ff.Group, kt pkcs11.KeyType) pkcs11.Template {
	t := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIME, g.P.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, g.G.Bytes())}
	if kt == pkcs11.CKK_X9_42_DH {
		t = append(t, pkcs11.Attr(pkcs11.CKA_SUBPRIME, g.Q.Bytes()))
	}
	return t
}

// check looks at a key or at domain parameters from outside and brings their numbers to the form without leading zeros.
func check(kt pkcs11.KeyType) func(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
	return func(class pkcs11.ObjectClass, t pkcs11.Template) (add pkcs11.Template, err error) {
		g, err := group(kt, t.Bytes)
		if err != nil {
			return nil, err
		}
		normal := domain(g, kt)
		switch class {
		case pkcs11.CKO_DOMAIN_PARAMETERS:
			normal = append(normal, pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, g.Bits))
			if kt == pkcs11.CKK_X9_42_DH {
				normal = append(normal, pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, uint(g.Q.BitLen())))
			}
		case pkcs11.CKO_PUBLIC_KEY:
			if t.Bytes(pkcs11.CKA_VALUE) == nil {
				return nil, errNoValue
			}
			y, err := g.Public(t.Bytes(pkcs11.CKA_VALUE))
			if err != nil {
				return nil, err
			}
			normal = append(normal, pkcs11.Attr(pkcs11.CKA_VALUE, y.FillBytes(make([]byte, g.Size()))))
		case pkcs11.CKO_PRIVATE_KEY:
			if t.Bytes(pkcs11.CKA_VALUE) == nil {
				return nil, errNoValue
			}
			x, err := g.Private(t.Bytes(pkcs11.CKA_VALUE))
			if err != nil {
				return nil, err
			}
			normal = append(normal, pkcs11.Attr(pkcs11.CKA_VALUE, x))
			if kt == pkcs11.CKK_DH {
				normal = append(normal, pkcs11.AttrUlong(pkcs11.CKA_VALUE_BITS, uint(8*len(x))))
			}
		default:
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be a Diffie-Hellman key", class)
		}
		for _, a := range normal {
			if old, ok := t.Get(a.Type); !ok || !same(old, a.Value) {
				add = append(add, a)
			}
		}
		return add, nil
	}
}

func same(a, b any) bool {
	x, isBytes := a.([]byte)
	y, both := b.([]byte)
	if isBytes && both {
		return bytes.Equal(x, y)
	}
	return a == b
}
