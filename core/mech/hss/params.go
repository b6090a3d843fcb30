package hss

import (
	"crypto/sha256"
	"crypto/sha3"
	"hash"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// digest is a hash with n bytes of output.
type digest struct {
	n   int
	new func() hash.Hash
}

// shake256 is SHAKE256 as a hash of 32 bytes.
type shake256 struct{ *sha3.SHAKE }

func newSHAKE256() hash.Hash { return shake256{sha3.NewSHAKE256()} }

func (shake256) Size() int { return 32 }

// Sum ends the hash: who goes on resets it first.
func (s shake256) Sum(b []byte) []byte {
	var out [32]byte
	s.Read(out[:]) //nolint:errcheck // never fails
	return append(b, out[:]...)
}

// sum hashes the parts and cuts the result to n bytes.
func (d *digest) sum(parts ...[]byte) []byte {
	h := d.new()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)[:d.n]
}

// digests are the hashes of the parameter sets, in the order of their numbers: RFC 8554's, and the three that SP 800-208
// adds, section 4. SHAKE256 with 24 bytes is the beginning of SHAKE256 with 32.
var digests = []*digest{{32, sha256.New}, {24, sha256.New}, {32, newSHAKE256}, {24, newSHAKE256}}

// ots is a parameter set of one-time signatures (RFC 8554, 4.1, table 1).
type ots struct {
	id uint32
	*digest
	w  int // bits of a digit
	p  int // digits, those of the checksum included
	ls int // the checksum's shift
}

// most is how often a chain can be hashed.
func (o *ots) most() int { return 1<<o.w - 1 }

func (o *ots) signatureLen() int { return 4 + o.n + o.p*o.n }

// tree is a parameter set of Merkle trees (RFC 8554, 5.1, table 2).
type tree struct {
	id uint32
	*digest
	height int
}

var (
	otss  = makeOTSs()
	trees = makeTrees()
)

func makeOTSs() (all []*ots) {
	id := uint32(1)
	for _, d := range digests {
		for _, w := range []int{1, 2, 4, 8} {
			all = append(all, newOTS(id, d, w))
			id++
		}
	}
	return all
}

// newOTS computes p and ls (RFC 8554, appendix B).
func newOTS(id uint32, d *digest, w int) *ots {
	u := (8*d.n + w - 1) / w
	most, bits := u*(1<<w-1), 0
	for v := most; v > 0; v >>= 1 {
		bits++
	}
	v := (bits + w - 1) / w
	return &ots{id, d, w, u + v, 16 - v*w}
}

func makeTrees() (all []*tree) {
	id := uint32(5)
	for _, d := range digests {
		for _, h := range []int{5, 10, 15, 20, 25} {
			all = append(all, &tree{id, d, h})
			id++
		}
	}
	return all
}

func otsOf(id uint) *ots {
	for _, o := range otss {
		if uint(o.id) == id {
			return o
		}
	}
	return nil
}

func treeOf(id uint) *tree {
	for _, t := range trees {
		if uint(t.id) == id {
			return t
		}
	}
	return nil
}

// level is a tree with the one-time signatures of its leaves. Both use the same hash.
type level struct {
	*tree
	ots *ots
}

func levelOf(treeID, otsID uint) (level, error) {
	t, o := treeOf(treeID), otsOf(otsID)
	if t == nil || o == nil || t.digest != o.digest {
		return level{}, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "LMS type %d with LM-OTS type %d is no parameter set of HSS", treeID, otsID)
	}
	return level{t, o}, nil
}

// publicLen is the length of an LMS public key.
func (l level) publicLen() int { return 8 + identityLen + l.tree.n }

// signatureLen is the length of an LMS signature.
func (l level) signatureLen() int { return 8 + l.ots.signatureLen() + l.height*l.tree.n }

// work is about how many hashes it takes to make the tree.
func (l level) work() int { return l.ots.p * l.ots.most() << l.height }
