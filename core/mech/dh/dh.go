// Package dh is the family of Diffie-Hellman over prime fields: PKCS #3 (CKK_DH) and ANSI X9.42 (CKK_X9_42_DH), whose
// domain parameters say the order of the subgroup as well. The arithmetic is that of package ff.
//
// Domain parameters are checked wherever they come in, and other parties' public values before they are used. New ones are
// not searched for: "generating" them gives the group of RFC 7919 of that length, a safe prime that everybody knows.
package dh

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the Diffie-Hellman family.
var Family = mech.Family{Name: "dh", Mechanisms: rows(), KeyTypes: keyTypes()}

func rows() []mech.Mechanism {
	pkcs, x942 := []pkcs11.KeyType{pkcs11.CKK_DH}, []pkcs11.KeyType{pkcs11.CKK_X9_42_DH}
	all := []mech.Mechanism{
		{Type: pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN, KeyTypes: pkcs, GeneratePair: generate(pkcs11.CKK_DH)},
		{Type: pkcs11.CKM_DH_PKCS_DERIVE, KeyTypes: pkcs, Derive: derive},
		{Type: pkcs11.CKM_DH_PKCS_PARAMETER_GEN, KeyTypes: pkcs, Generate: parameters(pkcs11.CKK_DH), Parameters: true},
		{Type: pkcs11.CKM_X9_42_DH_KEY_PAIR_GEN, KeyTypes: x942, GeneratePair: generate(pkcs11.CKK_X9_42_DH)},
		{Type: pkcs11.CKM_X9_42_DH_DERIVE, KeyTypes: x942, Derive: deriveX942},
		{Type: pkcs11.CKM_X9_42_DH_PARAMETER_GEN, KeyTypes: x942, Generate: parameters(pkcs11.CKK_X9_42_DH), Parameters: true},
	}
	for i := range all {
		all[i].Min, all[i].Max = ff.MinBits, ff.MaxBits
	}
	return all
}

func noParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}

// generate makes a pair in the group of the public template. PKCS#11 v3.2, PKCS #3 and X9.42 Diffie-Hellman key pair
// generation. CKA_VALUE_BITS of the private template is the length of the private value.
func generate(kt pkcs11.KeyType) func(param any, public, private pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	return func(param any, public, private pkcs11.Template) (pub, priv pkcs11.Template, err error) {
		if err := noParam(param); err != nil {
			return nil, nil, err
		}
		g, err := group(kt, public.Bytes)
		if err != nil {
			return nil, nil, err
		}
		bits, said := private.Uint(pkcs11.CKA_VALUE_BITS)
		if said && (bits < 224 || bits > g.Bits) {
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE_BITS is %d, expected 224 to the length of the prime", bits)
		}
		x, y, err := g.Generate(bits)
		if err != nil {
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
		}
		pub = append(domain(g, kt), pkcs11.Attr(pkcs11.CKA_VALUE, y))
		priv = append(domain(g, kt), pkcs11.Attr(pkcs11.CKA_VALUE, x))
		if kt == pkcs11.CKK_DH {
			priv = append(priv, pkcs11.AttrUlong(pkcs11.CKA_VALUE_BITS, uint(8*len(x))))
		}
		return pub, priv, nil
	}
}

// parameters gives the group of RFC 7919 with a prime of CKA_PRIME_BITS.
func parameters(kt pkcs11.KeyType) func(param any, template pkcs11.Template) (pkcs11.Template, error) {
	return func(param any, template pkcs11.Template) (pkcs11.Template, error) {
		if err := noParam(param); err != nil {
			return nil, err
		}
		bits, ok := template.Uint(pkcs11.CKA_PRIME_BITS)
		if !ok {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PRIME_BITS is needed")
		}
		g := ff.Named(bits)
		if g == nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_PRIME_BITS is %d; there are groups of 2048, 3072, 4096, 6144 and 8192 bits", bits)
		}
		made := append(domain(g, kt), pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, bits))
		if kt == pkcs11.CKK_X9_42_DH {
			if sub, said := template.Uint(pkcs11.CKA_SUBPRIME_BITS); said && sub != bits-1 {
				return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SUBPRIME_BITS is %d; the subgroup of a safe prime has %d bits", sub, bits-1)
			}
			made = append(made, pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, bits-1))
		}
		return made, nil
	}
}

// derive is PKCS #3: the parameter is the other party's public value.
func derive(k mech.Key, param any, size int) ([]byte, error) {
	y, ok := param.(pkcs11.IV)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the other party's public value is needed, got %T", param)
	}
	z, err := agree(k, y)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(z)
	return last(z, size)
}

// deriveX942 is X9.42 with one key on each side and one of the key derivation functions. CKD_SHA1_KDF_ASN1, which changes
// a counter inside of what the caller encoded, is not one of them; CKD_SHA1_KDF_CONCATENATE is ECDH's CKD_SHA1_KDF.
func deriveX942(k mech.Key, param any, size int) ([]byte, error) {
	p, ok := param.(*pkcs11.X942DH1DeriveParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "X9.42 needs CK_X9_42_DH1_DERIVE_PARAMS, got %T", param)
	}
	kdf := pkcs11.KDFType(p.KDF)
	if kdf == pkcs11.CKD_SHA1_KDF_CONCATENATE {
		kdf = pkcs11.CKD_SHA1_KDF
	}
	h := hashes.ByKDF(kdf)
	if h == nil && (kdf != pkcs11.CKD_NULL || len(p.OtherInfo) > 0) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "key derivation function %#x, with %d bytes of other information", uint(p.KDF), len(p.OtherInfo))
	}
	z, err := agree(k, p.PublicData)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(z)
	if h == nil {
		return last(z, size)
	}
	if size == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is needed: the key derivation function gives any length")
	}
	return h.DeriveX963(z, p.OtherInfo, size)
}

// agree returns the shared secret, as long as the prime.
func agree(k mech.Key, y []byte) ([]byte, error) {
	key, err := privateOf(k)
	if err != nil {
		return nil, err
	}
	z, err := key.group.Agree(key.x, y)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the other party's public value: %w", err)
	}
	return z, nil
}

// last gives the last bytes of a secret if fewer are wanted.
func last(z []byte, size int) ([]byte, error) {
	if size == 0 {
		size = len(z)
	}
	if size < 0 || size > len(z) {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bytes wanted, the shared secret has %d", size, len(z))
	}
	return append([]byte{}, z[len(z)-size:]...), nil
}
