// Package object is what a token holds: objects, and the attribute policy that decides what may be in them.
//
// The policy is a table of rows, one set of rows for each object class and key type, with rules named after the
// footnotes of the standard. One interpreter runs it for create, generate, unwrap, derive, encapsulate, decapsulate, copy
// and set; nothing else decides about attributes.
//
// An Object is the head only: every attribute that is not secret key material. The material is a template of its own,
// the secret part, which the engine seals apart from the head and opens when the key is first used.
//
// An Object never changes once it is made, so any number of goroutines may read one. Values that it returns are its own
// and are not to be written to, save where a method says that it returns a copy. Drafts belong to one goroutine.
package object

import (
	"cmp"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Object is the head of an object. CKA_UNIQUE_ID is apart, and where an object shares the values that it has in common with
// others (Pool), so are those that are its own.
type Object struct {
	head
	own pkcs11.Template // in ascending order of type
	id  string

	// What every use of a key asks, found once.
	restricted bool // CKA_ALLOWED_MECHANISMS is there
	eachTime   bool // CKA_ALWAYS_AUTHENTICATE
}

// newObject takes over what has been decided.
func newObject(h head, id string) *Object {
	o := new(Object)
	o.become(h, id)
	return o
}

// withRoom returns an object to be, and places for n values, which are a part of the object if they are not too many.
func withRoom(n int) (*Object, []any) {
	const most = 16
	if n > most {
		return new(Object), make([]any, n)
	}
	o := new(struct {
		Object
		room [most]any
	})
	return &o.Object, o.room[:n]
}

func (o *Object) become(h head, id string) {
	o.head, o.id = h, id
	o.restricted, o.eachTime = h.has&h.policy.limits != 0, h.isOn(pkcs11.CKA_ALWAYS_AUTHENTICATE)
}

func ascending(t pkcs11.Template) {
	slices.SortFunc(t, func(a, b pkcs11.Attribute) int { return cmp.Compare(a.Type, b.Type) })
}

// Load makes an object from a stored head, which it takes over. It checks that the head is one that this package could
// have written: known attributes of the right form, none of them secret, an identity, and no flag missing on which the
// object's protection rests. Objects of the token itself are made by Builtin.
func Load(head pkcs11.Template) (*Object, error) {
	if err := wellFormed(head); err != nil {
		return nil, err
	}
	p, err := policyOf(head)
	if err != nil {
		return nil, err
	}
	for _, a := range head {
		r := p.row(a.Type)
		if r == nil || r.has(secret) {
			return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v does not belong in the head of %v", a.Type, p)
		}
	}
	for _, r := range p.rows {
		if r.has(guard) && !head.Has(r.attr) {
			return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%v is missing in the head of %v", r.attr, p)
		}
	}
	id := string(head.Bytes(pkcs11.CKA_UNIQUE_ID))
	if !validID(id) {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "CKA_UNIQUE_ID of %d bytes, %d lower-case hex digits expected", len(id), idDigits)
	}
	return newObject(headOf(p, head), id), nil
}

const idDigits = 32

// noDigit is 1 for each byte that is no lower-case hex digit: looked up, for which digits an identity has nobody can guess,
// the processor's branch prediction included.
var noDigit = func() (table [256]uint8) {
	for c := range table {
		if !strings.ContainsRune("0123456789abcdef", rune(c)) {
			table[c] = 1
		}
	}
	return table
}()

func validID(id string) bool {
	wrong := uint8(0)
	for i := range len(id) {
		wrong |= noDigit[id[i]]
	}
	return len(id) == idDigits && wrong == 0
}

// ID is CKA_UNIQUE_ID, 32 lower-case hex digits.
func (o *Object) ID() string { return o.id }

// Class is CKA_CLASS.
func (o *Object) Class() pkcs11.ObjectClass { return o.policy.class }

// KeyType is CKA_KEY_TYPE; ok is false for what is neither a key nor domain parameters.
func (o *Object) KeyType() (kt pkcs11.KeyType, ok bool) { return o.policy.keyType, o.policy.hasKeyType }

// EachTime is CKA_ALWAYS_AUTHENTICATE.
func (o *Object) EachTime() bool { return o.eachTime }

// Token is CKA_TOKEN.
func (o *Object) Token() bool { return o.Bool(pkcs11.CKA_TOKEN) }

// Private is CKA_PRIVATE.
func (o *Object) Private() bool { return o.Bool(pkcs11.CKA_PRIVATE) }

// Get returns an attribute of the head.
func (o *Object) Get(t pkcs11.AttributeType) (any, bool) {
	if t == pkcs11.CKA_UNIQUE_ID {
		return []byte(o.id), true
	}
	if v, ok := o.head.Get(t); v != nil || !ok {
		return v, ok
	}
	return lookUp(o.own, t)
}

// Bool returns a boolean attribute, false where it is missing.
func (o *Object) Bool(t pkcs11.AttributeType) bool { return o.isOn(t) }

// Uint returns a numeric attribute.
func (o *Object) Uint(t pkcs11.AttributeType) (uint, bool) {
	v, _ := o.Get(t)
	u, ok := v.(uint)
	return u, ok
}

// Bytes returns a byte-string attribute, nil where it is missing.
func (o *Object) Bytes(t pkcs11.AttributeType) []byte {
	v, _ := o.Get(t)
	b, _ := v.([]byte)
	return b
}

// Attributes returns a copy of the head, in ascending order of type.
func (o *Object) Attributes() pkcs11.Template {
	t := append(o.head.attributes(len(o.own)+1), o.own...)
	for i := range t {
		t[i].Value = pkcs11.CloneValue(t[i].Value)
	}
	t = append(t, pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, o.id))
	ascending(t)
	return t
}

// guarded reports whether the secret part may not leave the token in the clear (footnote 7).
func (o *Object) guarded() bool {
	return o.Bool(pkcs11.CKA_SENSITIVE) || !o.Bool(pkcs11.CKA_EXTRACTABLE)
}
