package kdf

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What a key block may be cut into, in bits. An IV comes out in the clear, and what stands at its place is a key in a
// block that is cut otherwise: so it is no longer than the IVs that there are.
const (
	maxPartBits = 512
	maxIVBits   = 128
)

// keyBlockParams checks the parameter of a key block.
func keyBlockParams(param any) (*pkcs11.TLS12KeyMatParams, error) {
	p, ok := param.(*pkcs11.TLS12KeyMatParams)
	if !ok || p == nil {
		return nil, wrongParam(param)
	}
	sizes := func(most uint, list ...uint) bool {
		for _, bits := range list {
			if bits > most || bits%8 != 0 {
				return false
			}
		}
		return true
	}
	switch {
	case p.Made == nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "no place for the keys: NULL")
	case p.Export:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "TLS 1.2 has no export ciphers")
	case !sizes(maxPartBits, p.MACBits, p.KeyBits) || !sizes(maxIVBits, p.IVBits) || p.MACBits+p.KeyBits == 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a MAC key of %d bits, a key of %d, an IV of %d", p.MACBits, p.KeyBits, p.IVBits)
	}
	return p, checkRandom(&p.Random)
}

// planKeyBlock plans two MAC keys and two cipher keys, the client's first. The template of the call is that of the cipher
// keys; the MAC keys are generic secrets that sign.
func planKeyBlock(param any, t pkcs11.Template) ([]mech.Planned, error) {
	p, err := keyBlockParams(param)
	if err != nil {
		return nil, err
	}
	mac := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_VERIFY, true)}
	for _, a := range t {
		if !ciphersOnly[a.Type] {
			mac = append(mac, a)
		}
	}
	macKey := mech.Planned{Template: mac, Fixed: true, Class: pkcs11.CKO_SECRET_KEY, Type: pkcs11.CKK_GENERIC_SECRET,
		Size: p.MACBits / 8, Inherit: true, Absent: p.MACBits == 0}
	key := mech.Planned{Template: t, Size: p.KeyBits / 8, Inherit: true, Absent: p.KeyBits == 0}
	return []mech.Planned{macKey, macKey, key, key}, nil
}

// ciphersOnly are the attributes of a template that say nothing of the MAC keys.
var ciphersOnly = map[pkcs11.AttributeType]bool{
	pkcs11.CKA_KEY_TYPE: true, pkcs11.CKA_VALUE_LEN: true, pkcs11.CKA_CHECK_VALUE: true, pkcs11.CKA_ENCRYPT: true, pkcs11.CKA_DECRYPT: true,
	pkcs11.CKA_SIGN: true, pkcs11.CKA_VERIFY: true, pkcs11.CKA_WRAP: true, pkcs11.CKA_UNWRAP: true, pkcs11.CKA_DERIVE: true,
	pkcs11.CKA_ALLOWED_MECHANISMS: true, pkcs11.CKA_WRAP_TEMPLATE: true, pkcs11.CKA_UNWRAP_TEMPLATE: true, pkcs11.CKA_DERIVE_TEMPLATE: true,
}

// keyBlock cuts the key block (RFC 5246, 6.3): MAC keys, keys, and IVs if they are wanted.
func keyBlock(withIVs bool) func(d *mech.Derivation) (*mech.Derived, error) {
	return func(d *mech.Derivation) (*mech.Derived, error) {
		p, err := keyBlockParams(d.Param)
		if err != nil {
			return nil, err
		}
		h, err := tlsHash(p.Hash)
		if err != nil {
			return nil, err
		}
		base, err := value(d.Base)
		if err != nil {
			return nil, err
		}
		mac, key, iv := int(p.MACBits/8), int(p.KeyBits/8), int(p.IVBits/8)
		if !withIVs {
			iv = 0
		}
		sizes := []int{mac, mac, key, key}
		for i, asked := range d.Sizes {
			if asked != sizes[i] {
				return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN is %d, the parameter says %d bytes", asked, sizes[i])
			}
		}
		if iv > 0 && !(p.Made.ClientIV.Wanted && p.Made.ServerIV.Wanted) {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "no place for the IVs: NULL")
		}
		block := tlsPRF(hmacUnder(h, base), 2*(mac+key+iv), "key expansion", p.Random.Server, p.Random.Client)
		rest := block
		defer secret.Wipe(block)
		next := func(n int) []byte {
			part := append([]byte{}, rest[:n]...)
			rest = rest[n:]
			return part
		}
		made := &mech.Derived{}
		for _, n := range sizes {
			made.Keys = append(made.Keys, mech.Secret(next(n)))
		}
		made.Outputs = [][]byte{next(iv), next(iv)}
		return made, nil
	}
}
