// Package kdf has the mechanisms that make keys of keys and do nothing else: joining and cutting (PKCS#11 v3.2,
// "Miscellaneous simple key derivation mechanisms"), HKDF, SP 800-108, PBKDF2, and the derivations of TLS and IKE.
package kdf

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the table of key derivations.
var Family = mech.Family{
	Name:       "kdf",
	Mechanisms: slices.Concat(simple, hkdfRows, kbkdfRows, pbkdf2Rows, tlsRows, ikeRows, publicRows),
	KeyTypes:   []mech.KeyType{hkdfType},
}

// secrets are the types of keys that are bytes: what can be joined, cut and hashed.
var secrets = append([]pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_AES, pkcs11.CKK_HKDF}, hashes.KeyTypes()...)

// maxBytes is the longest key that any of these makes, as the engine bounds it.
const maxBytes = 1 << 16

// value returns the bytes of a secret key.
func value(k mech.Key) ([]byte, error) {
	b := k.Bytes(pkcs11.CKA_VALUE)
	if len(b) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key is empty")
	}
	return b, nil
}

// wrongParam says that a parameter is of another kind.
func wrongParam(param any) error {
	return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T does not fit", param)
}

// tooLong says that a key is asked for that has more bytes than there are.
func tooLong(size, most int) error {
	return pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a key of %d bytes is asked for, there are %d", size, most)
}

// errNoLength: the template names no length, and the mechanism has no natural one.
var errNoLength = pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is missing")

// maxKey is the largest key that the rows name.
const maxKey = generic.MaxBytes
