package postquantum

import (
	"crypto"
	"crypto/sha3"
	"hash"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// PreHash is a hash that may come before a signature. ID is 0 for the two that the standard library gives no number.
type PreHash struct {
	ID     crypto.Hash
	Name   string               // as NIST's vectors write it
	Digest pkcs11.MechanismType // what CK_HASH_SIGN_ADDITIONAL_CONTEXT calls it; 0: the standard has no digest of it
	MLDSA  pkcs11.MechanismType // the mechanism that hashes with it
	SLHDSA pkcs11.MechanismType
	arc    byte // the last arc of its object identifier, 2.16.840.1.101.3.4.2.arc
	shake  func() *sha3.SHAKE
	size   int // of a SHAKE's digest, in bytes (FIPS 204, 5.4.1)
}

// PreHashes are those that PKCS#11 v3.2 has mechanisms for.
var PreHashes = []*PreHash{
	{ID: crypto.SHA224, Name: "SHA2-224", Digest: pkcs11.CKM_SHA224, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA224, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA224, arc: 4},
	{ID: crypto.SHA256, Name: "SHA2-256", Digest: pkcs11.CKM_SHA256, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA256, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA256, arc: 1},
	{ID: crypto.SHA384, Name: "SHA2-384", Digest: pkcs11.CKM_SHA384, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA384, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA384, arc: 2},
	{ID: crypto.SHA512, Name: "SHA2-512", Digest: pkcs11.CKM_SHA512, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA512, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA512, arc: 3},
	{ID: crypto.SHA3_224, Name: "SHA3-224", Digest: pkcs11.CKM_SHA3_224, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA3_224, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA3_224, arc: 7},
	{ID: crypto.SHA3_256, Name: "SHA3-256", Digest: pkcs11.CKM_SHA3_256, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA3_256, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA3_256, arc: 8},
	{ID: crypto.SHA3_384, Name: "SHA3-384", Digest: pkcs11.CKM_SHA3_384, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA3_384, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA3_384, arc: 9},
	{ID: crypto.SHA3_512, Name: "SHA3-512", Digest: pkcs11.CKM_SHA3_512, MLDSA: pkcs11.CKM_HASH_ML_DSA_SHA3_512, SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHA3_512, arc: 10},
	{Name: "SHAKE-128", MLDSA: pkcs11.CKM_HASH_ML_DSA_SHAKE128,
		SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHAKE128, arc: 11, shake: sha3.NewSHAKE128, size: 32},
	{Name: "SHAKE-256", MLDSA: pkcs11.CKM_HASH_ML_DSA_SHAKE256,
		SLHDSA: pkcs11.CKM_HASH_SLH_DSA_SHAKE256, arc: 12, shake: sha3.NewSHAKE256, size: 64},
}

// Hash is the row of the table of hashes; nil for a SHAKE.
func (p *PreHash) Hash() *hashes.Hash { return hashes.ByID(p.ID) }

// New returns a fresh state.
func (p *PreHash) New() hash.Hash {
	if h := p.Hash(); h != nil {
		return h.New()
	}
	return NewSHAKE(p.shake(), p.size)
}

// Size is the digest's length in bytes.
func (p *PreHash) Size() int { return p.New().Size() }

// OID is the DER of the hash's object identifier (FIPS 204, algorithm 4).
func (p *PreHash) OID() []byte {
	return []byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, p.arc}
}

func byMechanism(m pkcs11.MechanismType) *PreHash {
	for _, p := range PreHashes {
		if p.Digest != 0 && p.Digest == m {
			return p
		}
	}
	return nil
}

// shake is a SHAKE with a fixed length of output, as a hash. Its state is saved as that of the hashes of package hashes.
type shake struct {
	*sha3.SHAKE
	size int
}

// NewSHAKE makes a hash of size bytes of a SHAKE that may have taken something in; Reset forgets that too.
func NewSHAKE(s *sha3.SHAKE, size int) hash.Hash { return &shake{s, size} }

func (s *shake) Size() int { return s.size }

func (s *shake) Sum(b []byte) []byte {
	copied := *s.SHAKE // reading ends the absorbing, and more may be written
	out := make([]byte, s.size)
	copied.Read(out) //nolint:errcheck // a SHAKE does not fail
	copied.Reset()
	return append(b, out...)
}

// CheckDigest refuses data that the hash cannot have given: CKR_DATA_LEN_RANGE.
func (p *PreHash) CheckDigest(digest []byte) error {
	if len(digest) != p.Size() {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "a digest of %d bytes, %s has %d", len(digest), p.Name, p.Size())
	}
	return nil
}
