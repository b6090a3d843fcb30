package object

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What key types have of their own (PKCS#11 v3.2, section 6).
var (
	rsaPublic = []row{
		{pkcs11.CKA_MODULUS, published, nil, nil},
		{pkcs11.CKA_MODULUS_BITS, length, nil, nil},
		{pkcs11.CKA_PUBLIC_EXPONENT, createMust, nil, nil},
	}
	rsaPrivate = []row{
		{pkcs11.CKA_MODULUS, given, nil, nil},
		{pkcs11.CKA_MODULUS_BITS, byToken, nil, nil}, // not of the standard, but asked for
		{pkcs11.CKA_PUBLIC_EXPONENT, given, nil, nil},
		{pkcs11.CKA_PRIVATE_EXPONENT, keySecret, nil, nil},
		{pkcs11.CKA_PRIME_1, concealed, nil, nil},
		{pkcs11.CKA_PRIME_2, concealed, nil, nil},
		{pkcs11.CKA_EXPONENT_1, concealed, nil, nil},
		{pkcs11.CKA_EXPONENT_2, concealed, nil, nil},
		{pkcs11.CKA_COEFFICIENT, concealed, nil, nil},
	}
	ecPublic = []row{
		{pkcs11.CKA_EC_PARAMS, parameters, nil, nil},
		{pkcs11.CKA_EC_POINT, published, nil, nil},
	}
	ecPrivate = []row{
		{pkcs11.CKA_EC_PARAMS, given, nil, nil},
		{pkcs11.CKA_EC_POINT, material, nil, nil}, // not of the standard, but sent and asked for
		{pkcs11.CKA_VALUE, keySecret, nil, nil},
	}
	ffPublic = []row{ // finite fields: DSA and Diffie-Hellman
		{pkcs11.CKA_PRIME, parameters, nil, nil},
		{pkcs11.CKA_BASE, parameters, nil, nil},
		{pkcs11.CKA_VALUE, published, nil, nil},
	}
	ffPrivate = []row{
		{pkcs11.CKA_PRIME, given, nil, nil},
		{pkcs11.CKA_BASE, given, nil, nil},
		{pkcs11.CKA_VALUE, keySecret, nil, nil},
	}
	ffPublicSubprime  = []row{{pkcs11.CKA_SUBPRIME, parameters, nil, nil}}
	ffPrivateSubprime = []row{{pkcs11.CKA_SUBPRIME, given, nil, nil}}
	dhPrivate         = []row{{pkcs11.CKA_VALUE_BITS, createNever, nil, nil}}

	parameterSetPublic = []row{
		{pkcs11.CKA_PARAMETER_SET, parameters, nil, nil},
		{pkcs11.CKA_VALUE, published, nil, nil},
	}
	parameterSetPrivate = []row{
		{pkcs11.CKA_PARAMETER_SET, given, nil, nil},
		{pkcs11.CKA_VALUE, keySecret, nil, nil},
	}
	seeded = []row{
		{pkcs11.CKA_SEED, concealed | either, nil, nil},
		{pkcs11.CKA_VALUE, concealed | either, nil, nil},
	}
	hssPublic = []row{
		{pkcs11.CKA_HSS_LEVELS, createNever | generateNever, nil, nil},
		{pkcs11.CKA_HSS_LMS_TYPE, createNever | generateNever, nil, nil},
		{pkcs11.CKA_HSS_LMOTS_TYPE, createNever | generateNever, nil, nil},
		{pkcs11.CKA_VALUE, published, nil, nil},
	}
	hssPrivate = []row{
		{pkcs11.CKA_HSS_LEVELS, parameters, nil, nil},
		{pkcs11.CKA_HSS_LMS_TYPES, parameters, nil, nil},
		{pkcs11.CKA_HSS_LMOTS_TYPES, parameters, nil, nil},
	}
)

// The columns of a kind of object, and what comes with it.
type kind struct {
	class   pkcs11.ObjectClass
	types   []uint // key or certificate types; nil: the class has none
	columns [][]row
	may     []pkcs11.AttributeType // the usage flags that are true if a template asks for none
	session []pkcs11.AttributeType // those that are it for session objects besides
	check   func(h *head) error
	builtin bool // no function makes, changes or destroys one
}

func keys(types ...pkcs11.KeyType) []uint {
	out := make([]uint, len(types))
	for i, t := range types {
		out[i] = uint(t)
	}
	return out
}

func may(usages ...pkcs11.AttributeType) []pkcs11.AttributeType { return usages }

// schema is every kind of object that a token can hold.
//
// CKA_WRAP and CKA_UNWRAP of secret keys are never a default: a key that both decrypts and unwraps gives away what it
// wraps. CKA_DERIVE is one where a key is of no other use, and for EC keys of a session: a program that makes one without
// saying what for may want ECDH (TLS, Java's KeyPairGenerator).
func schema() []kind {
	var (
		sign     = may(pkcs11.CKA_SIGN)
		verify   = may(pkcs11.CKA_VERIFY)
		derive   = may(pkcs11.CKA_DERIVE)
		mac      = may(pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY)
		crypt    = may(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT)
		cryptMAC = may(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY)
		pub      = func(own ...[]row) [][]row { return append([][]row{common, storage, key, publicKey}, own...) }
		priv     = func(own ...[]row) [][]row { return append([][]row{common, storage, key, guarded, privateKey}, own...) }
		sec      = func(own ...[]row) [][]row { return append([][]row{common, storage, key, guarded, secretKey}, own...) }
		cert     = func(own ...[]row) [][]row { return append([][]row{common, storage, certificate}, own...) }
		params   = func(own ...[]row) [][]row { return append([][]row{common, storage, domainParameters}, own...) }
	)
	return []kind{
		{class: pkcs11.CKO_DATA, columns: [][]row{common, storage, data}},
		{class: pkcs11.CKO_TRUST, columns: [][]row{common, storage, trust}, check: checkTrust},

		{class: pkcs11.CKO_CERTIFICATE, types: []uint{uint(pkcs11.CKC_X_509)}, columns: cert(keyCertificate, x509), check: checkCertificate},
		{class: pkcs11.CKO_CERTIFICATE, types: []uint{uint(pkcs11.CKC_WTLS)}, columns: cert(keyCertificate, wtls), check: checkCertificate},
		{class: pkcs11.CKO_CERTIFICATE, types: []uint{uint(pkcs11.CKC_X_509_ATTR_CERT)}, columns: cert(attributeCertificate)},

		{class: pkcs11.CKO_DOMAIN_PARAMETERS, types: keys(pkcs11.CKK_DH), columns: params()},
		{class: pkcs11.CKO_DOMAIN_PARAMETERS, types: keys(pkcs11.CKK_DSA, pkcs11.CKK_X9_42_DH), columns: params(subprime)},

		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_RSA), columns: pub(rsaPublic),
			may: may(pkcs11.CKA_ENCRYPT, pkcs11.CKA_VERIFY, pkcs11.CKA_VERIFY_RECOVER, pkcs11.CKA_WRAP)},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS), columns: pub(ecPublic), may: verify},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_EC_MONTGOMERY), columns: pub(ecPublic), may: derive},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_DSA), columns: pub(ffPublic, ffPublicSubprime), may: verify},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_DH), columns: pub(ffPublic), may: derive},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_X9_42_DH), columns: pub(ffPublic, ffPublicSubprime), may: derive},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_ML_DSA, pkcs11.CKK_SLH_DSA, pkcs11.CKK_XMSS, pkcs11.CKK_XMSSMT),
			columns: pub(parameterSetPublic), may: verify},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_ML_KEM), columns: pub(parameterSetPublic), may: may(pkcs11.CKA_ENCAPSULATE)},
		{class: pkcs11.CKO_PUBLIC_KEY, types: keys(pkcs11.CKK_HSS), columns: pub(hssPublic), may: verify},

		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_RSA), columns: priv(rsaPrivate),
			may: may(pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_UNWRAP), check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_EC), columns: priv(ecPrivate), may: sign, session: derive, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_EC_EDWARDS), columns: priv(ecPrivate), may: sign, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_EC_MONTGOMERY), columns: priv(ecPrivate), may: derive, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_DSA), columns: priv(ffPrivate, ffPrivateSubprime), may: sign, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_DH), columns: priv(ffPrivate, dhPrivate), may: derive, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_X9_42_DH), columns: priv(ffPrivate, ffPrivateSubprime), may: derive, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_ML_DSA), columns: priv(parameterSetPrivate, seeded), may: sign, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_ML_KEM), columns: priv(parameterSetPrivate, seeded), may: may(pkcs11.CKA_DECAPSULATE), check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_SLH_DSA), columns: priv(parameterSetPrivate), may: sign, check: checkPrivate},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_XMSS, pkcs11.CKK_XMSSMT), columns: priv(parameterSetPrivate, stateful), may: sign, check: checkStateful},
		{class: pkcs11.CKO_PRIVATE_KEY, types: keys(pkcs11.CKK_HSS), columns: priv(hssPrivate, stateful), may: sign, check: checkStateful},

		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_AES), columns: sec(chosenLength), may: cryptMAC},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_GENERIC_SECRET), columns: sec(chosenLength), may: mac},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_HKDF), columns: sec(chosenLength), may: derive},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_AES_XTS), columns: sec(chosenLength), may: crypt},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(
			pkcs11.CKK_MD5_HMAC, pkcs11.CKK_SHA_1_HMAC, pkcs11.CKK_RIPEMD128_HMAC, pkcs11.CKK_RIPEMD160_HMAC, pkcs11.CKK_SHA224_HMAC,
			pkcs11.CKK_SHA256_HMAC, pkcs11.CKK_SHA384_HMAC, pkcs11.CKK_SHA512_HMAC, pkcs11.CKK_SHA512_224_HMAC,
			pkcs11.CKK_SHA512_256_HMAC, pkcs11.CKK_SHA512_T_HMAC, pkcs11.CKK_SHA3_224_HMAC, pkcs11.CKK_SHA3_256_HMAC,
			pkcs11.CKK_SHA3_384_HMAC, pkcs11.CKK_SHA3_512_HMAC, pkcs11.CKK_BLAKE2B_160_HMAC, pkcs11.CKK_BLAKE2B_256_HMAC,
			pkcs11.CKK_BLAKE2B_384_HMAC, pkcs11.CKK_BLAKE2B_512_HMAC, pkcs11.CKK_POLY1305), columns: sec(), may: mac},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_CHACHA20, pkcs11.CKK_SALSA20), columns: sec(), may: crypt},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_DES, pkcs11.CKK_DES2, pkcs11.CKK_DES3, pkcs11.CKK_SEED, pkcs11.CKK_IDEA),
			columns: sec(fixedLength), may: cryptMAC},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_CAMELLIA, pkcs11.CKK_ARIA, pkcs11.CKK_BLOWFISH, pkcs11.CKK_TWOFISH, pkcs11.CKK_CAST128,
			pkcs11.CKK_RC2, pkcs11.CKK_RC5), columns: sec(chosenLength), may: cryptMAC},
		{class: pkcs11.CKO_SECRET_KEY, types: keys(pkcs11.CKK_RC4), columns: sec(chosenLength), may: crypt},

		{class: pkcs11.CKO_OTP_KEY, types: keys(pkcs11.CKK_HOTP, pkcs11.CKK_SECURID, pkcs11.CKK_ACTI), columns: sec(otp, chosenLength), may: mac},

		{class: pkcs11.CKO_HW_FEATURE, types: []uint{uint(pkcs11.CKH_CLOCK)}, columns: [][]row{common, own, hardware}, builtin: true},
		{class: pkcs11.CKO_HW_FEATURE, types: []uint{uint(pkcs11.CKH_MONOTONIC_COUNTER)}, columns: [][]row{common, own, hardware, counter}, builtin: true},
		{class: pkcs11.CKO_PROFILE, columns: [][]row{common, own, profile}, builtin: true},
		{class: pkcs11.CKO_MECHANISM, columns: [][]row{common, own, mechanism}, builtin: true},
		{class: pkcs11.CKO_VALIDATION, columns: [][]row{common, own, validation}, builtin: true},
	}
}
