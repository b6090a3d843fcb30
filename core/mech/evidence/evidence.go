// Package evidence says for each mechanism which known answers its tests check, and who published them; and of those for
// which nobody has published any, what they are held to instead. It is imported by tests only, which prove that no row of
// the registry is missing and that the files are there.
package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

type mechanisms = []pkcs11.MechanismType

// Vectors is a file of known answers. Its head says who made them: a standards body, the author, or, where neither has, another
// implementation.
type Vectors struct {
	File   string // below core/mech; a test, where there are a few answers only, which Count does not count
	Answer string // what the line of one answer looks like; empty: every line is one
	For    mechanisms
}

// Instead is what rows without a published answer of their own are held to.
type Instead struct {
	Why string // why there is none, and what there is
	In  string // the test, below core/mech
	For mechanisms
}

// Count is how many answers a file below root, the directory core/mech, has; 0 for a test.
func (v Vectors) Count(root string) (n int, err error) {
	text, err := os.ReadFile(filepath.Join(root, v.File))
	if err != nil || filepath.Ext(v.File) != ".txt" {
		return 0, err
	}
	pattern := v.Answer
	if pattern == "" {
		pattern = `[^#\s]`
	}
	n = len(regexp.MustCompile(`(?m)^`+pattern).FindAll(text, -1))
	if n == 0 {
		return 0, fmt.Errorf("%s has no line like %s", v.File, pattern)
	}
	return n, nil
}

// Total counts the answers of all files.
func Total(root string) (int, error) {
	sum := 0
	for _, v := range Published() {
		n, err := v.Count(root)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// of collects a number of each hash that has it and that which picks.
func of(number func(*hashes.Hash) pkcs11.MechanismType, which func(*hashes.Hash) bool) (list mechanisms) {
	for _, h := range hashes.All {
		if m := number(h); m != 0 && (which == nil || which(h)) {
			list = append(list, m)
		}
	}
	return list
}

func digest(h *hashes.Hash) pkcs11.MechanismType  { return h.Mechanism }
func hmac(h *hashes.Hash) pkcs11.MechanismType    { return h.HMAC }
func general(h *hashes.Hash) pkcs11.MechanismType { return h.HMACGeneral }

func isKeyed(h *hashes.Hash) bool { return h.Keyed != nil }

// truncated are SHA-512/224 and /256.
func truncated(h *hashes.Hash) bool {
	return h.Mechanism == pkcs11.CKM_SHA512_224 || h.Mechanism == pkcs11.CKM_SHA512_256
}

func hashedHMAC(h *hashes.Hash) bool { return !isKeyed(h) && !truncated(h) }

// preHashes are the rows of ML-DSA and of SLH-DSA that hash first.
func preHashes(number func(*postquantum.PreHash) pkcs11.MechanismType) (list mechanisms) {
	for _, p := range postquantum.PreHashes {
		list = append(list, number(p))
	}
	return list
}

// join puts lists together.
func join(lists ...mechanisms) mechanisms { return slices.Concat(lists...) }
