package main

import (
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// usual is the mechanism that is taken for a type of key where --mechanism does not say. Verify and decrypt take what
// sign and encrypt take.
var usual = []struct {
	key  pkcs11.KeyType
	kind hsm.OpKind
	m    pkcs11.MechanismType
}{
	{pkcs11.CKK_RSA, hsm.OpSign, pkcs11.CKM_SHA256_RSA_PKCS},
	{pkcs11.CKK_EC, hsm.OpSign, pkcs11.CKM_ECDSA_SHA256},
	{pkcs11.CKK_EC_EDWARDS, hsm.OpSign, pkcs11.CKM_EDDSA},
	{pkcs11.CKK_ML_DSA, hsm.OpSign, pkcs11.CKM_ML_DSA},
	{pkcs11.CKK_SLH_DSA, hsm.OpSign, pkcs11.CKM_SLH_DSA},
	{pkcs11.CKK_HSS, hsm.OpSign, pkcs11.CKM_HSS},
	{pkcs11.CKK_GENERIC_SECRET, hsm.OpSign, pkcs11.CKM_SHA256_HMAC},
	{pkcs11.CKK_SHA_1_HMAC, hsm.OpSign, pkcs11.CKM_SHA_1_HMAC},
	{pkcs11.CKK_SHA224_HMAC, hsm.OpSign, pkcs11.CKM_SHA224_HMAC},
	{pkcs11.CKK_SHA256_HMAC, hsm.OpSign, pkcs11.CKM_SHA256_HMAC},
	{pkcs11.CKK_SHA384_HMAC, hsm.OpSign, pkcs11.CKM_SHA384_HMAC},
	{pkcs11.CKK_SHA512_HMAC, hsm.OpSign, pkcs11.CKM_SHA512_HMAC},
	{pkcs11.CKK_AES, hsm.OpSign, pkcs11.CKM_AES_CMAC},
	{pkcs11.CKK_AES, hsm.OpEncrypt, pkcs11.CKM_AES_GCM},
	{pkcs11.CKK_RSA, hsm.OpEncrypt, pkcs11.CKM_RSA_PKCS_OAEP},
}

// sameAs maps an operation to the one in the table above.
var sameAs = map[hsm.OpKind]hsm.OpKind{hsm.OpVerify: hsm.OpSign, hsm.OpDecrypt: hsm.OpEncrypt}

// chooseMechanism reads --mechanism, or takes the usual one for the key.
func chooseMechanism(name string, o object, kind hsm.OpKind) (pkcs11.MechanismType, error) {
	if name != "" {
		return parseMechanism(name)
	}
	base := kind
	if other, ok := sameAs[kind]; ok {
		base = other
	}
	for _, u := range usual {
		if u.key == o.keyType() && u.kind == base {
			return u.m, nil
		}
	}
	return 0, usage("a key of type %s has no usual mechanism to %s with", "give one with --mechanism, if there is any: coffer mechanisms", o.typeName(), kind)
}

// parseMechanism takes the standard's name, in any case, with or without CKM_, with - or _.
func parseMechanism(name string) (pkcs11.MechanismType, error) {
	full := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if !strings.HasPrefix(full, "CKM_") {
		full = "CKM_" + full
	}
	if m, ok := pkcs11.ParseMechanism(full); ok {
		return m, nil
	}
	return 0, usage("the mechanism %q is not known", "coffer mechanisms lists what there is", name)
}

// hashRow is a digest; word is how mechanisms name it.
type hashRow struct {
	word string
	hash pkcs11.MechanismType
	mgf  pkcs11.MGFType
	size uint
}

// hashes are the digests that PSS and OAEP can take.
var hashes = []hashRow{
	{"SHA256", pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32},
	{"SHA1", pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, 20},
	{"SHA224", pkcs11.CKM_SHA224, pkcs11.CKG_MGF1_SHA224, 28},
	{"SHA384", pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48},
	{"SHA512", pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, 64},
	{"SHA3_224", pkcs11.CKM_SHA3_224, pkcs11.CKG_MGF1_SHA3_224, 28},
	{"SHA3_256", pkcs11.CKM_SHA3_256, pkcs11.CKG_MGF1_SHA3_256, 32},
	{"SHA3_384", pkcs11.CKM_SHA3_384, pkcs11.CKG_MGF1_SHA3_384, 48},
	{"SHA3_512", pkcs11.CKM_SHA3_512, pkcs11.CKG_MGF1_SHA3_512, 64},
}

const (
	gcmIV      = 12 // bytes; SP 800-38D, 8.2.2: random IVs
	gcmTagBits = 128
	blockIV    = 16
)

// ivLen is how many random bytes stand in front of what encrypt writes.
func ivLen(m pkcs11.MechanismType) int {
	switch m.ParamKind() {
	case pkcs11.ParamGCM:
		return gcmIV
	case pkcs11.ParamCTR:
		return blockIV
	case pkcs11.ParamIV:
		return m.IVLen()
	}
	return 0
}

// parameterOf makes the parameter of a mechanism. hash is for OAEP; iv has the length that ivLen says.
func parameterOf(m pkcs11.MechanismType, hash string, iv []byte) (pkcs11.Mechanism, error) {
	mech := pkcs11.Mechanism{Type: m}
	switch m.ParamKind() {
	case pkcs11.ParamNone:
	case pkcs11.ParamIV:
		mech.Params = pkcs11.IV(iv)
	case pkcs11.ParamGCM:
		mech.Params = &pkcs11.GCMParams{IV: iv, IVBits: uint(len(iv)) * 8, TagBits: gcmTagBits}
	case pkcs11.ParamCTR:
		p := &pkcs11.CTRParams{CounterBits: 128}
		copy(p.CB[:], iv)
		mech.Params = p
	case pkcs11.ParamOAEP:
		h, ok := hashNamed(strings.ToUpper(strings.ReplaceAll(hash, "-", "_")))
		if !ok {
			return mech, usage("the hash %q is not known", "such as --hash SHA256 or SHA1", hash)
		}
		mech.Params = &pkcs11.OAEPParams{HashAlg: h.hash, MGF: h.mgf, Source: pkcs11.CKZ_DATA_SPECIFIED}
	case pkcs11.ParamPSS:
		// CKM_SHA256_RSA_PKCS_PSS and its siblings have the hash in their names.
		h, ok := hashNamed(strings.TrimSuffix(strings.TrimPrefix(m.String(), "CKM_"), "_RSA_PKCS_PSS"))
		if !ok {
			return mech, usage("%v takes a hash value, not data", "use a mechanism that hashes, such as SHA256_RSA_PKCS_PSS", m)
		}
		mech.Params = &pkcs11.PSSParams{HashAlg: h.hash, MGF: h.mgf, SaltLen: h.size}
	default:
		if !m.ParamOptional() {
			return mech, usage("%v needs a parameter that this command cannot give", "use it through the library", m)
		}
	}
	return mech, nil
}

func hashNamed(word string) (hashRow, bool) {
	i := slices.IndexFunc(hashes, func(h hashRow) bool { return h.word == word })
	if i < 0 {
		return hashRow{}, false
	}
	return hashes[i], true
}
