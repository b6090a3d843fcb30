package object

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestSchemaIsSound holds for every row of every kind of object.
func TestSchemaIsSound(t *testing.T) {
	type key struct {
		class pkcs11.ObjectClass
		typ   uint
	}
	seen := map[key]bool{}
	for _, k := range schema() {
		types := k.types
		if types == nil {
			types = []uint{0}
		}
		for _, typ := range types {
			require.False(t, seen[key{k.class, typ}], "%v %#x is there twice", k.class, typ)
			seen[key{k.class, typ}] = true
		}
	}
	for _, p := range allPolicies() {
		require.LessOrEqual(t, len(p.rows), mostRows, "%v", p)
		for _, r := range p.rows {
			kind, known := r.attr.Kind()
			require.True(t, known, "%v %v", p, r.attr)
			require.False(t, r.has(derived) && kind == pkcs11.KindBool, "%v %v: a flag that may be left out again", p, r.attr)
			if r.has(secret) {
				require.False(t, r.has(settable|onCopy|hint|derived), "%v %v", p, r.attr)
				require.Nil(t, r.value, "%v %v: a default for a secret", p, r.attr)
			}
			if r.has(guard) {
				require.NotNil(t, r.value, "%v %v: protection must be decided", p, r.attr)
			}
			if r.has(usage) {
				require.True(t, r.has(settable), "%v %v", p, r.attr)
			}
			require.False(t, r.has(stickyTrue) && r.has(stickyFalse), "%v %v", p, r.attr)
			require.False(t, r.has(computed) && r.has(createMust|generateMust|unwrapMust), "%v %v", p, r.attr)
			require.False(t, r.has(createMust) && r.has(createNever) || r.has(generateMust) && r.has(generateNever), "%v %v", p, r.attr)
		}
		for _, u := range p.may {
			r := p.row(u)
			require.NotNil(t, r, "%v %v", p, u)
			require.True(t, r.has(usage), "%v %v", p, u)
		}
	}
}

// TestRowsThatAreNotAskedHaveNothingToSay: admit asks a row about a new object's value only if it is among the judged, or
// must not be in such a template. The others must have no objection.
func TestRowsThatAreNotAskedHaveNothingToSay(t *testing.T) {
	values := []any{true, false, uint(0), ^uint(0), []byte{}, []byte("x"), []pkcs11.MechanismType{}, []uint{}, tmpl{}}
	for _, p := range allPolicies() {
		for op := range OpCopy {
			for i := range (^(p.judged | p.with(operations[op].never)) & (1<<len(p.rows) - 1)).rows() {
				for _, v := range values {
					require.NoError(t, p.rows[i].admit(op, false, nil, v), "%v, %v, %v", p, op, p.rows[i].attr)
				}
			}
		}
	}
}

func TestSecretAttribute(t *testing.T) {
	for _, c := range []struct {
		class pkcs11.ObjectClass
		kt    pkcs11.KeyType
		attr  pkcs11.AttributeType
		want  bool
	}{
		{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES, pkcs11.CKA_VALUE, true},
		{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES, pkcs11.CKA_VALUE_LEN, false},
		{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES, pkcs11.CKA_CHECK_VALUE, false},
		{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA, pkcs11.CKA_MODULUS, false},
		{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_ML_KEM, pkcs11.CKA_SEED, true},
		{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_ML_KEM, pkcs11.CKA_VALUE, false},
		{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_DSA, pkcs11.CKA_VALUE, false},
		{pkcs11.CKO_OTP_KEY, pkcs11.CKK_HOTP, pkcs11.CKA_VALUE, true},
		{pkcs11.CKO_DATA, 0, pkcs11.CKA_VALUE, false},
		{pkcs11.CKO_VENDOR_DEFINED, 0, pkcs11.CKA_VALUE, false},
	} {
		require.Equal(t, c.want, SecretAttribute(c.class, c.kt, c.attr), "%v %v %v", c.class, c.kt, c.attr)
	}
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2,
		pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT} {
		require.True(t, SecretAttribute(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA, a), "%v", a)
	}
}

// TestEveryPrivateAndSecretKeyHasSecretMaterial catches a kind whose key would end up in the head.
func TestEveryPrivateAndSecretKeyHasSecretMaterial(t *testing.T) {
	for _, p := range allPolicies() {
		hidden := p.class == pkcs11.CKO_PRIVATE_KEY || p.class == pkcs11.CKO_SECRET_KEY || p.class == pkcs11.CKO_OTP_KEY
		has := slices.ContainsFunc(p.rows, func(r row) bool { return r.has(secret) })
		require.Equal(t, hidden, has, "%v", p)
		if hidden {
			for _, a := range []pkcs11.AttributeType{pkcs11.CKA_VALUE, pkcs11.CKA_SEED, pkcs11.CKA_PRIVATE_EXPONENT} {
				r := p.row(a)
				require.True(t, r == nil || r.has(secret), "%v %v", p, a)
			}
			require.NotNil(t, p.row(pkcs11.CKA_SENSITIVE), "%v", p)
		}
	}
}

func TestClassAndTypeAreChecked(t *testing.T) {
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), nil)
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), tmpl{class(pkcs11.CKO_VENDOR_DEFINED)})
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), tmpl{class(pkcs11.CKO_HW_FEATURE)})
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), tmpl{class(pkcs11.CKO_HW_FEATURE),
		num(pkcs11.CKA_HW_FEATURE_TYPE, uint(pkcs11.CKH_USER_INTERFACE))})
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), tmpl{class(pkcs11.CKO_HW_FEATURE),
		num(pkcs11.CKA_HW_FEATURE_TYPE, uint(pkcs11.CKH_CLOCK))})
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), tmpl{class(pkcs11.CKO_SECRET_KEY)})
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), tmpl{class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_SKIPJACK)})
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), tmpl{class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_RSA)})
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), tmpl{class(pkcs11.CKO_PROFILE)})
	refused(t, pkcs11.CKR_GENERAL_ERROR, user(OpSet), nil)
	refused(t, pkcs11.CKR_GENERAL_ERROR, user(Op(99)), nil)
}

func TestTokenObjectsAreReadOnly(t *testing.T) {
	o, err := Builtin(pkcs11.CKO_PROFILE, tmpl{num(pkcs11.CKA_PROFILE_ID, uint(pkcs11.CKP_BASELINE_PROVIDER))})
	require.NoError(t, err)
	same, err := Builtin(pkcs11.CKO_PROFILE, tmpl{num(pkcs11.CKA_PROFILE_ID, uint(pkcs11.CKP_BASELINE_PROVIDER))})
	require.NoError(t, err)
	require.Equal(t, o.ID(), same.ID(), "stable")
	other, err := Builtin(pkcs11.CKO_PROFILE, tmpl{num(pkcs11.CKA_PROFILE_ID, uint(pkcs11.CKP_EXTENDED_PROVIDER))})
	require.NoError(t, err)
	require.NotEqual(t, o.ID(), other.ID())
	require.True(t, o.Token())
	require.False(t, o.Private())
	_, err = Builtin(pkcs11.CKO_DATA, nil)
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err)
	v, where, err := o.Reveal(pkcs11.CKA_PROFILE_ID)
	require.NoError(t, err)
	require.Equal(t, InHead, where)
	require.Equal(t, uint(pkcs11.CKP_BASELINE_PROVIDER), v)
	_, err = Set(o, true, nil)
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
	_, err = Copy(o, true, true, newID(), nil)
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, o.Destroyable())
}

func TestLoadTakesOnlyWhatFinishMakes(t *testing.T) {
	head := create(t, aesImport).Attributes()
	o, err := Load(head.Clone())
	require.NoError(t, err)
	require.Equal(t, head, o.Attributes())
	require.Equal(t, pkcs11.CKO_SECRET_KEY, o.Class())

	for name, bad := range map[string]tmpl{
		"secret in the head": join(head, text(pkcs11.CKA_VALUE, "k")),
		"foreign attribute":  join(head, text(pkcs11.CKA_EC_PARAMS, "k")),
		"short identity":     head.Clone().Set(pkcs11.CKA_UNIQUE_ID, []byte("1")),
		"upper-case":         head.Clone().Set(pkcs11.CKA_UNIQUE_ID, []byte("ABCDEF0123456789abcdef0123456789")),
		"no class":           head[1:],
	} {
		_, err := Load(bad)
		require.Error(t, err, name)
	}
	for _, protection := range []pkcs11.AttributeType{pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_PRIVATE, pkcs11.CKA_WRAP_WITH_TRUSTED} {
		bad := slices.DeleteFunc(head.Clone(), func(a pkcs11.Attribute) bool { return a.Type == protection })
		_, err := Load(bad)
		require.Error(t, err, "without %v", protection)
	}
}
