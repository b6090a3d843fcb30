// Package hashes is the one table of hash functions that all families of mechanisms share: which numbers of the
// standard belong to which hash. Rows for digests, HMACs, hashed signatures, MGF1 and key derivation are made from it.
//
// The table is never changed after the program has started and may be read from many goroutines at once.
package hashes

import (
	"crypto"
	"crypto/sha1" //nolint:gosec // the standard's mechanisms name it; policy decides what may be used
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Hash is one hash function. A number is 0 where the standard has none; no entry of the standard that is used here has
// that number.
type Hash struct {
	ID crypto.Hash

	Mechanism     pkcs11.MechanismType // the digest: CKM_SHA256
	HMAC          pkcs11.MechanismType // full length
	HMACGeneral   pkcs11.MechanismType // with a chosen length
	KeyGen        pkcs11.MechanismType // generates HMAC keys
	KeyDerivation pkcs11.MechanismType // derives the hash of a key
	KeyType       pkcs11.KeyType       // of HMAC keys: CKK_SHA256_HMAC

	RSAPKCS pkcs11.MechanismType // PKCS #1 v1.5 signature
	RSAPSS  pkcs11.MechanismType
	ECDSA   pkcs11.MechanismType

	MGF      pkcs11.MGFType // MGF1 over this hash
	KDF      pkcs11.KDFType // ANSI X9.63 derivation over this hash
	KDFSP800 pkcs11.KDFType // SP 800-56A one-step derivation over this hash

	new func() hash.Hash
}

// New returns a fresh state.
func (h *Hash) New() hash.Hash { return h.new() }

// Size is the digest's length in bytes.
func (h *Hash) Size() int { return h.ID.Size() }

// Sum returns the digest of the concatenated parts.
func (h *Hash) Sum(parts ...[]byte) []byte {
	state := h.new()
	for _, p := range parts {
		state.Write(p)
	}
	return state.Sum(nil)
}

func (h *Hash) String() string { return h.ID.String() }

// All is the table.
var All = []*Hash{
	{
		ID:        crypto.SHA1,
		Mechanism: pkcs11.CKM_SHA_1, HMAC: pkcs11.CKM_SHA_1_HMAC, HMACGeneral: pkcs11.CKM_SHA_1_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA_1_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA1_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA_1_HMAC,
		RSAPKCS: pkcs11.CKM_SHA1_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA1_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA1,
		MGF: pkcs11.CKG_MGF1_SHA1, KDF: pkcs11.CKD_SHA1_KDF, KDFSP800: pkcs11.CKD_SHA1_KDF_SP800,
		new: sha1.New,
	},
	{
		ID:        crypto.SHA224,
		Mechanism: pkcs11.CKM_SHA224, HMAC: pkcs11.CKM_SHA224_HMAC, HMACGeneral: pkcs11.CKM_SHA224_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA224_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA224_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA224_HMAC,
		RSAPKCS: pkcs11.CKM_SHA224_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA224_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA224,
		MGF: pkcs11.CKG_MGF1_SHA224, KDF: pkcs11.CKD_SHA224_KDF, KDFSP800: pkcs11.CKD_SHA224_KDF_SP800,
		new: sha256.New224,
	},
	{
		ID:        crypto.SHA256,
		Mechanism: pkcs11.CKM_SHA256, HMAC: pkcs11.CKM_SHA256_HMAC, HMACGeneral: pkcs11.CKM_SHA256_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA256_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA256_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA256_HMAC,
		RSAPKCS: pkcs11.CKM_SHA256_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA256_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA256,
		MGF: pkcs11.CKG_MGF1_SHA256, KDF: pkcs11.CKD_SHA256_KDF, KDFSP800: pkcs11.CKD_SHA256_KDF_SP800,
		new: sha256.New,
	},
	{
		ID:        crypto.SHA384,
		Mechanism: pkcs11.CKM_SHA384, HMAC: pkcs11.CKM_SHA384_HMAC, HMACGeneral: pkcs11.CKM_SHA384_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA384_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA384_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA384_HMAC,
		RSAPKCS: pkcs11.CKM_SHA384_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA384_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA384,
		MGF: pkcs11.CKG_MGF1_SHA384, KDF: pkcs11.CKD_SHA384_KDF, KDFSP800: pkcs11.CKD_SHA384_KDF_SP800,
		new: sha512.New384,
	},
	{
		ID:        crypto.SHA512,
		Mechanism: pkcs11.CKM_SHA512, HMAC: pkcs11.CKM_SHA512_HMAC, HMACGeneral: pkcs11.CKM_SHA512_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA512_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA512_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA512_HMAC,
		RSAPKCS: pkcs11.CKM_SHA512_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA512_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA512,
		MGF: pkcs11.CKG_MGF1_SHA512, KDF: pkcs11.CKD_SHA512_KDF, KDFSP800: pkcs11.CKD_SHA512_KDF_SP800,
		new: sha512.New,
	},
	{
		// The truncated SHA-512s have no signatures, no MGF and no KDF in the standard.
		ID:        crypto.SHA512_224,
		Mechanism: pkcs11.CKM_SHA512_224, HMAC: pkcs11.CKM_SHA512_224_HMAC, HMACGeneral: pkcs11.CKM_SHA512_224_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA512_224_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA512_224_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA512_224_HMAC,
		new: sha512.New512_224,
	},
	{
		ID:        crypto.SHA512_256,
		Mechanism: pkcs11.CKM_SHA512_256, HMAC: pkcs11.CKM_SHA512_256_HMAC, HMACGeneral: pkcs11.CKM_SHA512_256_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA512_256_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA512_256_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA512_256_HMAC,
		new: sha512.New512_256,
	},
	{
		ID:        crypto.SHA3_224,
		Mechanism: pkcs11.CKM_SHA3_224, HMAC: pkcs11.CKM_SHA3_224_HMAC, HMACGeneral: pkcs11.CKM_SHA3_224_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA3_224_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA3_224_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA3_224_HMAC,
		RSAPKCS: pkcs11.CKM_SHA3_224_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA3_224_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA3_224,
		MGF: pkcs11.CKG_MGF1_SHA3_224, KDF: pkcs11.CKD_SHA3_224_KDF, KDFSP800: pkcs11.CKD_SHA3_224_KDF_SP800,
		new: func() hash.Hash { return sha3.New224() },
	},
	{
		ID:        crypto.SHA3_256,
		Mechanism: pkcs11.CKM_SHA3_256, HMAC: pkcs11.CKM_SHA3_256_HMAC, HMACGeneral: pkcs11.CKM_SHA3_256_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA3_256_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA3_256_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA3_256_HMAC,
		RSAPKCS: pkcs11.CKM_SHA3_256_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA3_256_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA3_256,
		MGF: pkcs11.CKG_MGF1_SHA3_256, KDF: pkcs11.CKD_SHA3_256_KDF, KDFSP800: pkcs11.CKD_SHA3_256_KDF_SP800,
		new: func() hash.Hash { return sha3.New256() },
	},
	{
		ID:        crypto.SHA3_384,
		Mechanism: pkcs11.CKM_SHA3_384, HMAC: pkcs11.CKM_SHA3_384_HMAC, HMACGeneral: pkcs11.CKM_SHA3_384_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA3_384_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA3_384_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA3_384_HMAC,
		RSAPKCS: pkcs11.CKM_SHA3_384_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA3_384_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA3_384,
		MGF: pkcs11.CKG_MGF1_SHA3_384, KDF: pkcs11.CKD_SHA3_384_KDF, KDFSP800: pkcs11.CKD_SHA3_384_KDF_SP800,
		new: func() hash.Hash { return sha3.New384() },
	},
	{
		ID:        crypto.SHA3_512,
		Mechanism: pkcs11.CKM_SHA3_512, HMAC: pkcs11.CKM_SHA3_512_HMAC, HMACGeneral: pkcs11.CKM_SHA3_512_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_SHA3_512_KEY_GEN, KeyDerivation: pkcs11.CKM_SHA3_512_KEY_DERIVATION, KeyType: pkcs11.CKK_SHA3_512_HMAC,
		RSAPKCS: pkcs11.CKM_SHA3_512_RSA_PKCS, RSAPSS: pkcs11.CKM_SHA3_512_RSA_PKCS_PSS, ECDSA: pkcs11.CKM_ECDSA_SHA3_512,
		MGF: pkcs11.CKG_MGF1_SHA3_512, KDF: pkcs11.CKD_SHA3_512_KDF, KDFSP800: pkcs11.CKD_SHA3_512_KDF_SP800,
		new: func() hash.Hash { return sha3.New512() },
	},
}

// find returns the row for which get answers v. 0 means "none" in the table and finds nothing.
func find[N ~uint](v N, get func(*Hash) N) *Hash {
	if v == 0 {
		return nil
	}
	for _, h := range All {
		if get(h) == v {
			return h
		}
	}
	return nil
}

// ByMechanism returns the hash whose digest mechanism is m, or nil.
func ByMechanism(m pkcs11.MechanismType) *Hash {
	return find(m, func(h *Hash) pkcs11.MechanismType { return h.Mechanism })
}

// ByMGF returns the hash of an MGF1, or nil.
func ByMGF(g pkcs11.MGFType) *Hash { return find(g, func(h *Hash) pkcs11.MGFType { return h.MGF }) }

// ByKDF returns the hash of an X9.63 key derivation function, or nil.
func ByKDF(k pkcs11.KDFType) *Hash { return find(k, func(h *Hash) pkcs11.KDFType { return h.KDF }) }

// ByKDFSP800 returns the hash of an SP 800-56A one-step key derivation function, or nil.
func ByKDFSP800(k pkcs11.KDFType) *Hash {
	return find(k, func(h *Hash) pkcs11.KDFType { return h.KDFSP800 })
}

// ByID returns the hash of Go's number, or nil.
func ByID(id crypto.Hash) *Hash { return find(id, func(h *Hash) crypto.Hash { return h.ID }) }
