package kdf

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// genericOnly are the keys of TLS: bytes.
var genericOnly = []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET}

// masterSize is the length of a master secret, and of the premaster secret of RSA (RFC 5246, 8.1 and 7.4.7.1).
const masterSize = 48

// tlsRows are the derivations of TLS 1.2 (PKCS#11 v3.2, TLS 1.2 mechanisms). The hash is a parameter; the functions of TLS
// 1.0 and 1.1, which the parameter could ask for, are not there.
var tlsRows = []mech.Mechanism{
	{Type: pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, OneWay: true,
		DeriveKeys: master(true), Plan: planMaster},
	{Type: pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH, KeyTypes: genericOnly, Min: 1, Max: maxKey, OneWay: true,
		DeriveKeys: master(false), Plan: planMaster},
	{Type: pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, OneWay: true,
		DeriveKeys: extendedMaster(true), Plan: planMaster},
	{Type: pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, KeyTypes: genericOnly, Min: 1, Max: maxKey, OneWay: true,
		DeriveKeys: extendedMaster(false), Plan: planMaster},
	{Type: pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, ByName: true,
		DeriveKeys: keyBlock(true), Plan: planKeyBlock},
	{Type: pkcs11.CKM_TLS12_KEY_SAFE_DERIVE, KeyTypes: genericOnly, Min: masterSize, Max: masterSize,
		DeriveKeys: keyBlock(false), Plan: planKeyBlock},
	{Type: pkcs11.CKM_TLS_KDF, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, DeriveKeys: export},
	{Type: pkcs11.CKM_TLS12_KDF, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, DeriveKeys: export},
	{Type: pkcs11.CKM_TLS_MAC, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, Sign: signFinished, Verify: verifyFinished},
	{Type: pkcs11.CKM_TLS12_MAC, KeyTypes: genericOnly, Min: masterSize, Max: masterSize, Sign: signFinished, Verify: verifyFinished},
}

// tlsHash returns the hash that a parameter names.
func tlsHash(m pkcs11.MechanismType) (*hashes.Hash, error) {
	h := hashes.ByMechanism(m)
	if h == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v is no hash", m)
	}
	return h, nil
}

// tlsPRF is the pseudorandom function of TLS 1.2 (RFC 5246, 5) over an HMAC under the secret: size bytes for a label and
// seeds. What it is made of, A(i) and outputs, is wiped.
func tlsPRF(f *prf, size int, label string, seeds ...[]byte) []byte {
	said := append([][]byte{nil, []byte(label)}, seeds...)
	write := func(first []byte) []byte {
		said[0] = first
		block, _ := f.sum(said...) // never fails
		return block
	}
	out := make([]byte, 0, size+f.size)
	a := write(nil) // A(1)
	for len(out) < size {
		block := write(a)
		out = append(out, block...)
		secret.Wipe(block)
		before := a
		a, _ = f.sum(before) // never fails
		secret.Wipe(before)
	}
	secret.Wipe(a)
	secret.Wipe(out[size:cap(out)])
	return out[:size:size]
}

// ofMaster is what a master secret is for (PKCS#11 v3.2, Master key derivation).
var ofMaster = []pkcs11.MechanismType{
	pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE, pkcs11.CKM_TLS_KDF, pkcs11.CKM_TLS_MAC,
	pkcs11.CKM_TLS12_KDF, pkcs11.CKM_TLS12_MAC,
}

// planMaster says that a master secret is a generic secret, which derives keys of a connection and nothing else. A template
// may allow less, and no more.
func planMaster(_ any, t pkcs11.Template) ([]mech.Planned, error) {
	p := mech.Planned{Template: t, Fixed: true, Class: pkcs11.CKO_SECRET_KEY, Type: pkcs11.CKK_GENERIC_SECRET, Size: masterSize}
	v, said := t.Get(pkcs11.CKA_ALLOWED_MECHANISMS)
	if !said {
		p.Template = append(slices.Clip(t), pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, slices.Clone(ofMaster)))
		return []mech.Planned{p}, nil
	}
	asked, _ := v.([]pkcs11.MechanismType) // of another type it is refused with the rest of the template
	for _, m := range asked {
		if !slices.Contains(ofMaster, m) {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_ALLOWED_MECHANISMS names %v, which a master secret is not for", m)
		}
	}
	return []mech.Planned{p}, nil
}

// makeMaster makes a master secret. The version stands in the premaster secret of RSA, and in no other.
func makeMaster(d *mech.Derivation, withVersion bool, version pkcs11.Output, m pkcs11.MechanismType, label string, seeds ...[]byte) (*mech.Derived, error) {
	h, err := tlsHash(m)
	if err != nil {
		return nil, err
	}
	base, err := value(d.Base)
	switch {
	case err != nil:
		return nil, err
	case withVersion && len(base) != masterSize:
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a premaster secret of %d bytes, want %d", len(base), masterSize)
	case !withVersion && version.Wanted:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "this premaster secret has no version: pVersion must be NULL")
	case d.Sizes[0] != 0 && d.Sizes[0] != masterSize:
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN is %d, a master secret has %d bytes", d.Sizes[0], masterSize)
	}
	made := mech.One(tlsPRF(hmacUnder(h, base), masterSize, label, seeds...))
	made.Outputs = make([][]byte, 1)
	if version.Wanted {
		made.Outputs[0] = append([]byte{}, base[:2]...)
	}
	return made, nil
}

func checkRandom(r *pkcs11.SSL3RandomData) error {
	if len(r.Client) == 0 || len(r.Server) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d and %d bytes of random data", len(r.Client), len(r.Server))
	}
	return nil
}

func master(withVersion bool) func(d *mech.Derivation) (*mech.Derived, error) {
	return func(d *mech.Derivation) (*mech.Derived, error) {
		p, ok := d.Param.(*pkcs11.TLS12MasterKeyDeriveParams)
		if !ok || p == nil {
			return nil, wrongParam(d.Param)
		}
		if err := checkRandom(&p.Random); err != nil {
			return nil, err
		}
		return makeMaster(d, withVersion, p.Version, p.Hash, "master secret", p.Random.Client, p.Random.Server)
	}
}

// extendedMaster is RFC 7627, 4.
func extendedMaster(withVersion bool) func(d *mech.Derivation) (*mech.Derived, error) {
	return func(d *mech.Derivation) (*mech.Derived, error) {
		p, ok := d.Param.(*pkcs11.TLS12ExtendedMasterKeyDeriveParams)
		if !ok || p == nil {
			return nil, wrongParam(d.Param)
		}
		if len(p.SessionHash) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the session hash is empty")
		}
		return makeMaster(d, withVersion, p.Version, p.Hash, "extended master secret", p.SessionHash)
	}
}

// export is the exporter of RFC 5705. A context has its length before it; one of no bytes is none (PKCS#11 v3.2,
// CK_TLS_KDF_PARAMS).
func export(d *mech.Derivation) (*mech.Derived, error) {
	p, ok := d.Param.(*pkcs11.TLSKDFParams)
	if !ok || p == nil {
		return nil, wrongParam(d.Param)
	}
	if err := checkRandom(&p.Random); err != nil {
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
	size := d.Sizes[0]
	switch {
	case len(p.Label) == 0 || len(p.Context) > 0xffff:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a label of %d bytes, a context of %d", len(p.Label), len(p.Context))
	case size == 0:
		return nil, errNoLength
	case size < 0 || size > maxBytes:
		return nil, tooLong(size, maxBytes)
	}
	seeds := [][]byte{p.Random.Client, p.Random.Server}
	if len(p.Context) > 0 {
		seeds = append(seeds, []byte{byte(len(p.Context) >> 8), byte(len(p.Context))}, p.Context)
	}
	return mech.One(tlsPRF(hmacUnder(h, base), size, string(p.Label), seeds...)), nil
}
