package object

import (
	"slices"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Kind is a class and key type.
type Kind struct {
	Class pkcs11.ObjectClass
	Type  pkcs11.KeyType
}

// Request says who makes an object, and how.
type Request struct {
	Op        Op                   // not OpCopy and OpSet, which are Copy and Set
	SO, User  bool                 // who is logged in; neither: a public session
	Mechanism pkcs11.MechanismType // OpGenerate: becomes CKA_KEY_GEN_MECHANISM
	Makes     *Kind                // what the mechanism makes; nil where the template says so; OpGenerate must have it

	Base   *Object   // the unwrapping key, the base key, the key of the encapsulation; nil for the others
	Others []*Object // OpDerive: the keys that the mechanism's parameter names
	// OneWay says that nobody can tell the base key from the derived one (HKDF, SP 800-108, a hash): then
	// CKA_EXTRACTABLE of a key derived from a secret key is free to choose. Without it, it follows the base key, as it
	// always follows Others.
	OneWay bool
}

// Draft is an object that has passed the policy and waits for its material.
type Draft struct {
	req    Request
	policy *policy
	asked  pkcs11.Template // the caller's, with what the base key and the mechanism add
	head   pkcs11.Template // what is decided of the head, in the end all of it
}

// Build checks a template against the policy and fills in what it leaves open. The draft refers to the template until it
// is finished; the template does not change.
//
// What the caller does not say:
//
//   - CKA_TOKEN is false; CKA_PRIVATE is true for private, secret and OTP keys and false for all else.
//   - CKA_SENSITIVE is true. CKA_EXTRACTABLE is true for what was unwrapped, encapsulated or decapsulated, as the standard
//     has it, and false for the rest. A generic secret that a session derives from a private key (ECDH, Diffie-Hellman) is
//     not sensitive, as the standard has it, and extractable; a secret key that is created for a session is extractable.
//   - Usage: a template that sets any usage flag to true gets those only. One that sets none gets what the key type is
//     for: RSA encrypts, signs and wraps, and its public key recovers; EC, EdDSA, DSA and the hash-based and lattice
//     signatures sign, and EC keys of a session derive too; X25519 and Diffie-Hellman derive; ML-KEM encapsulates; AES and
//     other block ciphers encrypt and sign (MACs); stream ciphers encrypt; HMAC and generic secrets sign; HKDF keys
//     derive. Flags that the template sets to false stay false.
//   - CKA_LABEL, CKA_ID, CKA_SUBJECT and dates are empty. CKA_ALLOWED_MECHANISMS and the templates are absent.
//
// Unwrapping never makes a key less sensitive than the unwrapping key, and derivation from a secret key never one less
// sensitive than that. Deviation: the standard allows the caller to say otherwise; here that is
// CKR_TEMPLATE_INCONSISTENT. What a private key derives (ECDH) or decapsulates is free, for that is what protocols read.
//
// Errors: CKR_ATTRIBUTE_TYPE_INVALID for attributes that the standard does not know (vendor ones too),
// CKR_ATTRIBUTE_VALUE_INVALID, CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, and
// CKR_USER_NOT_LOGGED_IN for a private object without the user. PKCS#11 v3.2, section 4.1.1.
func Build(req Request, template pkcs11.Template) (*Draft, error) {
	if int(req.Op) >= len(operations) || operations[req.Op].change != 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v does not build an object", req.Op)
	}
	if needsBase := operations[req.Op].template != nil; needsBase && req.Base == nil || req.Op == OpGenerate && req.Makes == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v without knowing from or of what", req.Op)
	}
	if err := wellFormed(template); err != nil {
		return nil, err
	}
	d := &Draft{req: req, asked: template}
	steps := []func() error{d.obeyBase, d.settleKind, d.admit, d.require, d.fill, d.neverLower, d.mayStore}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Class is what the object will be.
func (d *Draft) Class() pkcs11.ObjectClass { return d.policy.class }

// KeyType is CKA_KEY_TYPE of the object; ok is false where it has none.
func (d *Draft) KeyType() (kt pkcs11.KeyType, ok bool) {
	v, ok := d.asked.Uint(pkcs11.CKA_KEY_TYPE)
	return pkcs11.KeyType(v), ok
}

// Template is what was asked for: CKA_VALUE_LEN, CKA_MODULUS_BITS, the key material of C_CreateObject. Class and key type
// are in it, and what the base key's template adds. It is not to be written to.
func (d *Draft) Template() pkcs11.Template { return d.asked }

// Bool returns a boolean attribute as it has been decided, false where the object will not have it.
func (d *Draft) Bool(t pkcs11.AttributeType) bool {
	v, _ := d.head.Bool(t)
	return v
}

// Uint returns a numeric attribute as it has been decided; ok is false where the object will not have it.
func (d *Draft) Uint(t pkcs11.AttributeType) (n uint, ok bool) { return d.head.Uint(t) }

func (d *Draft) op() *operation { return &operations[d.req.Op] }

// bases are the keys that the new one comes from.
func (d *Draft) bases() []*Object {
	if d.req.Base == nil {
		return nil
	}
	return append([]*Object{d.req.Base}, d.req.Others...)
}

// obeyBase adds what the templates of the base keys demand.
func (d *Draft) obeyBase() error {
	for _, base := range d.bases() {
		for _, from := range d.op().template {
			v, _ := base.Get(from)
			demanded, _ := v.(pkcs11.Template)
			merged, err := merge(d.asked, demanded, from)
			if err != nil {
				return err
			}
			d.asked = merged
		}
	}
	return nil
}

// settleKind finds out what is being made: the mechanism knows, or the template says, or it is a generic secret.
func (d *Draft) settleKind() error {
	sure, made := d.req.Makes != nil, Kind{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET}
	if sure {
		made = *d.req.Makes
	}
	if sure || d.op().secretKey {
		if err := d.settle(pkcs11.CKA_CLASS, uint(made.Class), sure); err != nil {
			return err
		}
		if subtype[made.Class] == pkcs11.CKA_KEY_TYPE {
			if err := d.settle(pkcs11.CKA_KEY_TYPE, uint(made.Type), sure); err != nil {
				return err
			}
		}
	}
	p, err := policyOf(d.asked)
	if err != nil {
		return err
	}
	if p.builtin {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "objects of class %v are the token's own", p.class)
	}
	if may := d.op().classes; !sure && may != nil && !slices.Contains(may, p.class) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v does not make a %v", d.req.Op, p.class)
	}
	d.policy = p
	return nil
}

// settle gives t its value where the template is silent; where the value is sure, nothing else may be asked for.
func (d *Draft) settle(t pkcs11.AttributeType, value uint, sure bool) error {
	v, said := d.asked.Get(t)
	if !said {
		d.asked = append(slices.Clip(d.asked), pkcs11.AttrUlong(t, value))
		return nil
	}
	if sure && v != value {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is %#x, the mechanism makes %#x", t, v, value)
	}
	return nil
}

// admit applies the row of each attribute that was asked for.
func (d *Draft) admit() error {
	for _, a := range d.asked {
		r := d.policy.row(a.Type)
		if r == nil {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is no attribute of %v", a.Type, d.policy)
		}
		if err := r.admit(d.req.Op, d.req.SO, nil, a.Value); err != nil {
			return err
		}
	}
	return nil
}

// require looks for what the operation cannot do without.
func (d *Draft) require() error {
	for i := range d.policy.rows {
		r := &d.policy.rows[i]
		if r.has(d.op().must) && !d.asked.Has(r.attr) {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is missing", r.attr)
		}
	}
	if d.req.Op == OpCreate && !d.policy.anyOf(d.asked.Has) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "no key material or value")
	}
	return nil
}

// anyOf reports whether one of the attributes is there of which one must be.
func (p *policy) anyOf(has func(pkcs11.AttributeType) bool) bool {
	needed := false
	for _, r := range p.rows {
		if r.has(either) {
			if has(r.attr) {
				return true
			}
			needed = true
		}
	}
	return !needed
}

// fill decides the head: what was asked for, then the defaults, then what only the token sets.
func (d *Draft) fill() error {
	d.head = make(pkcs11.Template, 0, len(d.policy.rows))
	for _, a := range d.asked {
		if r := d.policy.row(a.Type); !r.has(secret | hint) {
			d.head = append(d.head, a)
		}
	}
	for _, late := range []bool{false, true} {
		for i := range d.policy.rows {
			r := &d.policy.rows[i]
			if r.value == nil || r.has(computed) != late || d.head.Has(r.attr) {
				continue
			}
			if v := r.value(d, r.attr); v != nil {
				d.head = append(d.head, pkcs11.Attribute{Type: r.attr, Value: v})
			}
		}
	}
	return d.policy.checkHead(d.head)
}

// checkHead is what must be true of an object as a whole.
func (p *policy) checkHead(head pkcs11.Template) error {
	if err := checkDates(head); err != nil {
		return err
	}
	if p.check == nil {
		return nil
	}
	return p.check(head)
}

// neverLower refuses a key that would be less protected than the one it comes out of.
func (d *Draft) neverLower() error {
	for _, g := range d.floor() {
		v, has := d.head.Bool(g.attr)
		if has && v != g.value {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be %v: the base key's is %v", g.attr, v, g.value)
		}
	}
	return nil
}

// mayStore answers whether the caller may have such an object at all.
func (d *Draft) mayStore() error {
	if private, _ := d.head.Bool(pkcs11.CKA_PRIVATE); private && !d.req.User {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "a private object is the user's")
	}
	return nil
}
