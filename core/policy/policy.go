// Package policy says what the owner of a token allows, beyond what the standard and the keys' own attributes do: which
// mechanisms, which sizes of keys, and which rules hold for all keys alike. It knows facts and decides; the engine asks it
// and says no.
//
// The zero Policy is what holds where nothing is configured. A Policy does not change once an engine has it, so that any
// number of goroutines may ask it.
package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Policy is a token's policy.
type Policy struct {
	// Allow names the mechanisms that there are; nil: all. Deny takes away from those. Whoever writes the same mechanism
	// into both has denied it.
	Allow, Deny []pkcs11.MechanismType
	// MinBits is the least size of keys of a type, in bits (see Bits); types that are not named have no limit.
	MinBits map[pkcs11.KeyType]uint
	// Legacy offers mechanisms that are broken or dead, too.
	Legacy bool
	// Dates refuses keys before CKA_START_DATE and after CKA_END_DATE.
	Dates bool
	// WrapAndDecrypt lets one secret key wrap and decrypt, encrypt or sign: it can then give away what it has wrapped.
	WrapAndDecrypt bool
	// PublicCertificates refuses what would end the profile Public Certificates Token: a private certificate, or one that has not
	// its key's CKA_ID.
	PublicCertificates bool
	// FIPS leaves what is approved (see fips.go).
	FIPS bool
}

// May returns which of a mechanism's flags (CKF_SIGN ...) the policy leaves; 0: the mechanism is not there.
func (p *Policy) May(t pkcs11.MechanismType, legacy bool, flags pkcs11.Flags) pkcs11.Flags {
	switch {
	case legacy && !p.Legacy,
		p.Allow != nil && !slices.Contains(p.Allow, t),
		slices.Contains(p.Deny, t):
		return 0
	case p.FIPS:
		return flags & approved[t]
	}
	return flags
}

// Key is what the policy must see of a key; mech.Key has it.
type Key interface {
	Type() pkcs11.KeyType
	Bytes(t pkcs11.AttributeType) []byte
	Uint(t pkcs11.AttributeType) (uint, bool)
}

// Key answers whether a key is large enough, and on an approved curve: nil, CKR_KEY_SIZE_RANGE, or
// CKR_CURVE_NOT_SUPPORTED. It wants the secret part of secret and EC private keys.
func (p *Policy) Key(k Key) error {
	least := p.MinBits[k.Type()]
	if p.FIPS {
		least = max(least, approvedBits[k.Type()])
		if err := approvedCurve(k); err != nil {
			return err
		}
	}
	if least == 0 {
		return nil
	}
	if bits, known := Bits(k); known && bits < least {
		return pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "a %v of %d bits, and the token's policy wants %d", k.Type(), bits, least)
	}
	return nil
}

// Bits is the size of a key: of the modulus of RSA, of the prime of DSA and Diffie-Hellman, of the value of a secret key,
// of a coordinate on an elliptic curve in whole bytes, so that P-521 has 528. ok is false for keys that have no such
// number, whose size their parameter set says.
func Bits(k Key) (bits uint, ok bool) {
	for _, t := range []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PRIME} {
		if b := k.Bytes(t); b != nil {
			return bitLen(b), true
		}
	}
	switch k.Type() {
	case pkcs11.CKK_EC:
		if point := k.Bytes(pkcs11.CKA_EC_POINT); len(point) > 0 {
			return coordinate(point), true
		}
		return 8 * uint(len(k.Bytes(pkcs11.CKA_VALUE))), true
	case pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_EC_MONTGOMERY:
		n := len(k.Bytes(pkcs11.CKA_VALUE))
		if point := k.Bytes(pkcs11.CKA_EC_POINT); len(point) > 0 {
			n = len(content(point))
		}
		return 8 * uint(n), true
	}
	if n, ok := k.Uint(pkcs11.CKA_VALUE_LEN); ok {
		return 8 * n, true
	}
	return 0, false
}

func bitLen(b []byte) uint {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0
	}
	n := 8 * uint(len(b)-1)
	for top := b[0]; top > 0; top >>= 1 {
		n++
	}
	return n
}

// coordinate is the size in bits of one coordinate of an encoded point.
func coordinate(point []byte) uint {
	point = content(point)
	if len(point) == 0 {
		return 0
	}
	n := uint(len(point) - 1)
	if point[0] == 4 || point[0] == 6 || point[0] == 7 { // both coordinates follow (SEC 1, 2.3.3)
		n /= 2
	}
	return 8 * n
}

// content takes a point out of its DER OCTET STRING, if it is in one.
func content(point []byte) []byte {
	const octetString = 0x04
	switch n := len(point); {
	case n >= 2 && point[0] == octetString && int(point[1]) == n-2 && n-2 < 0x80:
		return point[2:]
	case n >= 3 && point[0] == octetString && point[1] == 0x81 && int(point[2]) == n-3:
		return point[3:]
	}
	return point
}

// Head is what the policy must see of an object's head.
type Head interface {
	Class() pkcs11.ObjectClass
	Bool(t pkcs11.AttributeType) bool
	Uint(t pkcs11.AttributeType) (uint, bool)
}

// ciphers reports whether a key can give back what it has wrapped: in a counter mode (CTR, GCM) encrypting is decrypting,
// and a CBC-MAC of one block encrypts it.
func ciphers(h Head) bool {
	return h.Bool(pkcs11.CKA_DECRYPT) || h.Bool(pkcs11.CKA_ENCRYPT) || h.Bool(pkcs11.CKA_SIGN)
}

// both reports whether a key wraps and can give back what it has wrapped.
func both(h Head) bool { return h.Bool(pkcs11.CKA_WRAP) && ciphers(h) }

// open reports whether the value of a key of this session is its maker's in any case: it can be read, or it was made of a
// password. Such a key hides nothing, whatever it does. OpenSC derives keys of the first kind, and NSS reads PKCS #12 files
// with those of the second; both ask for all that a key might do.
func open(h Head) bool {
	if h.Bool(pkcs11.CKA_TOKEN) {
		return false // others may use it without having the value
	}
	m, _ := h.Uint(pkcs11.CKA_KEY_GEN_MECHANISM)
	return pkcs11.MechanismType(m) == pkcs11.CKM_PKCS5_PBKD2 || h.Bool(pkcs11.CKA_EXTRACTABLE) && !h.Bool(pkcs11.CKA_SENSITIVE)
}

// Roles answers whether an object may have the roles that it has been given; before is what it was, or was copied from,
// and nil for a new one. A secret key wraps other keys, or it encrypts, decrypts and signs, and that from its beginning: it could
// change between two calls otherwise. Open keys are free. CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY.
func (p *Policy) Roles(before, after Head) error {
	if p.WrapAndDecrypt || after.Class() != pkcs11.CKO_SECRET_KEY || open(after) && (before == nil || open(before)) {
		return nil
	}
	if before != nil && both(before) && !open(before) {
		return nil // from before this policy; its label may be changed all the same
	}
	if both(after) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT,
			"CKA_WRAP together with CKA_DECRYPT, CKA_ENCRYPT or CKA_SIGN: the token's policy lets one key do one of them")
	}
	if before == nil {
		return nil
	}
	if after.Bool(pkcs11.CKA_WRAP) && !before.Bool(pkcs11.CKA_WRAP) || ciphers(after) && !ciphers(before) {
		return pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_READ_ONLY,
			"the token's policy has it that a key wraps, or it encrypts, decrypts and signs, from its beginning")
	}
	return nil
}

// Day answers whether a key may be used now: CKR_KEY_FUNCTION_NOT_PERMITTED before the first of its days and after the
// last. Days begin at midnight, UTC.
func (p *Policy) Day(k Key, now time.Time) error {
	if !p.Dates {
		return nil
	}
	today := now.UTC().Format("20060102")
	if start := k.Bytes(pkcs11.CKA_START_DATE); len(start) > 0 && today < string(start) {
		return pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "CKA_START_DATE of the key is %s", start)
	}
	if end := k.Bytes(pkcs11.CKA_END_DATE); len(end) > 0 && today > string(end) {
		return pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "CKA_END_DATE of the key is %s", end)
	}
	return nil
}

// Words says in short sentences, for people, what the policy has decided. They hold no secrets.
func (p *Policy) Words() []string {
	var out []string
	say := func(when bool, format string, args ...any) {
		if when {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	say(p.FIPS, "approved mechanisms only (FIPS 140-3)")
	for _, list := range []struct {
		what  string
		there bool
		names []pkcs11.MechanismType
	}{{"allowed", p.Allow != nil, p.Allow}, {"denied", len(p.Deny) > 0, p.Deny}} {
		say(list.there && len(list.names) == 1, "1 mechanism is %s", list.what)
		say(list.there && len(list.names) != 1, "%d mechanisms are %s", len(list.names), list.what)
	}
	for _, kt := range slices.Sorted(maps.Keys(p.MinBits)) {
		say(true, "%s of %d bits or more", strings.TrimPrefix(kt.String(), "CKK_"), p.MinBits[kt])
	}
	say(p.Legacy, "legacy mechanisms are offered")
	say(p.Dates, "keys are used between their dates only")
	say(p.WrapAndDecrypt, "a key may wrap and decrypt")
	say(p.PublicCertificates, "certificates are public and have their keys' ids")
	say(!p.WrapAndDecrypt, "a key wraps or decrypts, not both")
	return out
}
