package object

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// kinds lists the policies in a fixed order. HSS private keys need lists of numbers in templates.
var kinds = func() []*policy {
	var out []*policy
	numbers := pkcs11.CheckValue(pkcs11.CKA_HSS_LMS_TYPES, []uint{}) == nil
	for _, p := range allPolicies() {
		if numbers || p.row(pkcs11.CKA_HSS_LMS_TYPES) == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *policy) int { return cmp.Compare(a.name, b.name) })
	return out
}()

func pick[T any](draw func(int) int, list []T) T { return list[draw(len(list))] }

// randomValue mostly has the form that the attribute wants.
func randomValue(t pkcs11.AttributeType, draw func(int) int, depth int) any {
	kind, _ := t.Kind()
	if draw(40) == 1 {
		kind = pkcs11.Kind(draw(10))
	}
	switch kind {
	case pkcs11.KindBool:
		return draw(2) == 1
	case pkcs11.KindUlong:
		return uint(draw(6))
	case pkcs11.KindDate:
		return pick(draw, [][]byte{{}, []byte("20260101"), []byte("20270630"), []byte("20260230")})
	case pkcs11.KindMechanisms:
		return make([]pkcs11.MechanismType, draw(3))
	case pkcs11.KindUlongs:
		return make([]uint, draw(3))
	case pkcs11.KindTemplate:
		if depth > maxDepth {
			return pkcs11.Template{}
		}
		return randomTemplate(pick(draw, kinds), draw, draw(3), depth+1)
	case 0:
		return nil
	}
	return make([]byte, draw(3))
}

func randomTemplate(p *policy, draw func(int) int, n, depth int) pkcs11.Template {
	var out pkcs11.Template
	for range n {
		t := pick(draw, p.rows).attr
		if draw(50) == 1 {
			t = pick(draw, pick(draw, kinds).rows).attr
		}
		if !out.Has(t) || draw(50) == 1 {
			out = append(out, pkcs11.Attribute{Type: t, Value: randomValue(t, draw, depth)})
		}
	}
	return out
}

func randomChange(p *policy, draw func(int) int) pkcs11.Template {
	return randomTemplate(p, draw, draw(3), 1)
}

// randomRequest draws a request that has a fair chance: what must be there is mostly there.
func randomRequest(draw func(int) int) (Request, pkcs11.Template) {
	p := pick(draw, kinds)
	req := Request{Op: Op(draw(int(OpCopy))), SO: draw(4) == 1, User: draw(8) != 1, OneWay: draw(2) == 1, Mechanism: pkcs11.CKM_AES_KEY_GEN}
	template := randomTemplate(p, draw, draw(5), 1)
	if req.Op == OpGenerate {
		req.Fixed, req.Makes = true, Kind{Class: p.class}
		if p.types != nil {
			req.Makes.Type = pkcs11.KeyType(pick(draw, p.types))
		}
	}
	if req.Op == OpUnwrap || req.Op >= OpDerive {
		req.Base = randomBase(draw)
	}
	for _, r := range p.rows {
		if r.has(operations[req.Op].must) && !template.Has(r.attr) && draw(30) != 1 {
			template = append(template, pkcs11.Attribute{Type: r.attr, Value: randomValue(r.attr, draw, 1)})
		}
	}
	if draw(30) != 1 {
		template = template.Set(pkcs11.CKA_CLASS, uint(p.class))
		if a := subtype(p.class); a != pkcs11.CKA_CLASS {
			typ := pick(draw, p.types)
			if req.Fixed && draw(30) != 1 {
				typ = uint(req.Makes.Type)
			}
			template = template.Set(a, typ)
		}
	}
	return req, template
}

// randomBase makes a key to come from.
func randomBase(draw func(int) int) *Object {
	template := pick(draw, []pkcs11.Template{aesImport, rsaImport, ecImport})
	template = join(template, flag(pkcs11.CKA_SENSITIVE, draw(2) == 1), flag(pkcs11.CKA_EXTRACTABLE, draw(2) == 1))
	d, err := Build(user(OpCreate), template)
	if err != nil {
		return nil
	}
	defer d.Done()
	o, _, err := d.Finish(newID(), nil)
	if err != nil {
		return nil
	}
	return o
}

// sane wants an error that an application can make sense of.
func sane(t *testing.T, err error) {
	t.Helper()
	switch pkcs11.RVOf(err) {
	case pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_ATTRIBUTE_READ_ONLY,
		pkcs11.CKR_TEMPLATE_INCOMPLETE, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_ACTION_PROHIBITED, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE:
	default:
		require.NoError(t, err)
	}
}

// buildSoundly builds and checks what came out; nil if it was refused.
func buildSoundly(t *testing.T, req Request, template pkcs11.Template, draw func(int) int) (*Object, pkcs11.Template) {
	t.Helper()
	before := template.Clone()
	d, err := Build(req, template)
	require.Equal(t, before, template.Clone(), "the caller's template changed")
	if err != nil {
		sane(t, err)
		return nil, nil
	}
	defer d.Done()
	var made pkcs11.Template // as a mechanism would: what is still missing
	for _, r := range d.policy.rows {
		if r.has(createMust|either|atLast) && !d.asked.Has(r.attr) {
			made = append(made, pkcs11.Attribute{Type: r.attr, Value: randomMaterial(r.attr, draw)})
		}
	}
	material := slices.Clone(made)
	o, secret, err := d.Finish(newID(), made)
	if err != nil {
		requireStillThere(t, d, material, made)
		sane(t, err)
		return nil, nil
	}
	requireSound(t, o, secret)
	for _, base := range d.bases {
		guarded := req.Op == OpUnwrap || req.Op == OpDerive && base.Class() == pkcs11.CKO_SECRET_KEY
		if _, key := o.Get(pkcs11.CKA_SENSITIVE); key && guarded && base.Bool(pkcs11.CKA_SENSITIVE) {
			require.True(t, o.Bool(pkcs11.CKA_SENSITIVE))
		}
	}
	require.False(t, o.Private() && !req.User)
	require.False(t, o.Bool(pkcs11.CKA_TRUSTED) && !req.SO)
	require.Equal(t, req.Op == OpGenerate && o.policy.row(pkcs11.CKA_LOCAL) != nil, o.Bool(pkcs11.CKA_LOCAL))
	require.False(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE) && !o.Bool(pkcs11.CKA_SENSITIVE))
	require.False(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE) && o.Bool(pkcs11.CKA_EXTRACTABLE))
	return o, secret
}

// requireStillThere wants what is secret of the material in the caller's hands, for him to wipe.
func requireStillThere(t *testing.T, d *Draft, material, now pkcs11.Template) {
	t.Helper()
	for _, a := range material {
		b, _ := a.Value.([]byte)
		if len(b) > 0 && d.policy.row(a.Type).has(secret) {
			require.True(t, slices.ContainsFunc(now, func(left pkcs11.Attribute) bool {
				same, _ := left.Value.([]byte)
				return len(same) > 0 && &same[0] == &b[0]
			}), "%v is lost", a.Type)
		}
	}
}

func randomMaterial(t pkcs11.AttributeType, draw func(int) int) any {
	kind, _ := t.Kind()
	switch kind {
	case pkcs11.KindUlong:
		return uint(draw(6))
	case pkcs11.KindUlongs:
		return []uint{}
	}
	return make([]byte, 1+draw(3))
}

// requireSound holds for every object that there is: nothing secret in the head, nothing else in the secret part, and it
// survives storage.
func requireSound(t *testing.T, o *Object, secretPart pkcs11.Template) {
	t.Helper()
	for _, a := range secretPart {
		require.True(t, o.policy.row(a.Type).has(secret), "%v", a.Type)
		_, _, err := o.Reveal(a.Type)
		require.Equal(t, o.guarded(), err != nil, "%v", a.Type)
		if o.guarded() {
			require.False(t, o.Matches(pkcs11.Template{a}, func() pkcs11.Template { return secretPart }))
		}
	}
	blob, err := Marshal(o.Attributes())
	require.NoError(t, err)
	head, err := Unmarshal(blob)
	require.NoError(t, err)
	again, err := Load(head)
	require.NoError(t, err)
	require.True(t, pkcs11.EqualValue(o.Attributes(), again.Attributes()), "storage changed it")
	for _, a := range o.Attributes() {
		require.False(t, o.policy.row(a.Type).has(secret), "%v", a.Type)
	}
}

// requireNotWeaker compares an object with what became of it.
func requireNotWeaker(t *testing.T, old, now *Object, so bool) {
	t.Helper()
	for _, attr := range []pkcs11.AttributeType{pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE,
		pkcs11.CKA_WRAP_WITH_TRUSTED, pkcs11.CKA_PRIVATE, pkcs11.CKA_ALWAYS_AUTHENTICATE} {
		require.False(t, old.Bool(attr) && !now.Bool(attr), "%v fell", attr)
	}
	for _, attr := range []pkcs11.AttributeType{pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_COPYABLE, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE} {
		require.False(t, !old.Bool(attr) && now.Bool(attr), "%v rose", attr)
	}
	require.False(t, !so && now.Bool(pkcs11.CKA_TRUSTED), "trusted without the SO")
	for _, attr := range []pkcs11.AttributeType{pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_LOCAL, pkcs11.CKA_KEY_GEN_MECHANISM,
		pkcs11.CKA_ALLOWED_MECHANISMS, pkcs11.CKA_WRAP_TEMPLATE, pkcs11.CKA_UNWRAP_TEMPLATE, pkcs11.CKA_DERIVE_TEMPLATE} {
		a, had := old.Get(attr)
		b, has := now.Get(attr)
		require.Equal(t, had, has, "%v", attr)
		require.True(t, !had || pkcs11.EqualValue(a, b), "%v", attr)
	}
}
