package kdf

import (
	"crypto/hkdf"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// hkdfKeys are the types of keys that HKDF takes, as base key and as salt.
var hkdfKeys = []pkcs11.KeyType{pkcs11.CKK_HKDF, pkcs11.CKK_GENERIC_SECRET}

// hkdfRows are the mechanisms of RFC 5869.
//
// Deviation: the base key is not bound to the length of the hash (PKCS#11 v3.2, HKDF derive): what a key agreement gives,
// and RFC 5869 extracts from, has any length. A data object is no base key.
var hkdfRows = []mech.Mechanism{
	{Type: pkcs11.CKM_HKDF_DERIVE, KeyTypes: hkdfKeys, Min: 1, Max: maxKey, OneWay: true, DeriveKeys: deriveHKDF},
	{Type: pkcs11.CKM_HKDF_DATA, KeyTypes: hkdfKeys, Min: 1, Max: maxKey, ByName: true, DeriveKeys: deriveHKDF, Plan: planData},
	{Type: pkcs11.CKM_HKDF_KEY_GEN, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_HKDF}, Min: 1, Max: maxKey, Generate: generic.Any.Generate},
}

// hkdfType is the type of keys that do nothing but this.
var hkdfType = mech.KeyType{Type: pkcs11.CKK_HKDF, Check: generic.Any.Check, CheckValue: generic.CheckValue}

// planData makes a data object. Its length is asked for as that of a key is, which a data object does not have.
func planData(_ any, t pkcs11.Template) ([]mech.Planned, error) {
	p := mech.Planned{Fixed: true, Class: pkcs11.CKO_DATA}
	for _, a := range t {
		switch a.Type {
		case pkcs11.CKA_VALUE_LEN:
			p.Size, _ = a.Value.(uint)
		case pkcs11.CKA_KEY_TYPE:
		default:
			p.Template = append(p.Template, a)
		}
	}
	return []mech.Planned{p}, nil
}

// deriveHKDF extracts, expands, or does both.
func deriveHKDF(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.HKDFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	h, size := hashes.ByMechanism(p.Hash), d.Sizes[0]
	if h == nil || !p.Extract && !p.Expand {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "hash %v, extract %v, expand %v", p.Hash, p.Extract, p.Expand)
	}
	prk, err := value(d.Base)
	if err != nil {
		return nil, err
	}
	if p.Extract {
		salt, err := saltOf(d, p)
		if err != nil {
			return nil, err
		}
		if prk, err = hkdf.Extract(h.New, prk, salt); err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "HKDF extract: %w", err)
		}
		defer secret.Wipe(prk)
	}
	if !p.Expand {
		out, err := cut(append([]byte{}, prk...), size)
		if err != nil {
			return nil, err
		}
		return mech.One(out), nil
	}
	switch most := min(255*h.Size(), maxBytes); {
	case size == 0:
		return nil, errNoLength
	case size < 0 || size > most:
		return nil, tooLong(size, most)
	}
	out, err := hkdf.Expand(h.New, prk, string(p.Info), size)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "HKDF expand: %w", err)
	}
	return mech.One(out), nil
}

// saltOf is the salt of the extraction; nil stands for as many zeros as the hash has bytes.
func saltOf(d *mech.Derivation, p *pkcs11.HKDFParams) ([]byte, error) {
	switch pkcs11.Flags(p.SaltType) {
	case pkcs11.CKF_HKDF_SALT_NULL:
		return nil, nil
	case pkcs11.CKF_HKDF_SALT_DATA:
		return p.Salt, nil
	case pkcs11.CKF_HKDF_SALT_KEY:
		k, err := d.Key(p.SaltKey)
		if err != nil {
			return nil, err
		}
		return value(k)
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a salt of type %d", p.SaltType)
}
