package object

import (
	"slices"
	"sync"

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
	Fixed     bool                 // the mechanism knows what it makes; OpGenerate must
	Makes     Kind                 // what that is; where it is not Fixed, the template says so

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
	bases  []*Object       // the keys that it comes from
	owed   []bound         // what it owes them: floor
	asked  pkcs11.Template // the caller's, with what the base key and the mechanism add
	named  rowSet          // the rows of what was asked for
	picks  bool            // a usage was asked for
	head   head            // what is decided, in the end all of it
	object *Object         // to be

	// Where those lists are if they are no longer.
	roomAsked [12]pkcs11.Attribute
	roomBases [2]*Object
	roomOwed  [3]bound
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
	if needsBase := operations[req.Op].template != nil; needsBase && req.Base == nil || req.Op == OpGenerate && !req.Fixed {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v without knowing from or of what", req.Op)
	}
	if err := wellFormed(template); err != nil {
		return nil, err
	}
	d := drafts.Get().(*Draft)
	d.req = req
	d.asked = append(d.roomAsked[:0], template...)
	for _, step := range steps {
		if err := step(d); err != nil {
			d.Done()
			return nil, err
		}
	}
	return d, nil
}

// drafts have served an object and will serve another: they are larger than most of what comes of them.
var drafts = sync.Pool{New: func() any { return new(Draft) }}

// Done gives the draft up, once: neither it nor its Template may be used any more, for it is somebody else's. Who does not
// say so only leaves more to the collector.
func (d *Draft) Done() {
	*d = Draft{}
	drafts.Put(d)
}

var steps = []func(*Draft) error{
	(*Draft).obeyBase, (*Draft).settleKind, (*Draft).admit, (*Draft).require, (*Draft).fill, (*Draft).neverLower, (*Draft).mayStore,
}

// Class is what the object will be.
func (d *Draft) Class() pkcs11.ObjectClass { return d.policy.class }

// KeyType is CKA_KEY_TYPE of the object; ok is false where it has none.
func (d *Draft) KeyType() (kt pkcs11.KeyType, ok bool) {
	return d.policy.keyType, d.policy.hasKeyType
}

// Template is what was asked for: CKA_VALUE_LEN, CKA_MODULUS_BITS, the key material of C_CreateObject. Class and key type
// are in it, and what the base key's template adds. It is not to be written to.
func (d *Draft) Template() pkcs11.Template { return d.asked }

// Bool returns a boolean attribute as it has been decided, false where the object will not have it.
func (d *Draft) Bool(t pkcs11.AttributeType) bool { return d.head.isOn(t) }

// Uint returns a numeric attribute as it has been decided; ok is false where the object will not have it.
func (d *Draft) Uint(t pkcs11.AttributeType) (n uint, ok bool) { return d.head.Uint(t) }

func (d *Draft) op() *operation { return &operations[d.req.Op] }

// obeyBase finds the keys that the new one comes from, and adds what their templates demand.
func (d *Draft) obeyBase() error {
	if d.req.Base == nil {
		return nil
	}
	d.bases = append(append(d.roomBases[:0], d.req.Base), d.req.Others...)
	d.owed = d.floor()
	for _, base := range d.bases {
		for _, from := range d.op().template {
			v, _ := base.Get(from)
			demanded, _ := v.(pkcs11.Template)
			merged, against, ok := merge(d.asked, demanded)
			if !ok {
				return pkcs11.Errorf(d.op().conflict, "%v is not what %v of the base key demands", against, from)
			}
			d.asked = merged
		}
	}
	return nil
}

// settleKind finds out what is being made: the mechanism knows, or the template says, or it is a generic secret.
func (d *Draft) settleKind() error {
	sure, made := d.req.Fixed, Kind{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET}
	if sure {
		made = d.req.Makes
	}
	if sure || d.op().secretKey {
		if err := d.settle(pkcs11.CKA_CLASS, uint(made.Class), sure); err != nil {
			return err
		}
		if subtype(made.Class) == pkcs11.CKA_KEY_TYPE {
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
	d.policy, d.head.policy = p, p
	d.object, d.head.values = withRoom(len(p.valued))
	return nil
}

// settle gives t its value where the template is silent; where the value is sure, nothing else may be asked for.
func (d *Draft) settle(t pkcs11.AttributeType, value uint, sure bool) error {
	v, said := d.asked.Get(t)
	if !said {
		d.asked = append(d.asked, pkcs11.AttrUlong(t, value))
		return nil
	}
	if sure && v != value {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is %#x, the mechanism makes %#x", t, v, value)
	}
	return nil
}

// admit applies the row of each attribute that was asked for. What is asked for in its head, the object has.
func (d *Draft) admit() error {
	p, h := d.policy, &d.head
	judged := p.judged | p.with(d.op().never)
	kept := ^p.with(secret | hint)
	for i := range d.asked {
		a := &d.asked[i]
		n, known := p.place(a.Type)
		if !known {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is no attribute of %v", a.Type, p)
		}
		if judged>>n&1 != 0 {
			if err := p.rows[n].admit(d.req.Op, d.req.SO, nil, a.Value); err != nil {
				return err
			}
		}
		d.named |= 1 << n
		if kept>>n&1 != 0 {
			h.put(n, pkcs11.CloneValue(a.Value))
		}
	}
	d.picks = h.on&p.with(usage) != 0
	return nil
}

// require looks for what the operation cannot do without.
func (d *Draft) require() error {
	if missing := d.policy.with(d.op().must) &^ d.named; missing != 0 {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "%v is missing", d.policy.rows[missing.first()].attr)
	}
	if d.req.Op == OpCreate && !d.policy.anyOf(d.named) {
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "no key material or value")
	}
	return nil
}

// anyOf reports whether one of the attributes is there of which one must be.
func (p *policy) anyOf(there rowSet) bool {
	among := p.with(either)
	return among == 0 || among&there != 0
}

// fill decides the rest of the head: the defaults, then what only the token sets.
func (d *Draft) fill() error {
	p, h := d.policy, &d.head
	fixed := p.fixed &^ h.has
	h.has |= fixed
	h.on |= fixed & p.on
	for i := range (fixed &^ p.flags).rows() {
		h.values[p.slots[i]] = p.rows[i].value.always
	}
	for _, chosen := range [...]rowSet{p.early &^ h.has, p.late} {
		for i := range chosen.rows() {
			r := &p.rows[i]
			if v := r.value.choose(d, r.attr); v != nil {
				h.put(uint(i), v)
			}
		}
	}
	return h.check()
}

// check is what must be true of an object as a whole.
func (h *head) check() error {
	if err := checkDates(h); err != nil {
		return err
	}
	if h.policy.check == nil {
		return nil
	}
	return h.policy.check(h)
}

// neverLower refuses a key that would be less protected than the one it comes out of.
func (d *Draft) neverLower() error {
	for _, g := range d.owed {
		if v := d.head.isOn(g.attr); d.head.holds(g.attr) && v != g.value {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v cannot be %v: the base key's is %v", g.attr, v, g.value)
		}
	}
	return nil
}

// mayStore answers whether the caller may have such an object at all.
func (d *Draft) mayStore() error {
	if d.head.isOn(pkcs11.CKA_PRIVATE) && !d.req.User {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "a private object is the user's")
	}
	return nil
}
