package kdf

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// publicRows make the public key of a private one, of every type whose row can (mech.KeyType.Public).
var publicRows = []mech.Mechanism{{
	Type:     pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY,
	KeyTypes: []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_EC_MONTGOMERY},
	Plan: func(_ any, t pkcs11.Template) ([]mech.Planned, error) {
		return []mech.Planned{{Template: t, Fixed: true, Class: pkcs11.CKO_PUBLIC_KEY, FromBase: true}}, nil
	},
	DeriveKeys: func(d *mech.Derivation) (*mech.Derived, error) {
		switch {
		case d.Param != nil:
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; the mechanism takes none", d.Param)
		case d.Base.Class() != pkcs11.CKO_PRIVATE_KEY || d.KeyType == nil || d.KeyType.Public == nil:
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "no public key follows from a %v of type %v", d.Base.Class(), d.Base.Type())
		}
		made, err := d.KeyType.Public(d.Base)
		if err != nil {
			return nil, err
		}
		return &mech.Derived{Keys: []pkcs11.Template{made}}, nil
	},
}}
