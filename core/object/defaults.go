package object

import (
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// The values that depend on more than the attribute itself.
var (
	usageOf          = chosen(chooseUsage)
	sensitiveOf      = chosen(chooseSensitive)
	extractableOf    = chosen(chooseExtractable)
	trustedOnlyOf    = chosen(chooseTrustedOnly)
	localOf          = chosen(chooseLocal)
	generatorOf      = chosen(chooseGenerator)
	alwaysSensitive  = chosen(chooseAlwaysSensitive)
	neverExtractable = chosen(chooseNeverExtractable)
)

// chooseUsage decides a usage flag that the template does not name: none but the named ones if the template sets any to true,
// else what the key type is for, and for a session's key what one of its type does for a session besides.
func chooseUsage(d *Draft, t pkcs11.AttributeType) any {
	if d.picks {
		return false
	}
	return slices.Contains(d.policy.may, t) || !d.Bool(pkcs11.CKA_TOKEN) && slices.Contains(d.policy.session, t)
}

// bound is a protection that a key inherits.
type bound struct {
	attr  pkcs11.AttributeType
	value bool
}

// floor is what the new key owes to the keys that it comes out of: it may promise more, not less.
func (d *Draft) floor() []bound {
	out := d.roomOwed[:0]
	for i, base := range d.bases {
		fromSecret := d.req.Op == OpDerive && (base.Class() == pkcs11.CKO_SECRET_KEY || base.Class() == pkcs11.CKO_OTP_KEY)
		if (fromSecret || d.req.Op == OpUnwrap) && base.Bool(pkcs11.CKA_SENSITIVE) {
			out = append(out, bound{pkcs11.CKA_SENSITIVE, true})
		}
		// What is one-way in the base key need not be so in the others: a CMAC under a known key can be undone.
		if !fromSecret || d.req.OneWay && i == 0 {
			continue
		}
		if !base.Bool(pkcs11.CKA_EXTRACTABLE) {
			out = append(out, bound{pkcs11.CKA_EXTRACTABLE, false})
		}
		if base.Bool(pkcs11.CKA_WRAP_WITH_TRUSTED) {
			out = append(out, bound{pkcs11.CKA_WRAP_WITH_TRUSTED, true})
		}
	}
	return out
}

// agreed reports whether the object is the secret that a key agreement gives a session: a generic secret out of a private
// key. It is for the protocol that asked for it: programs that name no attributes read it (Java's KeyAgreement).
func (d *Draft) agreed() bool {
	kt, _ := d.KeyType()
	return d.req.Op == OpDerive && d.req.Base.Class() == pkcs11.CKO_PRIVATE_KEY && kt == pkcs11.CKK_GENERIC_SECRET && !d.Bool(pkcs11.CKA_TOKEN)
}

func chooseSensitive(d *Draft, _ pkcs11.AttributeType) any {
	return !d.agreed() || slices.Contains(d.owed, bound{pkcs11.CKA_SENSITIVE, true})
}

// brought reports whether the object is a secret key for a session whose value the caller has: he may want it wrapped
// under somebody's public key (Java's Cipher.wrap), which gives him nothing that he did not have.
func (d *Draft) brought() bool {
	return d.req.Op == OpCreate && d.Class() == pkcs11.CKO_SECRET_KEY && !d.Bool(pkcs11.CKA_TOKEN)
}

// chooseExtractable comes after CKA_SENSITIVE: an agreed secret that is to be sensitive stays inside too.
func chooseExtractable(d *Draft, _ pkcs11.AttributeType) any {
	open := d.op().extractable || d.brought() || d.agreed() && !d.Bool(pkcs11.CKA_SENSITIVE)
	return open && !slices.Contains(d.owed, bound{pkcs11.CKA_EXTRACTABLE, false})
}

// chooseTrustedOnly keeps CKA_WRAP_WITH_TRUSTED of a secret base key.
func chooseTrustedOnly(d *Draft, _ pkcs11.AttributeType) any {
	return slices.Contains(d.owed, bound{pkcs11.CKA_WRAP_WITH_TRUSTED, true})
}

func chooseLocal(d *Draft, _ pkcs11.AttributeType) any { return d.op().local }

func chooseGenerator(d *Draft, _ pkcs11.AttributeType) any {
	if d.op().local {
		return uint(d.req.Mechanism)
	}
	return uint(pkcs11.CK_UNAVAILABLE_INFORMATION)
}

func chooseAlwaysSensitive(d *Draft, t pkcs11.AttributeType) any {
	return d.Bool(pkcs11.CKA_SENSITIVE) && d.sincePast(t)
}

func chooseNeverExtractable(d *Draft, t pkcs11.AttributeType) any {
	return !d.Bool(pkcs11.CKA_EXTRACTABLE) && d.sincePast(t)
}

// sincePast reports whether t held for the key's value before it was this key.
func (d *Draft) sincePast(t pkcs11.AttributeType) bool {
	switch d.op().past {
	case pastNone:
		return true
	case pastOfBase:
		for _, base := range d.bases {
			if !base.Bool(t) {
				return false
			}
		}
		return true
	}
	return false
}
