package rsa

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// toPublic returns the material of the public key that belongs to a private one. A private key that came without its
// public exponent has none.
func toPublic(k mech.Key) (pkcs11.Template, error) {
	n, e := k.Bytes(pkcs11.CKA_MODULUS), k.Bytes(pkcs11.CKA_PUBLIC_EXPONENT)
	if len(n) == 0 || len(e) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "the key has a modulus of %d bytes and a public exponent of %d", len(n), len(e))
	}
	return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_MODULUS, bytes.Clone(n)), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, bytes.Clone(e))}, nil
}
