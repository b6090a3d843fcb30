// Package dsa is the family of DSA, which FIPS 186-5 lets verify old signatures only: all its rows are legacy. The
// operations with secrets are those of package ff and of filippo.io/bigmod, in constant time; crypto/dsa, whose signatures
// are not, searches for domain parameters here and does nothing else.
package dsa

import (
	"crypto"
	stdlib "crypto/dsa" //nolint:staticcheck // domain parameters alone, see above
	"crypto/rand"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the DSA family.
var Family = mech.Family{Name: "dsa", Mechanisms: rows(), KeyTypes: []mech.KeyType{{
	Type: pkcs11.CKK_DSA, Check: check, MarshalPKCS8: marshalPKCS8, ParsePKCS8: parsePKCS8, PublicKeyInfo: publicKeyInfo,
}}}

// hashed are the mechanisms that hash first.
var hashed = map[crypto.Hash]pkcs11.MechanismType{
	crypto.SHA1: pkcs11.CKM_DSA_SHA1, crypto.SHA224: pkcs11.CKM_DSA_SHA224, crypto.SHA256: pkcs11.CKM_DSA_SHA256,
	crypto.SHA384: pkcs11.CKM_DSA_SHA384, crypto.SHA512: pkcs11.CKM_DSA_SHA512,
	crypto.SHA3_224: pkcs11.CKM_DSA_SHA3_224, crypto.SHA3_256: pkcs11.CKM_DSA_SHA3_256,
	crypto.SHA3_384: pkcs11.CKM_DSA_SHA3_384, crypto.SHA3_512: pkcs11.CKM_DSA_SHA3_512,
}

func rows() []mech.Mechanism {
	all := []mech.Mechanism{
		{Type: pkcs11.CKM_DSA_KEY_PAIR_GEN, GeneratePair: generate},
		{Type: pkcs11.CKM_DSA_PARAMETER_GEN, Generate: parameters, Parameters: true},
		{Type: pkcs11.CKM_DSA, OnePart: true, Sign: sign(nil), Verify: verify(nil)},
	}
	for _, h := range hashes.All {
		if m := hashed[h.ID]; m != 0 {
			all = append(all, mech.Mechanism{Type: m, Hash: h.ID, Sign: sign(h), Verify: verify(h)})
		}
	}
	for i := range all {
		all[i].KeyTypes, all[i].Min, all[i].Max, all[i].Legacy = []pkcs11.KeyType{pkcs11.CKK_DSA}, minBits, maxBits, true
	}
	return all
}

// The primes of FIPS 186-4, 4.2.
const minBits, maxBits = 1024, 3072

var sizes = map[[2]uint]stdlib.ParameterSizes{
	{1024, 160}: stdlib.L1024N160, {2048, 224}: stdlib.L2048N224, {2048, 256}: stdlib.L2048N256, {3072, 256}: stdlib.L3072N256,
}

func noParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}

// generate makes a pair in the group of the public template. PKCS#11 v3.2, DSA key pair generation.
func generate(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := noParam(param); err != nil {
		return nil, nil, err
	}
	g, err := group(public.Bytes)
	if err != nil {
		return nil, nil, err
	}
	x, y, err := g.Generate(0)
	if err != nil {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
	}
	return append(domain(g), pkcs11.Attr(pkcs11.CKA_VALUE, y)), append(domain(g), pkcs11.Attr(pkcs11.CKA_VALUE, x)), nil
}

// parameters searches for primes, which takes a second or some. PKCS#11 v3.2, DSA domain parameter generation.
func parameters(param any, template pkcs11.Template) (pkcs11.Template, error) {
	if err := noParam(param); err != nil {
		return nil, err
	}
	bits, ok := template.Uint(pkcs11.CKA_PRIME_BITS)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_PRIME_BITS is needed")
	}
	sub, said := template.Uint(pkcs11.CKA_SUBPRIME_BITS)
	if !said {
		sub = 256
		if bits == minBits {
			sub = 160
		}
	}
	size, ok := sizes[[2]uint{bits, sub}]
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "primes of %d and %d bits; FIPS 186-4 has 1024 and 160, 2048 and 224, 2048 and 256, 3072 and 256", bits, sub)
	}
	var p stdlib.Parameters
	if err := stdlib.GenerateParameters(&p, rand.Reader, size); err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "domain parameters: %w", err)
	}
	return pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_PRIME, p.P.Bytes()), pkcs11.Attr(pkcs11.CKA_SUBPRIME, p.Q.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, p.G.Bytes()),
		pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, bits), pkcs11.AttrUlong(pkcs11.CKA_SUBPRIME_BITS, sub),
	}, nil
}
