// Package hashes is the one table of hash functions that all families of mechanisms share: which numbers of the
// standard belong to which hash. Rows for digests, HMACs, hashed signatures, MGF1 and key derivation are made from it.
//
// The table is never changed after the program has started and may be read from many goroutines at once.
package hashes

import (
	"crypto"
	"crypto/md5"  //nolint:gosec // the standard's mechanisms name it; policy decides what may be used
	"crypto/sha1" //nolint:gosec // the standard's mechanisms name it; policy decides what may be used
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"

	"golang.org/x/crypto/ripemd160" //nolint:gosec,staticcheck // as MD5

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Hash is one hash function. A number is 0 where the standard has none; no entry of the standard that is used here has
// that number.
type Hash struct {
	ID     crypto.Hash // 0 where Go has no number for it; then it has a name
	Name   string
	Legacy bool // broken or dead; see mech.Mechanism

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

	// Keyed makes the hash's own MAC, for which the standard uses the numbers of an HMAC; nil where those are of HMACs.
	// CKR_KEY_SIZE_RANGE for a key that it cannot take.
	Keyed func(key []byte) (hash.Hash, error)

	new  func() hash.Hash
	size int // where ID does not tell
}

// New returns a fresh state.
func (h *Hash) New() hash.Hash { return h.new() }

// Size is the digest's length in bytes.
func (h *Hash) Size() int {
	if h.size > 0 {
		return h.size
	}
	return h.ID.Size()
}

// Sum returns the digest of the concatenated parts.
func (h *Hash) Sum(parts ...[]byte) []byte {
	state := h.new()
	for _, p := range parts {
		state.Write(p)
	}
	return state.Sum(nil)
}

func (h *Hash) String() string {
	if h.Name != "" {
		return h.Name
	}
	return h.ID.String()
}

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
	{
		Name:      "BLAKE2b-160",
		Mechanism: pkcs11.CKM_BLAKE2B_160, HMAC: pkcs11.CKM_BLAKE2B_160_HMAC, HMACGeneral: pkcs11.CKM_BLAKE2B_160_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_BLAKE2B_160_KEY_GEN, KeyDerivation: pkcs11.CKM_BLAKE2B_160_KEY_DERIVE, KeyType: pkcs11.CKK_BLAKE2B_160_HMAC,
		KDF: pkcs11.CKD_BLAKE2B_160_KDF,
		new: blake2bOf(20), Keyed: blake2bKeyed(20), size: 20,
	},
	{
		ID:        crypto.BLAKE2b_256,
		Mechanism: pkcs11.CKM_BLAKE2B_256, HMAC: pkcs11.CKM_BLAKE2B_256_HMAC, HMACGeneral: pkcs11.CKM_BLAKE2B_256_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_BLAKE2B_256_KEY_GEN, KeyDerivation: pkcs11.CKM_BLAKE2B_256_KEY_DERIVE, KeyType: pkcs11.CKK_BLAKE2B_256_HMAC,
		KDF: pkcs11.CKD_BLAKE2B_256_KDF,
		new: blake2bOf(32), Keyed: blake2bKeyed(32),
	},
	{
		ID:        crypto.BLAKE2b_384,
		Mechanism: pkcs11.CKM_BLAKE2B_384, HMAC: pkcs11.CKM_BLAKE2B_384_HMAC, HMACGeneral: pkcs11.CKM_BLAKE2B_384_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_BLAKE2B_384_KEY_GEN, KeyDerivation: pkcs11.CKM_BLAKE2B_384_KEY_DERIVE, KeyType: pkcs11.CKK_BLAKE2B_384_HMAC,
		KDF: pkcs11.CKD_BLAKE2B_384_KDF,
		new: blake2bOf(48), Keyed: blake2bKeyed(48),
	},
	{
		ID:        crypto.BLAKE2b_512,
		Mechanism: pkcs11.CKM_BLAKE2B_512, HMAC: pkcs11.CKM_BLAKE2B_512_HMAC, HMACGeneral: pkcs11.CKM_BLAKE2B_512_HMAC_GENERAL,
		KeyGen: pkcs11.CKM_BLAKE2B_512_KEY_GEN, KeyDerivation: pkcs11.CKM_BLAKE2B_512_KEY_DERIVE, KeyType: pkcs11.CKK_BLAKE2B_512_HMAC,
		KDF: pkcs11.CKD_BLAKE2B_512_KDF,
		new: blake2bOf(64), Keyed: blake2bKeyed(64),
	},
	{
		ID: crypto.MD5, Legacy: true,
		Mechanism: pkcs11.CKM_MD5, HMAC: pkcs11.CKM_MD5_HMAC, HMACGeneral: pkcs11.CKM_MD5_HMAC_GENERAL,
		KeyDerivation: pkcs11.CKM_MD5_KEY_DERIVATION, KeyType: pkcs11.CKK_MD5_HMAC,
		RSAPKCS: pkcs11.CKM_MD5_RSA_PKCS,
		new:     md5.New,
	},
	{
		ID: crypto.RIPEMD160, Legacy: true,
		Mechanism: pkcs11.CKM_RIPEMD160, HMAC: pkcs11.CKM_RIPEMD160_HMAC, HMACGeneral: pkcs11.CKM_RIPEMD160_HMAC_GENERAL,
		KeyType: pkcs11.CKK_RIPEMD160_HMAC,
		RSAPKCS: pkcs11.CKM_RIPEMD160_RSA_PKCS,
		new:     ripemd160.New,
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

// ByMechanism returns the hash whose digest mechanism is m, or nil. It finds no legacy hash: those are mechanisms, and not what
// a parameter of another mechanism may ask for.
func ByMechanism(m pkcs11.MechanismType) *Hash {
	h := find(m, func(h *Hash) pkcs11.MechanismType { return h.Mechanism })
	if h != nil && h.Legacy {
		return nil
	}
	return h
}

// ByHMAC returns the hash whose HMAC of full length is m, or nil. Like ByMechanism it finds no legacy hash; and none whose MAC
// is not an HMAC.
func ByHMAC(m pkcs11.MechanismType) *Hash {
	h := find(m, func(h *Hash) pkcs11.MechanismType { return h.HMAC })
	if h != nil && (h.Legacy || h.Keyed != nil) {
		return nil
	}
	return h
}

// KeyTypes lists the types of the keys that belong to the hashes' MACs, without those of legacy hashes.
func KeyTypes() (list []pkcs11.KeyType) {
	for _, h := range All {
		if h.KeyType != 0 && !h.Legacy {
			list = append(list, h.KeyType)
		}
	}
	return list
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
