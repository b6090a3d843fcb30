package kdf

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ikeRows are the derivations of IKE (RFC 2409, RFC 7296). Of the functions that the standard allows there are the HMACs
// and AES-CMAC.
var ikeRows = []mech.Mechanism{
	{Type: pkcs11.CKM_IKE2_PRF_PLUS_DERIVE, KeyTypes: prfKeys, Min: 1, Max: maxKey, DeriveKeys: ike2Plus},
	{Type: pkcs11.CKM_IKE_PRF_DERIVE, KeyTypes: prfKeys, Min: 1, Max: maxKey, DeriveKeys: ikePRF, Plan: planIKEPRF},
	{Type: pkcs11.CKM_IKE1_PRF_DERIVE, KeyTypes: prfKeys, Min: 1, Max: maxKey, DeriveKeys: ike1PRF, Plan: planIKE1PRF},
	{Type: pkcs11.CKM_IKE1_EXTENDED_DERIVE, KeyTypes: prfKeys, Min: 1, Max: maxKey, DeriveKeys: ike1Extended},
}

// planIKEPRF: without a key type in the template, the new key is one for the function.
func planIKEPRF(param any, t pkcs11.Template) ([]mech.Planned, error) {
	if p, ok := param.(*pkcs11.IKEPRFParams); ok && p != nil && p.PRF == pkcs11.CKM_AES_CMAC && !t.Has(pkcs11.CKA_KEY_TYPE) {
		t = append(slices.Clip(t), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES))
	}
	return []mech.Planned{{Template: t}}, nil
}

func planIKE1PRF(_ any, t pkcs11.Template) ([]mech.Planned, error) {
	if !t.Has(pkcs11.CKA_KEY_TYPE) {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_KEY_TYPE is needed")
	}
	return []mech.Planned{{Template: t}}, nil
}

// namedValue returns the bytes of a key that the parameter may name; none where it does not.
func namedValue(d *mech.Derivation, has bool, h pkcs11.Handle) ([]byte, error) {
	if !has {
		return nil, nil
	}
	k, err := d.Key(h)
	if err != nil {
		return nil, err
	}
	return value(k)
}

// oneOutput is a derivation of one output of a function, or its beginning.
func oneOutput(d *mech.Derivation, f *prf, parts ...[]byte) (*mech.Derived, error) {
	out, err := f.sum(parts...)
	if err != nil {
		return nil, err
	}
	if out, err = cut(out, d.Sizes[0]); err != nil {
		return nil, err
	}
	return mech.One(out), nil
}

// wholeOutput is oneOutput for a key that is never shorter.
func wholeOutput(d *mech.Derivation, f *prf, parts ...[]byte) (*mech.Derived, error) {
	if size := d.Sizes[0]; size != 0 && size != f.size {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bytes, the function has %d", size, f.size)
	}
	return oneOutput(d, f, parts...)
}

// ikePRF makes SKEYSEED or SKEYID: RFC 7296, 2.14 and 2.18; RFC 2409, 5. It is all of the function's output.
func ikePRF(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.IKEPRFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	nonces := slices.Concat(p.Ni, p.Nr)
	switch {
	case p.DataAsKey && p.Rekey:
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "the nonces as the key, and for a new key")
	case len(nonces) == 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "no nonces")
	}
	if p.DataAsKey {
		h := hashes.ByHMAC(p.PRF)
		if h == nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v does not take nonces for a key", p.PRF)
		}
		base, err := value(d.Base)
		if err != nil {
			return nil, err
		}
		return wholeOutput(d, hmacUnder(h, nonces), base)
	}
	f, err := prfOf(p.PRF, d.Base)
	if err != nil {
		return nil, err
	}
	fresh, err := namedValue(d, p.Rekey, p.NewKey)
	if err != nil {
		return nil, err
	}
	return wholeOutput(d, f, fresh, nonces)
}

// ike1PRF makes SKEYID_d, SKEYID_a or SKEYID_e: RFC 2409, 5.
func ike1PRF(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.IKE1PRFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	f, err := prfOf(p.PRF, d.Base)
	if err != nil {
		return nil, err
	}
	before, err := namedValue(d, p.HasPrevKey, p.PrevKey)
	if err != nil {
		return nil, err
	}
	gxy, err := namedValue(d, true, p.KeyGXY)
	if err != nil {
		return nil, err
	}
	return oneOutput(d, f, before, gxy, p.CKYi, p.CKYr, []byte{p.KeyNumber})
}

// ike2Plus is prf+: RFC 7296, 2.13.
func ike2Plus(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.IKE2PRFPlusParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	f, err := prfOf(p.PRF, d.Base)
	if err != nil {
		return nil, err
	}
	seed, err := namedValue(d, p.HasSeedKey, p.SeedKey)
	if err != nil {
		return nil, err
	}
	if len(seed)+len(p.SeedData) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "no seed")
	}
	return chained(d, f, func(before []byte, i byte) [][]byte { return [][]byte{before, seed, p.SeedData, {i}} })
}

// ike1Extended is RFC 2409, appendix B, and 5.5 (quick mode).
func ike1Extended(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.IKE1ExtendedParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	f, err := prfOf(p.PRF, d.Base)
	if err != nil {
		return nil, err
	}
	gxy, err := namedValue(d, p.HasKeyGXY, p.KeyGXY)
	if err != nil {
		return nil, err
	}
	size := d.Sizes[0]
	if !p.HasKeyGXY && len(p.ExtraData) == 0 && size > 0 && size <= f.size {
		base, err := value(d.Base)
		if err != nil {
			return nil, err
		}
		out, err := cut(append([]byte{}, base...), size)
		if err != nil {
			return nil, err
		}
		return mech.One(out), nil
	}
	zero := []byte(nil)
	if !p.HasKeyGXY && len(p.ExtraData) == 0 {
		zero = []byte{0}
	}
	return chained(d, f, func(before []byte, i byte) [][]byte {
		if i == 1 {
			return [][]byte{gxy, p.ExtraData, zero}
		}
		return [][]byte{before, gxy, p.ExtraData}
	})
}

// chained joins outputs, of which each goes into the next; i counts them from 1, to 255.
func chained(d *mech.Derivation, f *prf, input func(before []byte, i byte) [][]byte) (*mech.Derived, error) {
	size := d.Sizes[0]
	switch most := min(255*f.size, maxBytes); {
	case size == 0:
		return nil, errNoLength
	case size < 0 || size > most:
		return nil, tooLong(size, most)
	}
	whole := make([]byte, 0, blocks(size, f.size)*f.size)
	var before []byte
	for i := 1; len(whole) < size; i++ {
		out, err := f.sum(input(before, byte(i))...)
		if err != nil {
			secret.Wipe(whole)
			return nil, err
		}
		at := len(whole)
		whole = append(whole, out...)
		secret.Wipe(out)
		before = whole[at:]
	}
	out, err := cut(whole, size)
	if err != nil {
		return nil, err
	}
	return mech.One(out), nil
}
