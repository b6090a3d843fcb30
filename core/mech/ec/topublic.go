package ec

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// toPublic returns the material of the public key that belongs to a private one.
func (kd *kind) toPublic(k mech.Key) (pkcs11.Template, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	point, err := key.point()
	if err != nil {
		return nil, err
	}
	return pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_EC_PARAMS, append([]byte{}, k.Bytes(pkcs11.CKA_EC_PARAMS)...)),
		pkcs11.Attr(pkcs11.CKA_EC_POINT, emitPoint(point)),
	}, nil
}
