// Package hss is the family of HSS and LMS, hash-based signatures with state (RFC 8554, SP 800-208): CKM_HSS and its key
// pairs. No library that is kept up has them; they are hashes and nothing else.
//
// A private key can make a fixed number of signatures, each with a one-time key of its own, and two signatures with one
// of those give it away. So the row of CKM_HSS says how many there are (mech.Mechanism.Capacity), whoever holds the key
// hands out each index once, durably before the signature is made, and the signer uses the one that it is given. The
// private value holds no state: it is the seed and the identity of the first tree, of which those of all other trees
// follow. What is left of a key is its CKA_HSS_KEYS_REMAINING.
//
// A private key cannot be imported, wrapped, copied or be a session object: each would be a second state, or one that
// can be put back.
package hss

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the HSS family.
var Family = mech.Family{Name: "hss", Mechanisms: []mech.Mechanism{
	{Type: pkcs11.CKM_HSS_KEY_PAIR_GEN, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_HSS}, GeneratePair: generate},
	{Type: pkcs11.CKM_HSS, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_HSS}, OnePart: true, Sign: sign, Verify: verify, Capacity: capacity},
}, KeyTypes: []mech.KeyType{{
	Type:          pkcs11.CKK_HSS,
	Check:         check,
	PublicKeyInfo: publicKeyInfo,
}}}

func noParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter, got %T", param)
	}
	return nil
}

const (
	maxLevels = 8 // RFC 8554, 6
	// maxWork bounds the hashes that one tree may take, some ten seconds: all trees of height 5 and 10, and those of
	// height 15 with short chains.
	maxWork = 1 << 27
	// maxCapacity is the most that CKA_HSS_KEYS_REMAINING can say. Of a key that could make more signatures the rest is
	// not used.
	maxCapacity = 1<<32 - 1
)

// scheme is what a key is made of: its levels from the top.
type scheme []level

// schemeOf reads the attributes of a private key.
func schemeOf(levels uint, known bool, treeIDs, otsIDs []uint) (scheme, error) {
	if !known || treeIDs == nil || otsIDs == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_HSS_LEVELS, CKA_HSS_LMS_TYPES and CKA_HSS_LMOTS_TYPES are needed")
	}
	if levels < 1 || levels > maxLevels || uint(len(treeIDs)) != levels || uint(len(otsIDs)) != levels {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "%d levels with %d LMS and %d LM-OTS types, 1 to %d of each expected",
			levels, len(treeIDs), len(otsIDs), maxLevels)
	}
	var s scheme
	for i := range treeIDs {
		l, err := levelOf(treeIDs[i], otsIDs[i])
		if err != nil {
			return nil, err
		}
		if i > 0 && l.tree.digest != s[0].tree.digest {
			return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "the levels use different hashes")
		}
		if l.work() > maxWork {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a tree of height %d with digits of %d bits takes %d hashes, at most %d are done",
				l.height, l.ots.w, l.work(), maxWork)
		}
		s = append(s, l)
	}
	return s, nil
}

// capacity is how many signatures the key can make.
func (s scheme) capacity() uint64 {
	bits := 0
	for _, l := range s {
		bits += l.height
	}
	if bits >= 32 {
		return maxCapacity
	}
	return 1 << bits
}

func (s scheme) signatureLen() int {
	n := 4
	for i, l := range s {
		n += l.signatureLen()
		if i > 0 {
			n += l.publicLen()
		}
	}
	return n
}

func capacity(k mech.Key) (uint64, error) {
	key, err := privateOf(k)
	if err != nil {
		return 0, err
	}
	return key.capacity(), nil
}
