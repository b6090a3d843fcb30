package engine

import (
	"context"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What one derivation may take and make.
const (
	maxDerived = 1 << 16 // bytes of a key
	maxNamed   = 64      // keys that the parameter names
	maxMade    = 64      // keys
)

// DeriveKey makes keys from another key, and from those that the mechanism's parameter names. PKCS#11 v3.2, C_DeriveKey.
func (e *Engine) DeriveKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, base hsm.Object, named []hsm.Named, template pkcs11.Template) (d hsm.Derived, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "DeriveKey")
	if err != nil {
		return d, err
	}
	row, err := e.row(m.Type, "derive", (*mech.Mechanism).Derives)
	if err != nil {
		return d, err
	}
	keys, err := e.openBases(cred, row, base, named)
	defer keys.release()
	if err != nil {
		return d, err
	}
	plan, err := row.PlanOf(m.Params, template)
	if err != nil {
		return d, err
	}
	if len(plan) > maxMade {
		return d, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d keys at once, at most %d", len(plan), maxMade)
	}
	drafts, sizes, err := e.drafts(cred, row, keys, plan)
	if err != nil {
		return d, err
	}
	derived, err := row.Run(&mech.Derivation{
		Base: keys.base, KeyType: e.opts.Mechanisms.KeyType(keys.base.Type()), Named: keys.named, Param: m.Params, Sizes: sizes,
	})
	if err != nil {
		return d, err
	}
	made, err := e.finishAll(c, drafts, derived)
	if err != nil {
		return d, err
	}
	kept, err := e.keep(ctx, c, made...)
	if err != nil {
		wipeAll(derived.Outputs)
		return d, err
	}
	return deal(drafts, kept, derived.Outputs, pkcs11.PlacesOf(m.Params)), nil
}

// bases are the keys of a derivation.
type bases struct {
	base  *version
	named map[pkcs11.Handle]mech.Key
	all   []*version
}

func (b *bases) release() {
	for _, v := range b.all {
		v.release()
	}
}

// heads are the keys' attributes, without the base key's.
func (b *bases) heads() (list []*object.Object) {
	for _, v := range b.all[1:] {
		list = append(list, v.head)
	}
	return list
}

// openBases opens the base key and those that the parameter names; all must allow it. What is open must be released, also
// after an error.
func (e *Engine) openBases(cred hsm.Credential, row *mech.Mechanism, base hsm.Object, named []hsm.Named) (*bases, error) {
	b := &bases{}
	if len(named) > maxNamed {
		return b, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the parameter names %d keys, at most %d", len(named), maxNamed)
	}
	open := func(o hsm.Object) (*version, error) {
		v, err := e.key(cred, o, keyUse{row, pkcs11.CKA_DERIVE, pkcs11.CKR_KEY_HANDLE_INVALID})
		if err != nil {
			return nil, err
		}
		b.all = append(b.all, v)
		if _, limited := v.head.Get(pkcs11.CKA_ALLOWED_MECHANISMS); row.ByName && v.head.Bool(pkcs11.CKA_SENSITIVE) && !limited {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED,
				"what %v makes of a sensitive key can be read: the key's CKA_ALLOWED_MECHANISMS must name it", row.Type)
		}
		return v, withoutPIN(v)
	}
	var err error
	if b.base, err = open(base); err != nil {
		return b, err
	}
	if len(named) > 0 {
		b.named = map[pkcs11.Handle]mech.Key{}
	}
	for _, n := range named {
		v, err := open(n.Key)
		if err != nil {
			return b, pkcs11.Errorf(pkcs11.RVOf(err), "the key that the parameter names: %w", err)
		}
		b.named[n.Handle] = v
	}
	return b, nil
}

// drafts builds the objects of a plan, nil for those that are not made, and says how long their templates want them.
func (e *Engine) drafts(cred hsm.Credential, row *mech.Mechanism, keys *bases, plan []mech.Planned) (list []*object.Draft, sizes []int, err error) {
	for i, p := range plan {
		if p.Absent {
			list, sizes = append(list, nil), append(sizes, 0)
			continue
		}
		r := object.Request{Op: object.OpDerive, Base: keys.base.head, Others: keys.heads(), OneWay: row.OneWay}
		if p.Fixed {
			r.Fixed, r.Makes = true, object.Kind{Class: p.Class, Type: p.Type}
		}
		t := p.Template
		if p.FromBase {
			r.Makes.Type = keys.base.Type()
			t = likePrivate(t, keys.base.head)
		}
		if p.Inherit {
			if t, err = inherited(t, keys.base.head); err != nil {
				return nil, nil, err
			}
		}
		if p.Class == pkcs11.CKO_DATA && p.Fixed && !t.Has(pkcs11.CKA_PRIVATE) { // who may not see the key sees nothing made of it
			t = append(slices.Clip(t), pkcs11.Attr(pkcs11.CKA_PRIVATE, keys.base.head.Private()))
		}
		d, err := e.buildFor(cred, r, t)
		if err != nil {
			return nil, nil, pkcs11.Errorf(pkcs11.RVOf(err), "template %d: %w", i, err)
		}
		size, err := e.derivedLen(d)
		if err == nil && row.LengthWithType {
			err = lengthFits(d, t.Has(pkcs11.CKA_KEY_TYPE), size)
		}
		if err != nil {
			return nil, nil, err
		}
		if size == 0 {
			size = int(min(p.Size, maxDerived+1))
		}
		list, sizes = append(list, d), append(sizes, size)
	}
	return list, sizes, nil
}

// lengthFits checks what a template says of key type and length together; size is what they come to. A base key's
// CKA_DERIVE_TEMPLATE may have said the type. PKCS#11 v3.2, Miscellaneous simple key derivation mechanisms.
func lengthFits(d *object.Draft, typed bool, size int) error {
	kt, _ := d.KeyType()
	asked, said := d.Template().Uint(pkcs11.CKA_VALUE_LEN)
	switch {
	case size == 0 && (typed || kt != pkcs11.CKK_GENERIC_SECRET):
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCOMPLETE, "CKA_VALUE_LEN is missing: a key of type %v has no length of its own", kt)
	case said && asked != uint(size):
		return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE_LEN is %d, a key of type %v has %d bytes", asked, kt, size)
	}
	return nil
}

// publicFrom says which attributes a public key takes over from its private key, and from which of them (PKCS#11 v3.2,
// Public key from private key).
var publicFrom = []struct{ to, from pkcs11.AttributeType }{
	{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT}, {pkcs11.CKA_VERIFY, pkcs11.CKA_SIGN}, {pkcs11.CKA_VERIFY_RECOVER, pkcs11.CKA_SIGN_RECOVER},
	{pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP}, {pkcs11.CKA_ENCAPSULATE, pkcs11.CKA_DECAPSULATE}, {pkcs11.CKA_DERIVE, pkcs11.CKA_DERIVE},
	{pkcs11.CKA_ID, pkcs11.CKA_ID}, {pkcs11.CKA_SUBJECT, pkcs11.CKA_SUBJECT}, {pkcs11.CKA_START_DATE, pkcs11.CKA_START_DATE},
	{pkcs11.CKA_END_DATE, pkcs11.CKA_END_DATE}, {pkcs11.CKA_ALLOWED_MECHANISMS, pkcs11.CKA_ALLOWED_MECHANISMS},
}

// likePrivate is a template of a public key with what the private key says where it is silent.
func likePrivate(t pkcs11.Template, base *object.Object) pkcs11.Template {
	t = slices.Clone(t)
	for _, a := range publicFrom {
		if v, has := base.Get(a.from); has && !t.Has(a.to) {
			t = append(t, pkcs11.Attribute{Type: a.to, Value: v})
		}
	}
	return t
}

// inherited is a template with the protection of the base key, from which it may not differ (PKCS#11 v3.2, TLS key and MAC
// derivation).
func inherited(t pkcs11.Template, base *object.Object) (pkcs11.Template, error) {
	t = slices.Clone(t)
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE} {
		v, said := t.Get(a)
		if said && v != base.Bool(a) {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v is not that of the base key", a)
		}
		if !said {
			t = append(t, pkcs11.Attr(a, base.Bool(a)))
		}
	}
	return t, nil
}

// finishAll completes the objects with their material, which is wiped if one of them cannot be.
func (e *Engine) finishAll(c *call, drafts []*object.Draft, derived *mech.Derived) (made []fresh, err error) {
	if len(derived.Keys) != len(drafts) {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%d keys made, %d planned", len(derived.Keys), len(drafts))
	}
	for i, d := range drafts {
		switch {
		case d == nil:
		case err != nil:
			wipeMaterial(d, derived.Keys[i])
		default:
			var f fresh
			if f, err = e.finish(c, d, derived.Keys[i], checkMaterial); err == nil {
				made = append(made, f)
			}
		}
	}
	if err != nil {
		for _, f := range made {
			wipe(f.secret)
		}
		wipeAll(derived.Outputs)
		return nil, err
	}
	return made, nil
}

func wipeAll(outputs [][]byte) {
	for _, b := range outputs {
		secret.Wipe(b)
	}
}

// deal gives each object its place: the first is the call's, where the parameter has not a place for all.
func deal(drafts []*object.Draft, kept []hsm.Object, outputs [][]byte, at pkcs11.Places) (d hsm.Derived) {
	d.Outputs = outputs
	for i, draft := range drafts {
		var o hsm.Object
		if draft != nil {
			o, kept = kept[0], kept[1:]
		}
		if i == 0 && !at.Instead {
			d.Key = o
		} else {
			d.More = append(d.More, o)
		}
	}
	return d
}
