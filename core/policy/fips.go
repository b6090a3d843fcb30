package policy

import (
	"bytes"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// What is approved by FIPS 140-3's lists (SP 800-140C and D): SP 800-131A Rev. 2 with the transitions that have passed,
// FIPS 180-4, 186-5, 198-1, 202, 203, 204, 205, SP 800-38A, B, D and F, 56A, 56B, 56C, 108, 132.

const (
	sign    = pkcs11.CKF_SIGN | pkcs11.CKF_VERIFY
	verify  = pkcs11.CKF_VERIFY // of old signatures
	crypt   = pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT
	decrypt = pkcs11.CKF_DECRYPT
	wrap    = pkcs11.CKF_WRAP | pkcs11.CKF_UNWRAP
	digest  = pkcs11.CKF_DIGEST
	derive  = pkcs11.CKF_DERIVE
	key     = pkcs11.CKF_GENERATE
	pair    = pkcs11.CKF_GENERATE_KEY_PAIR
	kem     = pkcs11.CKF_ENCAPSULATE | pkcs11.CKF_DECAPSULATE
)

// approved says which operations of a mechanism are approved. What is not here is not.
//
// AES-GCM encrypts under a nonce that the caller chooses, which SP 800-38D, 8.2 leaves to the module: decryption only. In
// CloudHSM's form the token draws it, as 8.2.2 has it.
// Keys are wrapped by the methods of SP 800-38F and by OAEP, not by plain encryption. Raw ECDSA and PKCS #1 v1.5 take
// digests: that they are of an approved hash is the caller's to see to.
var approved = map[pkcs11.MechanismType]pkcs11.Flags{
	pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN: pair,
	pkcs11.CKM_RSA_PKCS:              sign,
	pkcs11.CKM_RSA_PKCS_PSS:          sign,
	pkcs11.CKM_RSA_PKCS_OAEP:         crypt | wrap | kem,
	pkcs11.CKM_RSA_AES_KEY_WRAP:      wrap,
	pkcs11.CKM_SHA1_RSA_PKCS:         verify,
	pkcs11.CKM_SHA1_RSA_PKCS_PSS:     verify,
	pkcs11.CKM_SHA224_RSA_PKCS:       sign,
	pkcs11.CKM_SHA256_RSA_PKCS:       sign,
	pkcs11.CKM_SHA384_RSA_PKCS:       sign,
	pkcs11.CKM_SHA512_RSA_PKCS:       sign,
	pkcs11.CKM_SHA3_224_RSA_PKCS:     sign,
	pkcs11.CKM_SHA3_256_RSA_PKCS:     sign,
	pkcs11.CKM_SHA3_384_RSA_PKCS:     sign,
	pkcs11.CKM_SHA3_512_RSA_PKCS:     sign,
	pkcs11.CKM_SHA224_RSA_PKCS_PSS:   sign,
	pkcs11.CKM_SHA256_RSA_PKCS_PSS:   sign,
	pkcs11.CKM_SHA384_RSA_PKCS_PSS:   sign,
	pkcs11.CKM_SHA512_RSA_PKCS_PSS:   sign,
	pkcs11.CKM_SHA3_224_RSA_PKCS_PSS: sign,
	pkcs11.CKM_SHA3_256_RSA_PKCS_PSS: sign,
	pkcs11.CKM_SHA3_384_RSA_PKCS_PSS: sign,
	pkcs11.CKM_SHA3_512_RSA_PKCS_PSS: sign,

	pkcs11.CKM_EC_KEY_PAIR_GEN:         pair,
	pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN: pair,
	pkcs11.CKM_ECDSA:                   sign,
	pkcs11.CKM_ECDSA_SHA1:              verify,
	pkcs11.CKM_ECDSA_SHA224:            sign,
	pkcs11.CKM_ECDSA_SHA256:            sign,
	pkcs11.CKM_ECDSA_SHA384:            sign,
	pkcs11.CKM_ECDSA_SHA512:            sign,
	pkcs11.CKM_ECDSA_SHA3_224:          sign,
	pkcs11.CKM_ECDSA_SHA3_256:          sign,
	pkcs11.CKM_ECDSA_SHA3_384:          sign,
	pkcs11.CKM_ECDSA_SHA3_512:          sign,
	pkcs11.CKM_EDDSA:                   sign,
	pkcs11.CKM_ECDH1_DERIVE:            derive | kem,
	pkcs11.CKM_ECDH1_COFACTOR_DERIVE:   derive | kem,

	pkcs11.CKM_ML_KEM_KEY_PAIR_GEN:   pair,
	pkcs11.CKM_ML_KEM:                kem,
	pkcs11.CKM_ML_DSA_KEY_PAIR_GEN:   pair,
	pkcs11.CKM_ML_DSA:                sign,
	pkcs11.CKM_HASH_ML_DSA:           sign,
	pkcs11.CKM_HASH_ML_DSA_SHA224:    sign,
	pkcs11.CKM_HASH_ML_DSA_SHA256:    sign,
	pkcs11.CKM_HASH_ML_DSA_SHA384:    sign,
	pkcs11.CKM_HASH_ML_DSA_SHA512:    sign,
	pkcs11.CKM_HASH_ML_DSA_SHA3_224:  sign,
	pkcs11.CKM_HASH_ML_DSA_SHA3_256:  sign,
	pkcs11.CKM_HASH_ML_DSA_SHA3_384:  sign,
	pkcs11.CKM_HASH_ML_DSA_SHA3_512:  sign,
	pkcs11.CKM_HASH_ML_DSA_SHAKE128:  sign,
	pkcs11.CKM_HASH_ML_DSA_SHAKE256:  sign,
	pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN:  pair,
	pkcs11.CKM_SLH_DSA:               sign,
	pkcs11.CKM_HASH_SLH_DSA:          sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA224:   sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA256:   sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA384:   sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA512:   sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA3_224: sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA3_256: sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA3_384: sign,
	pkcs11.CKM_HASH_SLH_DSA_SHA3_512: sign,
	pkcs11.CKM_HASH_SLH_DSA_SHAKE128: sign,
	pkcs11.CKM_HASH_SLH_DSA_SHAKE256: sign,

	pkcs11.CKM_AES_KEY_GEN:      key,
	pkcs11.CKM_AES_ECB:          crypt,
	pkcs11.CKM_AES_CBC:          crypt,
	pkcs11.CKM_AES_CBC_PAD:      crypt,
	pkcs11.CKM_AES_CTR:          crypt,
	pkcs11.CKM_AES_OFB:          crypt,
	pkcs11.CKM_AES_CFB8:         crypt,
	pkcs11.CKM_AES_CFB128:       crypt,
	pkcs11.CKM_AES_GCM:          decrypt,
	pkcs11.CKM_AES_CMAC:         sign,
	pkcs11.CKM_AES_CMAC_GENERAL: sign,
	pkcs11.CKM_AES_KEY_WRAP:     crypt | wrap,
	pkcs11.CKM_AES_KEY_WRAP_KWP: crypt | wrap,
	pkcs11.CKM_AES_KEY_WRAP_PAD: crypt | wrap,

	pkcs11.CKM_CLOUDHSM_AES_GCM:               crypt | wrap,
	pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD:   wrap,
	pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD: wrap,

	pkcs11.CKM_GENERIC_SECRET_KEY_GEN: key,
	pkcs11.CKM_SHA_1_KEY_GEN:          key,
	pkcs11.CKM_SHA224_KEY_GEN:         key,
	pkcs11.CKM_SHA256_KEY_GEN:         key,
	pkcs11.CKM_SHA384_KEY_GEN:         key,
	pkcs11.CKM_SHA512_KEY_GEN:         key,
	pkcs11.CKM_SHA512_224_KEY_GEN:     key,
	pkcs11.CKM_SHA512_256_KEY_GEN:     key,
	pkcs11.CKM_SHA3_224_KEY_GEN:       key,
	pkcs11.CKM_SHA3_256_KEY_GEN:       key,
	pkcs11.CKM_SHA3_384_KEY_GEN:       key,
	pkcs11.CKM_SHA3_512_KEY_GEN:       key,

	pkcs11.CKM_SHA_1:      digest,
	pkcs11.CKM_SHA224:     digest,
	pkcs11.CKM_SHA256:     digest,
	pkcs11.CKM_SHA384:     digest,
	pkcs11.CKM_SHA512:     digest,
	pkcs11.CKM_SHA512_224: digest,
	pkcs11.CKM_SHA512_256: digest,
	pkcs11.CKM_SHA3_224:   digest,
	pkcs11.CKM_SHA3_256:   digest,
	pkcs11.CKM_SHA3_384:   digest,
	pkcs11.CKM_SHA3_512:   digest,

	pkcs11.CKM_SHA_1_HMAC:              sign,
	pkcs11.CKM_SHA_1_HMAC_GENERAL:      sign,
	pkcs11.CKM_SHA224_HMAC:             sign,
	pkcs11.CKM_SHA224_HMAC_GENERAL:     sign,
	pkcs11.CKM_SHA256_HMAC:             sign,
	pkcs11.CKM_SHA256_HMAC_GENERAL:     sign,
	pkcs11.CKM_SHA384_HMAC:             sign,
	pkcs11.CKM_SHA384_HMAC_GENERAL:     sign,
	pkcs11.CKM_SHA512_HMAC:             sign,
	pkcs11.CKM_SHA512_HMAC_GENERAL:     sign,
	pkcs11.CKM_SHA512_224_HMAC:         sign,
	pkcs11.CKM_SHA512_224_HMAC_GENERAL: sign,
	pkcs11.CKM_SHA512_256_HMAC:         sign,
	pkcs11.CKM_SHA512_256_HMAC_GENERAL: sign,
	pkcs11.CKM_SHA3_224_HMAC:           sign,
	pkcs11.CKM_SHA3_224_HMAC_GENERAL:   sign,
	pkcs11.CKM_SHA3_256_HMAC:           sign,
	pkcs11.CKM_SHA3_256_HMAC_GENERAL:   sign,
	pkcs11.CKM_SHA3_384_HMAC:           sign,
	pkcs11.CKM_SHA3_384_HMAC_GENERAL:   sign,
	pkcs11.CKM_SHA3_512_HMAC:           sign,
	pkcs11.CKM_SHA3_512_HMAC_GENERAL:   sign,

	pkcs11.CKM_HKDF_DERIVE:                    derive,
	pkcs11.CKM_HKDF_DATA:                      derive,
	pkcs11.CKM_HKDF_KEY_GEN:                   key,
	pkcs11.CKM_SP800_108_COUNTER_KDF:          derive,
	pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF: derive,
	pkcs11.CKM_SP800_108_FEEDBACK_KDF:         derive,
	pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF:  derive,
	pkcs11.CKM_PKCS5_PBKD2:                    key,
}

// Operations are the flags of C_GetMechanismInfo that stand for something that a mechanism does.
const Operations = pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT | pkcs11.CKF_DIGEST | pkcs11.CKF_SIGN | pkcs11.CKF_SIGN_RECOVER |
	pkcs11.CKF_VERIFY | pkcs11.CKF_VERIFY_RECOVER | pkcs11.CKF_GENERATE | pkcs11.CKF_GENERATE_KEY_PAIR | pkcs11.CKF_WRAP |
	pkcs11.CKF_UNWRAP | pkcs11.CKF_DERIVE | pkcs11.CKF_ENCAPSULATE | pkcs11.CKF_DECAPSULATE

// Approved returns the operations of a mechanism that are approved.
func Approved(t pkcs11.MechanismType) pkcs11.Flags { return approved[t] }

// approvedBits are the sizes of keys with a strength of 112 bits (SP 800-57 Part 1, table 2).
var approvedBits = map[pkcs11.KeyType]uint{
	pkcs11.CKK_RSA:             2048,
	pkcs11.CKK_EC:              224,
	pkcs11.CKK_AES:             128,
	pkcs11.CKK_GENERIC_SECRET:  112,
	pkcs11.CKK_HKDF:            112,
	pkcs11.CKK_SHA_1_HMAC:      112,
	pkcs11.CKK_SHA224_HMAC:     112,
	pkcs11.CKK_SHA256_HMAC:     112,
	pkcs11.CKK_SHA384_HMAC:     112,
	pkcs11.CKK_SHA512_HMAC:     112,
	pkcs11.CKK_SHA512_224_HMAC: 112,
	pkcs11.CKK_SHA512_256_HMAC: 112,
	pkcs11.CKK_SHA3_224_HMAC:   112,
	pkcs11.CKK_SHA3_256_HMAC:   112,
	pkcs11.CKK_SHA3_384_HMAC:   112,
	pkcs11.CKK_SHA3_512_HMAC:   112,
}

// approvedCurves are P-224 to P-521 (SP 800-186) by the DER of their names, as CKA_EC_PARAMS has them.
var approvedCurves = [][]byte{
	{6, 5, 0x2b, 0x81, 4, 0, 0x21},
	{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7},
	{6, 5, 0x2b, 0x81, 4, 0, 0x22},
	{6, 5, 0x2b, 0x81, 4, 0, 0x23},
}

// approvedCurve refuses curves that no standard of NIST has. Curve25519 and Curve448 are for signatures only (FIPS 186-5).
func approvedCurve(k Key) error {
	switch k.Type() {
	case pkcs11.CKK_EC_MONTGOMERY:
		return pkcs11.Errorf(pkcs11.CKR_CURVE_NOT_SUPPORTED, "key agreement on a Montgomery curve is not approved")
	case pkcs11.CKK_EC:
		params := k.Bytes(pkcs11.CKA_EC_PARAMS)
		for _, c := range approvedCurves {
			if bytes.Equal(params, c) {
				return nil
			}
		}
		return pkcs11.Errorf(pkcs11.CKR_CURVE_NOT_SUPPORTED, "the curve is not approved; P-224, P-256, P-384 and P-521 are")
	}
	return nil
}

// approvedPSS are the hashes that PSS signs with: each with the mask of the same hash, and with a salt that is not longer than
// the digest (FIPS 186-5, 5.4). Without any salt it would be approved, and Go's module does not do it.
var approvedPSS = map[pkcs11.MechanismType]struct {
	mgf  pkcs11.MGFType
	salt uint // the longest, in bytes
}{
	pkcs11.CKM_SHA224:   {pkcs11.CKG_MGF1_SHA224, 28},
	pkcs11.CKM_SHA256:   {pkcs11.CKG_MGF1_SHA256, 32},
	pkcs11.CKM_SHA384:   {pkcs11.CKG_MGF1_SHA384, 48},
	pkcs11.CKM_SHA512:   {pkcs11.CKG_MGF1_SHA512, 64},
	pkcs11.CKM_SHA3_224: {pkcs11.CKG_MGF1_SHA3_224, 28},
	pkcs11.CKM_SHA3_256: {pkcs11.CKG_MGF1_SHA3_256, 32},
	pkcs11.CKM_SHA3_384: {pkcs11.CKG_MGF1_SHA3_384, 48},
	pkcs11.CKM_SHA3_512: {pkcs11.CKG_MGF1_SHA3_512, 64},
}

// Parameter refuses what is approved but for its parameter: signatures of PSS with another hash, mask or salt.
func (p *Policy) Parameter(flag pkcs11.Flags, param any) error {
	if !p.FIPS || flag != pkcs11.CKF_SIGN {
		return nil
	}
	pss, ok := param.(*pkcs11.PSSParams)
	if !ok || pss == nil {
		return nil
	}
	switch may, known := approvedPSS[pss.HashAlg]; {
	case !known:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a signature over %v is not approved", pss.HashAlg)
	case pss.MGF != may.mgf:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "PSS with %v and MGF %#x: the mask has to be of the same hash", pss.HashAlg, uint(pss.MGF))
	case pss.SaltLen == 0 || pss.SaltLen > may.salt:
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "PSS with %v and a salt of %d bytes, expected 1 to %d", pss.HashAlg, pss.SaltLen, may.salt)
	}
	return nil
}
