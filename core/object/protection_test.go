package object

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// protection is the rules of what an object's protection rests on, as the standard's footnotes have them (PKCS#11 v3.2,
// common footnotes 8, 10, 11 and 12; storage objects for what a copy may change). They are the same in every kind that has the
// attribute: a kind has columns of its own, and with one of them could lose a rule that the tests of other kinds see.
var protection = map[pkcs11.AttributeType]rule{
	pkcs11.CKA_TOKEN:                onCopy | guard,
	pkcs11.CKA_PRIVATE:              onCopy | stickyTrue | guard,
	pkcs11.CKA_MODIFIABLE:           onCopy | guard,
	pkcs11.CKA_DESTROYABLE:          onCopy | guard,
	pkcs11.CKA_COPYABLE:             settable | stickyFalse | guard,
	pkcs11.CKA_TRUSTED:              settable | soOnly | guard,
	pkcs11.CKA_SENSITIVE:            settable | stickyTrue | guard,
	pkcs11.CKA_EXTRACTABLE:          settable | stickyFalse | guard,
	pkcs11.CKA_WRAP_WITH_TRUSTED:    settable | stickyTrue | guard,
	pkcs11.CKA_ALWAYS_SENSITIVE:     createNever | generateNever | unwrapNever | computed | guard,
	pkcs11.CKA_NEVER_EXTRACTABLE:    createNever | generateNever | unwrapNever | computed | guard,
	pkcs11.CKA_ALWAYS_AUTHENTICATE:  guard,
	pkcs11.CKA_ALLOWED_MECHANISMS:   0,
	pkcs11.CKA_WRAP_TEMPLATE:        0,
	pkcs11.CKA_UNWRAP_TEMPLATE:      0,
	pkcs11.CKA_DERIVE_TEMPLATE:      0,
	pkcs11.CKA_ENCAPSULATE_TEMPLATE: 0,
	pkcs11.CKA_DECAPSULATE_TEMPLATE: 0,
	pkcs11.CKA_LOCAL:                createNever | generateNever | unwrapNever | computed,
	pkcs11.CKA_KEY_GEN_MECHANISM:    createNever | generateNever | unwrapNever | computed,
	pkcs11.CKA_HSS_KEYS_REMAINING:   createNever | generateNever | unwrapNever | computed,
	pkcs11.CKA_CHECK_VALUE:          settable | derived | clearable,
}

// protected is which of them no object of a class is without.
var protected = func() map[pkcs11.ObjectClass][]pkcs11.AttributeType {
	stored := []pkcs11.AttributeType{pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_DESTROYABLE, pkcs11.CKA_COPYABLE}
	hidden := append(stored[:len(stored):len(stored)], pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_WRAP_WITH_TRUSTED,
		pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_ALLOWED_MECHANISMS, pkcs11.CKA_LOCAL)
	return map[pkcs11.ObjectClass][]pkcs11.AttributeType{
		pkcs11.CKO_DATA:              stored,
		pkcs11.CKO_TRUST:             stored,
		pkcs11.CKO_DOMAIN_PARAMETERS: stored,
		pkcs11.CKO_CERTIFICATE:       append(stored[:len(stored):len(stored)], pkcs11.CKA_TRUSTED),
		pkcs11.CKO_PUBLIC_KEY:        append(stored[:len(stored):len(stored)], pkcs11.CKA_TRUSTED, pkcs11.CKA_ALLOWED_MECHANISMS),
		pkcs11.CKO_PRIVATE_KEY:       append(hidden[:len(hidden):len(hidden)], pkcs11.CKA_ALWAYS_AUTHENTICATE),
		pkcs11.CKO_SECRET_KEY:        append(hidden[:len(hidden):len(hidden)], pkcs11.CKA_TRUSTED),
		pkcs11.CKO_OTP_KEY:           hidden,
	}
}()

func TestEveryKindIsProtectedAlike(t *testing.T) {
	for _, p := range allPolicies() {
		if p.builtin {
			for _, r := range p.rows {
				require.True(t, r.has(computed) || r.attr == pkcs11.CKA_CLASS, "%v %v: the token's own objects are its alone", p, r.attr)
			}
			continue
		}
		for _, r := range p.rows {
			if want, known := protection[r.attr]; known {
				require.Equal(t, want, r.rules, "%v %v", p, r.attr)
			}
			if r.has(secret) {
				require.Equal(t, generateNever|unwrapNever, r.rules&(generateNever|unwrapNever), "%v %v: material that a template brings", p, r.attr)
			}
		}
		require.NotEmpty(t, protected[p.class], "%v", p)
		for _, attr := range protected[p.class] {
			require.NotNil(t, p.row(attr), "%v %v", p, attr)
		}
	}
}

// TestTheTokensOwnObjectsStayAsTheyAre: what Builtin makes has the attributes that forbid it.
func TestTheTokensOwnObjectsStayAsTheyAre(t *testing.T) {
	for _, p := range allPolicies() {
		if !p.builtin {
			continue
		}
		given := tmpl{}
		if attr := subtype(p.class); attr != pkcs11.CKA_CLASS {
			given = tmpl{num(attr, typeOf(p))}
		}
		o, err := Builtin(p.class, given)
		require.NoError(t, err, "%v", p)
		require.True(t, o.Token(), "%v", p)
		require.False(t, o.Private(), "%v", p)
		_, err = Set(o, true, tmpl{text(pkcs11.CKA_LABEL, "mine")})
		requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err, p)
		_, err = Copy(o, true, true, newID(), nil)
		requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err, p)
		requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, o.Destroyable(), p)
	}
}

// typeOf is the number under which the table has a policy.
func typeOf(p *policy) uint {
	for typ, other := range table().of(p.class) {
		if other == p {
			return typ
		}
	}
	return 0
}

// TestLoadWantsAllThatProtects: a stored head without one of its guards, or with what has no place in it, is no object.
func TestLoadWantsAllThatProtects(t *testing.T) {
	for _, o := range []*Object{create(t, aesImport), create(t, ecImport), create(t, ecPubImport), create(t, certImport), create(t, dataImport)} {
		head := o.Attributes()
		_, err := Load(head.Clone())
		require.NoError(t, err)
		for _, attr := range protected[o.Class()] {
			if protection[attr]&guard == 0 {
				continue
			}
			_, err := Load(without(head, attr))
			requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, o.policy, attr)
		}
		_, err = Load(without(head, pkcs11.CKA_UNIQUE_ID))
		requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, o.policy)
		_, err = Load(join(without(head, pkcs11.CKA_UNIQUE_ID), text(pkcs11.CKA_UNIQUE_ID, "0123456789ABCDEF0123456789abcdef")))
		requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, o.policy)
		_, err = Load(join(head, text(pkcs11.CKA_MODULUS, "n")))
		requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, o.policy)
	}
	_, err := Load(join(create(t, aesImport).Attributes(), text(pkcs11.CKA_VALUE, "0123456789abcdef")))
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, "a key in the head, which everybody reads")
}

// TestTrustIsTheSOsToTakeAway: Set and Copy see to that before they ask the row, which knows it as well.
func TestTrustIsTheSOsToTakeAway(t *testing.T) {
	r := create(t, aesImport).policy.row(pkcs11.CKA_TRUSTED)
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, r.admit(OpSet, false, true, false))
	require.NoError(t, r.admit(OpSet, true, true, false))
}

// TestSpend: a key with state counts down to nothing and no further.
func TestSpend(t *testing.T) {
	hss := generation(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_HSS)
	key, _ := finish(t, hss, tmpl{flag(pkcs11.CKA_TOKEN, true), num(pkcs11.CKA_HSS_LEVELS, 1), {Type: pkcs11.CKA_HSS_LMS_TYPES, Value: []uint{5}},
		{Type: pkcs11.CKA_HSS_LMOTS_TYPES, Value: []uint{4}}}, tmpl{num(pkcs11.CKA_HSS_KEYS_REMAINING, 3), text(pkcs11.CKA_VALUE, "state")})
	left := func(o *Object) uint { n, _ := o.Uint(pkcs11.CKA_HSS_KEYS_REMAINING); return n }
	one, err := Spend(key, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, left(one))
	require.Equal(t, key.ID(), one.ID())
	require.EqualValues(t, 3, left(key), "the old one is as it was")
	_, err = Spend(one, 3)
	requireRV(t, pkcs11.CKR_KEY_EXHAUSTED, err)
	none, err := Spend(one, 2)
	require.NoError(t, err)
	require.Zero(t, left(none))
	_, err = Spend(none, 1)
	requireRV(t, pkcs11.CKR_KEY_EXHAUSTED, err)
	_, err = Spend(create(t, aesImport), 0)
	requireRV(t, pkcs11.CKR_KEY_EXHAUSTED, err, "no key with state")
}
