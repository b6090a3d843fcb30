package mechtest

import (
	"sync"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// key keeps its attributes as they were given and its expanded forms for ever.
type key struct {
	class  pkcs11.ObjectClass
	typ    pkcs11.KeyType
	values pkcs11.Template

	mu       sync.Mutex
	expanded [mech.NumSlots]any
}

// Key returns a key with these values. The template is the key's from now on. It may be used by many goroutines.
func Key(class pkcs11.ObjectClass, t pkcs11.KeyType, values pkcs11.Template) mech.Key {
	return &key{class: class, typ: t, values: values}
}

// Secret returns a secret key with this value.
func Secret(t pkcs11.KeyType, value []byte) mech.Key {
	return Key(pkcs11.CKO_SECRET_KEY, t, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)})
}

func (k *key) Class() pkcs11.ObjectClass { return k.class }

func (k *key) Type() pkcs11.KeyType { return k.typ }

func (k *key) Bytes(t pkcs11.AttributeType) []byte { return k.values.Bytes(t) }

func (k *key) Uint(t pkcs11.AttributeType) (uint, bool) { return k.values.Uint(t) }

func (k *key) Expanded(slot mech.Slot, build func() (any, error)) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := k.expanded[slot]; v != nil {
		return v, nil
	}
	v, err := build()
	if err != nil {
		return nil, err
	}
	k.expanded[slot] = v
	return v, nil
}
