package evidence

import (
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Published lists the known answers that the tests of the families check.
func Published() []Vectors {
	return []Vectors{
		{File: "aes/testdata/sp800-38a.txt", For: mechanisms{pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_CBC, pkcs11.CKM_AES_CTR, pkcs11.CKM_AES_OFB,
			pkcs11.CKM_AES_CFB1, pkcs11.CKM_AES_CFB8, pkcs11.CKM_AES_CFB128, pkcs11.CKM_AES_MAC, pkcs11.CKM_AES_MAC_GENERAL,
			pkcs11.CKM_AES_ECB_ENCRYPT_DATA, pkcs11.CKM_AES_CBC_ENCRYPT_DATA}},
		{File: "aes/testdata/gcm.txt", For: mechanisms{pkcs11.CKM_AES_GCM, pkcs11.CKM_CLOUDHSM_AES_GCM}},
		{File: "aes/newmodes_test.go", For: mechanisms{pkcs11.CKM_AES_GMAC}},
		{File: "aes/testdata/ccm.txt", For: mechanisms{pkcs11.CKM_AES_CCM}},
		{File: "aes/testdata/keywrap.txt", For: mechanisms{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP_KWP, pkcs11.CKM_AES_KEY_WRAP_PAD,
			pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD}},
		{File: "aes/testdata/cmac.txt", For: mechanisms{pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_CMAC_GENERAL}},
		{File: "aes/testdata/xcbc.txt", For: mechanisms{pkcs11.CKM_AES_XCBC_MAC, pkcs11.CKM_AES_XCBC_MAC_96}},
		{File: "aes/testdata/cts.txt", For: mechanisms{pkcs11.CKM_AES_CTS}},
		{File: "aes/testdata/xts.txt", For: mechanisms{pkcs11.CKM_AES_XTS}},

		{File: "chacha/testdata/chacha20.txt", For: mechanisms{pkcs11.CKM_CHACHA20}},
		{File: "chacha/testdata/openssl.txt", For: mechanisms{pkcs11.CKM_CHACHA20}},
		{File: "chacha/testdata/aead.txt", For: mechanisms{pkcs11.CKM_CHACHA20_POLY1305}},
		{File: "chacha/testdata/poly1305.txt", For: mechanisms{pkcs11.CKM_POLY1305}},
		{File: "chacha/testdata/salsa20.txt", For: mechanisms{pkcs11.CKM_SALSA20}},

		{File: "des/testdata/fips81.txt", For: mechanisms{pkcs11.CKM_DES_ECB, pkcs11.CKM_DES_CBC, pkcs11.CKM_DES_OFB64, pkcs11.CKM_DES_OFB8,
			pkcs11.CKM_DES_CFB64, pkcs11.CKM_DES_CFB8}},
		{File: "des/testdata/tdea.txt", For: mechanisms{pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC}},
		{File: "des/testdata/cmac.txt", For: mechanisms{pkcs11.CKM_DES3_CMAC, pkcs11.CKM_DES3_CMAC_GENERAL}},
		{File: "des/des_test.go", For: mechanisms{pkcs11.CKM_DES_MAC, pkcs11.CKM_DES_MAC_GENERAL, pkcs11.CKM_DES3_MAC, pkcs11.CKM_DES3_MAC_GENERAL}},
		{File: "old/testdata/blocks.txt", For: mechanisms{pkcs11.CKM_BLOWFISH_CBC, pkcs11.CKM_CAST128_ECB, pkcs11.CKM_CAST128_CBC, pkcs11.CKM_TWOFISH_CBC}},
		{File: "old/testdata/rc4.txt", For: mechanisms{pkcs11.CKM_RC4}},

		{File: "digest/digest_test.go", For: of(digest, func(h *hashes.Hash) bool { return !isKeyed(h) || h.Mechanism == pkcs11.CKM_BLAKE2B_512 })},
		{File: "hashes/testdata/blake2b.txt", For: join(of(digest, isKeyed), of(hmac, isKeyed), of(general, isKeyed))},
		{File: "hmac/testdata/hmac.txt", For: join(of(hmac, hashedHMAC), of(general, hashedHMAC))},
		{File: "hashkdf/testdata/shake.txt", For: mechanisms{pkcs11.CKM_SHAKE_128_KEY_DERIVATION, pkcs11.CKM_SHAKE_256_KEY_DERIVATION}},

		{File: "rsa/testdata/pss.txt", Answer: `sig = `, For: mechanisms{pkcs11.CKM_SHA1_RSA_PKCS_PSS}},
		{File: "rsa/testdata/oaep.txt", Answer: `ciphertext = `, For: mechanisms{pkcs11.CKM_RSA_PKCS_OAEP}},
		{File: "rsa/testdata/openssl.txt", Answer: `(pkcs1|pss|oaep|encrypt|sign|aeswrap) `, For: join(
			mechanisms{pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_RSA_AES_KEY_WRAP}, of(func(h *hashes.Hash) pkcs11.MechanismType { return h.RSAPKCS }, nil),
			mechanisms{pkcs11.CKM_SHA224_RSA_PKCS_PSS, pkcs11.CKM_SHA256_RSA_PKCS_PSS, pkcs11.CKM_SHA384_RSA_PKCS_PSS,
				pkcs11.CKM_SHA512_RSA_PKCS_PSS, pkcs11.CKM_SHA3_256_RSA_PKCS_PSS})},

		{File: "ec/testdata/ecdsa.txt", Answer: `result = `, For: mechanisms{pkcs11.CKM_ECDSA, pkcs11.CKM_ECDSA_SHA1, pkcs11.CKM_ECDSA_SHA224,
			pkcs11.CKM_ECDSA_SHA256, pkcs11.CKM_ECDSA_SHA384, pkcs11.CKM_ECDSA_SHA512}},
		{File: "ec/testdata/short_ecdsa.txt", Answer: `result = `, For: mechanisms{pkcs11.CKM_ECDSA_SHA224, pkcs11.CKM_ECDSA_SHA256, pkcs11.CKM_ECDSA_SHA384,
			pkcs11.CKM_ECDSA_SHA512}},
		{File: "ec/testdata/ecdh.txt", Answer: `(z|x963 \S+|sskdf \S+) = `, For: mechanisms{pkcs11.CKM_ECDH1_DERIVE}},
		{File: "ec/testdata/short_ecdh.txt", Answer: `z =`, For: mechanisms{pkcs11.CKM_ECDH1_DERIVE}},
		{File: "ec/testdata/x448.txt", Answer: `result = `, For: mechanisms{pkcs11.CKM_ECDH1_DERIVE}},
		{File: "ec/testdata/ed448.txt", Answer: `signature = `, For: mechanisms{pkcs11.CKM_EDDSA}},
		{File: "ec/testdata/ed448_wycheproof.txt", Answer: `result = `, For: mechanisms{pkcs11.CKM_EDDSA}},
		{File: "ec/vectors_test.go", For: mechanisms{pkcs11.CKM_EDDSA, pkcs11.CKM_ECDH1_DERIVE}},
		{File: "dsa/testdata/dsa.txt", Answer: `result = `, For: mechanisms{pkcs11.CKM_DSA_SHA224, pkcs11.CKM_DSA_SHA256}},

		{File: "mlkem/testdata/keygen.txt", For: mechanisms{pkcs11.CKM_ML_KEM_KEY_PAIR_GEN}},
		{File: "mlkem/testdata/decapsulate.txt", For: mechanisms{pkcs11.CKM_ML_KEM}},
		{File: "mlkem/testdata/seeds.txt", For: mechanisms{pkcs11.CKM_ML_KEM}},
		{File: "mlkem/testdata/public.txt", For: mechanisms{pkcs11.CKM_ML_KEM}},
		{File: "mldsa/testdata/keygen.txt", For: mechanisms{pkcs11.CKM_ML_DSA_KEY_PAIR_GEN}},
		{File: "mldsa/testdata/sign.txt", For: mechanisms{pkcs11.CKM_ML_DSA}},
		{File: "mldsa/testdata/expanded.txt", For: mechanisms{pkcs11.CKM_ML_DSA}},
		{File: "mldsa/testdata/verify.txt", For: mechanisms{pkcs11.CKM_ML_DSA}},
		{File: "slhdsa/testdata/keygen.txt", For: mechanisms{pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN}},
		{File: "slhdsa/testdata/sign.txt", For: join(mechanisms{pkcs11.CKM_SLH_DSA},
			preHashes(func(p *postquantum.PreHash) pkcs11.MechanismType { return p.SLHDSA }))},
		{File: "slhdsa/testdata/verify.txt", For: mechanisms{pkcs11.CKM_SLH_DSA}},
		{File: "hss/testdata/trees.txt", For: mechanisms{pkcs11.CKM_HSS_KEY_PAIR_GEN}},
		{File: "hss/testdata/verify.txt", For: mechanisms{pkcs11.CKM_HSS}},

		{File: "kdf/testdata/hkdf.txt", For: mechanisms{pkcs11.CKM_HKDF_DERIVE, pkcs11.CKM_HKDF_DATA}},
		{File: "kdf/testdata/sp800108.txt", For: mechanisms{pkcs11.CKM_SP800_108_COUNTER_KDF, pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF,
			pkcs11.CKM_SP800_108_FEEDBACK_KDF, pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF}},
		{File: "kdf/testdata/pbkdf2.txt", For: mechanisms{pkcs11.CKM_PKCS5_PBKD2}},
		{File: "kdf/testdata/tls12.txt", For: mechanisms{pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH,
			pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE,
			pkcs11.CKM_TLS12_KEY_SAFE_DERIVE, pkcs11.CKM_TLS_KDF, pkcs11.CKM_TLS12_KDF, pkcs11.CKM_TLS_MAC, pkcs11.CKM_TLS12_MAC}},
		{File: "kdf/testdata/ike.txt", For: mechanisms{pkcs11.CKM_IKE1_PRF_DERIVE, pkcs11.CKM_IKE_PRF_DERIVE, pkcs11.CKM_IKE2_PRF_PLUS_DERIVE,
			pkcs11.CKM_IKE1_EXTENDED_DERIVE}},
		{File: "kdf/testdata/simple.txt", For: mechanisms{pkcs11.CKM_CONCATENATE_BASE_AND_KEY, pkcs11.CKM_CONCATENATE_BASE_AND_DATA,
			pkcs11.CKM_CONCATENATE_DATA_AND_BASE, pkcs11.CKM_XOR_BASE_AND_DATA, pkcs11.CKM_EXTRACT_KEY_FROM_KEY}},
	}
}
