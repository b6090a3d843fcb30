package evidence

import (
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Others lists the rows that have no published answer of their own.
func Others() []Instead {
	return []Instead{
		{"its result is random; that what it makes is a key, and never the same one, is tested", "mechtest/case.go:Run", join(
			mechanisms{pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_XTS_KEY_GEN, pkcs11.CKM_CHACHA20_KEY_GEN, pkcs11.CKM_SALSA20_KEY_GEN,
				pkcs11.CKM_POLY1305_KEY_GEN, pkcs11.CKM_DES_KEY_GEN, pkcs11.CKM_DES2_KEY_GEN, pkcs11.CKM_DES3_KEY_GEN,
				pkcs11.CKM_BLOWFISH_KEY_GEN, pkcs11.CKM_TWOFISH_KEY_GEN, pkcs11.CKM_CAST128_KEY_GEN, pkcs11.CKM_RC4_KEY_GEN,
				pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKM_HKDF_KEY_GEN, pkcs11.CKM_SHA512_T_KEY_GEN,
				pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN,
				pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, pkcs11.CKM_DSA_KEY_PAIR_GEN, pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN,
				pkcs11.CKM_X9_42_DH_KEY_PAIR_GEN, pkcs11.CKM_DH_PKCS_PARAMETER_GEN, pkcs11.CKM_X9_42_DH_PARAMETER_GEN},
			of(func(h *hashes.Hash) pkcs11.MechanismType { return h.KeyGen }, nil))},
		{"its result is random; the reduction of a number to a key is held to math/big", "ec/ec_test.go:TestExtraBitsAreReduced",
			mechanisms{pkcs11.CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS}},
		{"its result is random; what it makes is taken as FIPS 186 wants it", "dsa/dsa_test.go:TestParametersThatAreMadeAreTaken",
			mechanisms{pkcs11.CKM_DSA_PARAMETER_GEN}},

		{"SP 800-38A has no CFB64; held to the definition over the block cipher", "aes/newmodes_test.go:TestCFB64", mechanisms{pkcs11.CKM_AES_CFB64}},
		{"CBC, which has answers, and PKCS #7 padding", "aes/vectors_test.go:TestCBCPadding", mechanisms{pkcs11.CKM_AES_CBC_PAD}},
		{"key wrap, which has answers, and PKCS #7 padding; no document has an example", "aes/family_test.go:TestFamily", mechanisms{pkcs11.CKM_AES_KEY_WRAP_PKCS7}},
		{"key wrap, which has answers, and PKCS #5 padding", "aes/cloudhsm_test.go:TestCloudHSMWrapsAreTheStandards", mechanisms{
			pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD}},
		{"CBC, which has answers, and PKCS #7 padding", "des/des_test.go:TestFamily", mechanisms{pkcs11.CKM_DES_CBC_PAD, pkcs11.CKM_DES3_CBC_PAD}},
		{"the row of the mode, which has answers, over the data", "des/des_test.go:TestDerive", mechanisms{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA,
			pkcs11.CKM_DES3_CBC_ENCRYPT_DATA}},
		{"the constructor of Triple DES's row, which is held to its mode, over DES", "des/des_test.go:TestFamily", mechanisms{
			pkcs11.CKM_DES_ECB_ENCRYPT_DATA, pkcs11.CKM_DES_CBC_ENCRYPT_DATA}},
		{"CBC or a CBC-MAC over a block cipher that has answers, by the code that AES and DES use", "old/old_test.go:TestFamily", mechanisms{
			pkcs11.CKM_BLOWFISH_CBC_PAD, pkcs11.CKM_TWOFISH_CBC_PAD, pkcs11.CKM_CAST128_CBC_PAD, pkcs11.CKM_CAST128_MAC, pkcs11.CKM_CAST128_MAC_GENERAL}},

		{"SHA-512/224 and /256, which have answers, are SHA-512/t for their t", "hashes/hashes_test.go:TestSHA512T", mechanisms{pkcs11.CKM_SHA512_T}},
		{"no HMAC over SHA-512/t is published; held to each other here, and by the self-tests to crypto/hmac", "hmac/hmac_test.go:TestTruncated",
			join(mechanisms{pkcs11.CKM_SHA512_T_HMAC}, of(hmac, truncated), of(general, truncated))},
		{"the digest of the key, by the hash that has answers", "hashkdf/hashkdf_test.go:TestKeyIsTheHash", join(
			mechanisms{pkcs11.CKM_SHA512_T_KEY_DERIVATION}, of(func(h *hashes.Hash) pkcs11.MechanismType { return h.KeyDerivation }, nil))},

		{"no padding, so nothing but the operation that those with padding, which have answers, are made of; its halves undo each other", "rsa/rsa_test.go:TestRawRSA", mechanisms{pkcs11.CKM_RSA_X_509}},
		{"PSS, which has answers, over another hash", "rsa/pss_test.go:TestPSSWithEveryHashMGFAndSalt", mechanisms{
			pkcs11.CKM_SHA3_224_RSA_PKCS_PSS, pkcs11.CKM_SHA3_384_RSA_PKCS_PSS, pkcs11.CKM_SHA3_512_RSA_PKCS_PSS}},
		{"CKM_ECDSA, which has answers, over the digest, which has too", "ec/ec_test.go:TestEveryRowKeepsItsPromises", mechanisms{
			pkcs11.CKM_ECDSA_SHA3_224, pkcs11.CKM_ECDSA_SHA3_256, pkcs11.CKM_ECDSA_SHA3_384, pkcs11.CKM_ECDSA_SHA3_512}},
		{"all curves that it takes have the cofactor 1; its self-test holds it to an answer of CKM_ECDH1_DERIVE", "selftest/selftest_test.go:TestAllPass",
			mechanisms{pkcs11.CKM_ECDH1_COFACTOR_DERIVE}},
		{"ECDH and key wrap with padding, which have answers", "ec/ec_test.go:TestAESWrapIsMadeOfItsParts", mechanisms{
			pkcs11.CKM_ECDH_AES_KEY_WRAP, pkcs11.CKM_ECDH_COF_AES_KEY_WRAP, pkcs11.CKM_ECDH_X_AES_KEY_WRAP}},
		{"the constructor of CKM_DSA_SHA256, which has answers, over another hash, which has too", "dsa/dsa_test.go:TestEveryRowKeepsItsPromises", mechanisms{pkcs11.CKM_DSA_SHA1,
			pkcs11.CKM_DSA_SHA384, pkcs11.CKM_DSA_SHA512, pkcs11.CKM_DSA_SHA3_224, pkcs11.CKM_DSA_SHA3_256, pkcs11.CKM_DSA_SHA3_384,
			pkcs11.CKM_DSA_SHA3_512}},
		{"held to OpenSSL; the files of answers give messages, not digests", "dsa/dsa_test.go:TestAgreesWithOpenSSL", mechanisms{pkcs11.CKM_DSA}},
		{"held to OpenSSL", "dh/dh_test.go:TestAgreesWithOpenSSL", mechanisms{pkcs11.CKM_DH_PKCS_DERIVE, pkcs11.CKM_X9_42_DH_DERIVE}},
		{"ML-DSA, which has answers, over a digest: both ways to it give one signature", "mldsa/mldsa_test.go:TestHashingAndDigestAgree",
			join(mechanisms{pkcs11.CKM_HASH_ML_DSA}, preHashes(func(p *postquantum.PreHash) pkcs11.MechanismType { return p.MLDSA }))},
		{"held to the pair that the private key is of", "kdf/topublic_test.go:TestThePublicKeyIsThatOfThePair", mechanisms{pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY}},
	}
}
