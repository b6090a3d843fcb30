package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// toPublic returns the material of the public key that belongs to a private one.
func (kd *kind) toPublic(k mech.Key) (pkcs11.Template, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	p, ok := kd.take(key.key)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "the key is of another kind of curve")
	}
	secret.Wipe(p.scalar)
	return pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_EC_PARAMS, append([]byte{}, k.Bytes(pkcs11.CKA_EC_PARAMS)...)),
		pkcs11.Attr(pkcs11.CKA_EC_POINT, emitPoint(p.point)),
	}, nil
}
