package object

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// without leaves attributes out.
func without(t tmpl, types ...pkcs11.AttributeType) tmpl {
	var out tmpl
	for _, a := range t {
		skip := false
		for _, x := range types {
			skip = skip || a.Type == x
		}
		if !skip {
			out = append(out, a)
		}
	}
	return out
}

func TestRuleCreateMust(t *testing.T) {
	key := func(c pkcs11.ObjectClass, k pkcs11.KeyType, more ...pkcs11.Attribute) tmpl {
		return join(tmpl{class(c), ktype(k)}, more...)
	}
	p, q, g, v := text(pkcs11.CKA_PRIME, "p"), text(pkcs11.CKA_SUBPRIME, "q"), text(pkcs11.CKA_BASE, "g"), text(pkcs11.CKA_VALUE, "v")
	set, owner := num(pkcs11.CKA_PARAMETER_SET, 1), text(pkcs11.CKA_OWNER, "o")
	for _, full := range []tmpl{aesImport, rsaImport, ecImport, ecPubImport,
		key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA, text(pkcs11.CKA_MODULUS, "n"), text(pkcs11.CKA_PUBLIC_EXPONENT, "e")),
		key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_DSA, p, q, g, v), key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_DSA, p, q, g, v),
		key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_DH, p, g, v), key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_DH, p, g, v),
		key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_SLH_DSA, set, v), key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_SLH_DSA, set, v),
		key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_HSS, v),
		key(pkcs11.CKO_DOMAIN_PARAMETERS, pkcs11.CKK_DSA, p, q, g), key(pkcs11.CKO_DOMAIN_PARAMETERS, pkcs11.CKK_DH, p, g),
		{class(pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, uint(pkcs11.CKC_X_509_ATTR_CERT)), owner, v},
		{class(pkcs11.CKO_TRUST), text(pkcs11.CKA_ISSUER, "i"), text(pkcs11.CKA_SERIAL_NUMBER, "1")},
	} {
		create(t, full)
		for _, a := range full {
			refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), without(full, a.Type))
		}
	}
}

func TestRuleCreateNever(t *testing.T) {
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(aesImport, num(pkcs11.CKA_VALUE_LEN, 16)))
	rsa := tmpl{class(pkcs11.CKO_PUBLIC_KEY), ktype(pkcs11.CKK_RSA), text(pkcs11.CKA_MODULUS, "n"), text(pkcs11.CKA_PUBLIC_EXPONENT, "e")}
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(rsa, num(pkcs11.CKA_MODULUS_BITS, 2048)))
	p, q, g, v := text(pkcs11.CKA_PRIME, "p"), text(pkcs11.CKA_SUBPRIME, "q"), text(pkcs11.CKA_BASE, "g"), text(pkcs11.CKA_VALUE, "v")
	dsa := tmpl{class(pkcs11.CKO_DOMAIN_PARAMETERS), ktype(pkcs11.CKK_DSA), p, q, g}
	dh := tmpl{class(pkcs11.CKO_PRIVATE_KEY), ktype(pkcs11.CKK_DH), p, g, v}
	hss := tmpl{class(pkcs11.CKO_PUBLIC_KEY), ktype(pkcs11.CKK_HSS), v}
	for _, a := range []struct {
		full  tmpl
		never pkcs11.Attribute
	}{
		{dsa, num(pkcs11.CKA_PRIME_BITS, 2048)}, {dsa, num(pkcs11.CKA_SUBPRIME_BITS, 256)}, {dh, num(pkcs11.CKA_VALUE_BITS, 256)},
		{hss, num(pkcs11.CKA_HSS_LEVELS, 1)}, {hss, num(pkcs11.CKA_HSS_LMS_TYPE, 5)}, {hss, num(pkcs11.CKA_HSS_LMOTS_TYPE, 4)},
	} {
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(a.full, a.never))
	}
}

func TestRuleGenerateMust(t *testing.T) {
	for _, c := range []struct {
		class pkcs11.ObjectClass
		kt    pkcs11.KeyType
		need  pkcs11.Attribute
	}{
		{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES, num(pkcs11.CKA_VALUE_LEN, 16)},
		{pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET, num(pkcs11.CKA_VALUE_LEN, 16)},
		{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA, num(pkcs11.CKA_MODULUS_BITS, 2048)},
		{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_EC, text(pkcs11.CKA_EC_PARAMS, "p")},
		{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_ML_DSA, num(pkcs11.CKA_PARAMETER_SET, 1)},
	} {
		refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, generation(c.class, c.kt), nil)
		_, err := Build(generation(c.class, c.kt), tmpl{c.need})
		require.NoError(t, err)
	}
}

func TestRuleGenerateNever(t *testing.T) {
	aes := tmpl{num(pkcs11.CKA_VALUE_LEN, 16)}
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), join(aes, text(pkcs11.CKA_VALUE, "k")))
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, generation(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA), tmpl{text(pkcs11.CKA_MODULUS, "n")})
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_HSS_LEVELS, pkcs11.CKA_HSS_LMS_TYPE, pkcs11.CKA_HSS_LMOTS_TYPE} {
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, generation(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_HSS), tmpl{num(a, 1)})
	}
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, Request{Op: OpDerive, User: true, Base: create(t, ecImport)}, tmpl{text(pkcs11.CKA_VALUE, "k")})
}

func TestRuleUnwrapMustAndNever(t *testing.T) {
	base := create(t, join(aesImport, flag(pkcs11.CKA_UNWRAP, true)))
	req := Request{Op: OpUnwrap, User: true, Base: base}
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, req, nil)
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, req, tmpl{class(pkcs11.CKO_SECRET_KEY)})
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, req, aesImport)
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, req, rsaImport)
	_, err := Build(req, aesImport[:2])
	require.NoError(t, err)
}

// TestRuleComputed: what only the token sets is read-only everywhere, even with the value that it would get.
func TestRuleComputed(t *testing.T) {
	base := create(t, aesImport)
	computedAttrs := tmpl{flag(pkcs11.CKA_LOCAL, false), flag(pkcs11.CKA_ALWAYS_SENSITIVE, true), flag(pkcs11.CKA_NEVER_EXTRACTABLE, true),
		num(pkcs11.CKA_KEY_GEN_MECHANISM, uint(pkcs11.CKM_AES_KEY_GEN)), text(pkcs11.CKA_UNIQUE_ID, newID())}
	for _, a := range computedAttrs {
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(aesImport, a))
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), tmpl{num(pkcs11.CKA_VALUE_LEN, 16), a})
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, Request{Op: OpUnwrap, User: true, Base: base}, join(aesImport[:2], a))
		refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, Request{Op: OpDerive, User: true, Base: base}, tmpl{a})
		_, err := Set(base, true, tmpl{a})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		_, err = Copy(base, true, true, newID(), tmpl{a})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	}
}

func TestRuleSOOnly(t *testing.T) {
	trusted := flag(pkcs11.CKA_TRUSTED, true)
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(aesImport, trusted))
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, user(OpCreate), join(certImport, trusted))
	create(t, join(aesImport, flag(pkcs11.CKA_TRUSTED, false)))
	o, _ := finish(t, Request{Op: OpCreate, SO: true}, join(certImport, trusted), nil)
	require.True(t, o.Bool(pkcs11.CKA_TRUSTED))
}

func TestRuleEither(t *testing.T) {
	kem := tmpl{class(pkcs11.CKO_PRIVATE_KEY), ktype(pkcs11.CKK_ML_KEM), num(pkcs11.CKA_PARAMETER_SET, 1)}
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), kem)
	create(t, join(kem, text(pkcs11.CKA_SEED, "s")))
	create(t, join(kem, text(pkcs11.CKA_VALUE, "v")))
	create(t, join(kem, text(pkcs11.CKA_SEED, "s"), text(pkcs11.CKA_VALUE, "v")))

	d, err := Build(generation(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_ML_KEM), nil)
	require.NoError(t, err, "the mechanism brings one")
	_, _, err = d.Finish(newID(), kem[2:])
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, "and has brought none")
}

func TestRuleDerivedAndClearable(t *testing.T) {
	kcv := tmpl{text(pkcs11.CKA_CHECK_VALUE, "abc")}
	made := func(asked ...pkcs11.Attribute) (*Object, error) {
		d, err := Build(user(OpCreate), join(aesImport, asked...))
		require.NoError(t, err)
		o, _, err := d.Finish(newID(), kcv)
		return o, err
	}
	for asked, want := range map[string]string{"": "", "abc": "abc"} {
		o, err := made(text(pkcs11.CKA_CHECK_VALUE, asked))
		require.NoError(t, err)
		v, ok := o.Get(pkcs11.CKA_CHECK_VALUE)
		require.True(t, ok)
		require.Equal(t, []byte(want), v)
	}
	o, err := made()
	require.NoError(t, err)
	require.Equal(t, "abc", string(o.Bytes(pkcs11.CKA_CHECK_VALUE)))
	_, err = made(text(pkcs11.CKA_CHECK_VALUE, "xyz"))
	requireRV(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err)

	unconfirmed := create(t, join(aesImport, kcv...))
	_, ok := unconfirmed.Get(pkcs11.CKA_CHECK_VALUE)
	require.False(t, ok, "nobody vouched for it")

	cleared, err := Set(o, false, tmpl{text(pkcs11.CKA_CHECK_VALUE, "")})
	require.NoError(t, err)
	require.Empty(t, cleared.Bytes(pkcs11.CKA_CHECK_VALUE))
	_, err = Set(o, false, kcv)
	require.NoError(t, err, "the same value is no change")
	_, err = Set(o, false, tmpl{text(pkcs11.CKA_CHECK_VALUE, "xyz")})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err)

	// CKA_PUBLIC_KEY_INFO follows from the key too, and cannot be wished away.
	info := text(pkcs11.CKA_PUBLIC_KEY_INFO, "spki")
	for _, full := range []tmpl{ecImport, ecPubImport} {
		d, err := Build(user(OpCreate), join(full, text(pkcs11.CKA_PUBLIC_KEY_INFO, "another")))
		require.NoError(t, err)
		_, _, err = d.Finish(newID(), tmpl{info})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err)
		_, there := create(t, join(full, text(pkcs11.CKA_PUBLIC_KEY_INFO, ""))).Get(pkcs11.CKA_PUBLIC_KEY_INFO)
		require.False(t, there, "nobody vouched for it")
	}
	key, _ := finish(t, user(OpCreate), ecImport, tmpl{info})
	_, err = Set(key, false, tmpl{text(pkcs11.CKA_PUBLIC_KEY_INFO, "")})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err)
}

func TestRuleHint(t *testing.T) {
	o, _ := finish(t, generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_DES3), tmpl{num(pkcs11.CKA_VALUE_LEN, 16)},
		tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef01234567")})
	n, _ := o.Uint(pkcs11.CKA_VALUE_LEN)
	require.EqualValues(t, 24, n)
}

func TestLengthIsCounted(t *testing.T) {
	base := create(t, aesImport)
	for _, c := range []struct {
		req  Request
		want pkcs11.RV
	}{
		{generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{Request{Op: OpDerive, User: true, Base: base}, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{Request{Op: OpUnwrap, User: true, Base: base}, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE},
	} {
		d, err := Build(c.req, join(aesImport[:2], num(pkcs11.CKA_VALUE_LEN, 32)))
		require.NoError(t, err)
		_, _, err = d.Finish(newID(), tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef")})
		requireRV(t, c.want, err)
		o, secret, err := d.Finish(newID(), tmpl{pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 32))})
		require.NoError(t, err)
		n, _ := o.Uint(pkcs11.CKA_VALUE_LEN)
		require.EqualValues(t, 32, n)
		require.Len(t, secret, 1)
	}
}

func TestSecretPartIsApart(t *testing.T) {
	o, secret := finish(t, user(OpCreate), join(rsaImport, text(pkcs11.CKA_LABEL, "l")), tmpl{
		text(pkcs11.CKA_PRIME_1, "p"), num(pkcs11.CKA_MODULUS_BITS, 2048), text(pkcs11.CKA_MODULUS, "normal form")})
	require.True(t, secret.Has(pkcs11.CKA_PRIVATE_EXPONENT))
	require.True(t, secret.Has(pkcs11.CKA_PRIME_1))
	require.Len(t, secret, 2)
	for _, a := range secret {
		_, there := o.Get(a.Type)
		require.False(t, there)
	}
	require.Equal(t, "normal form", string(o.Bytes(pkcs11.CKA_MODULUS)))
	require.Equal(t, "l", string(o.Bytes(pkcs11.CKA_LABEL)))
}

// TestMaterialDecidesNoPolicy: a fault in a mechanism must not open a key.
func TestMaterialDecidesNoPolicy(t *testing.T) {
	d, err := Build(user(OpCreate), aesImport)
	require.NoError(t, err)
	for _, a := range []pkcs11.Attribute{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true), flag(pkcs11.CKA_ENCRYPT, true),
		flag(pkcs11.CKA_LOCAL, true), flag(pkcs11.CKA_PRIVATE, false), text(pkcs11.CKA_UNIQUE_ID, newID()), text(pkcs11.CKA_EC_POINT, "q")} {
		_, _, err := d.Finish(newID(), tmpl{a})
		requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, a)
	}
	for _, a := range []pkcs11.Attribute{ktype(pkcs11.CKK_DES3), class(pkcs11.CKO_DATA)} {
		_, _, err = d.Finish(newID(), tmpl{a})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err, a)
	}
	_, _, err = d.Finish(newID(), tmpl{{Type: pkcs11.CKA_VALUE, Value: true}})
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err, "no form for a value")
	_, _, err = d.Finish("1", nil)
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err)
	incomplete, err := Build(generation(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_RSA), tmpl{num(pkcs11.CKA_MODULUS_BITS, 2048)})
	require.NoError(t, err)
	_, _, err = incomplete.Finish(newID(), tmpl{text(pkcs11.CKA_PUBLIC_EXPONENT, "e")})
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err)
}

func TestHeadIsACopy(t *testing.T) {
	label := []byte("label")
	o := create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_LABEL, label)))
	label[0] = 'X'
	require.Equal(t, "label", string(o.Bytes(pkcs11.CKA_LABEL)))
	o.Attributes().Bytes(pkcs11.CKA_LABEL)[0] = 'X'
	v, _, err := o.Reveal(pkcs11.CKA_LABEL)
	require.NoError(t, err)
	v.([]byte)[0] = 'X'
	require.Equal(t, "label", string(o.Bytes(pkcs11.CKA_LABEL)))
}

// TestADraftRemembersNothing: drafts are used again.
func TestADraftRemembersNothing(t *testing.T) {
	rich := join(aesImport, flag(pkcs11.CKA_ENCRYPT, true), flag(pkcs11.CKA_PRIVATE, true), text(pkcs11.CKA_ID, "id"),
		pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM}), text(pkcs11.CKA_CHECK_VALUE, ""))
	req := user(OpUnwrap)
	req.Base = create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_SIGN, true)})))
	for _, refused := range []bool{false, true} {
		d, err := Build(req, without(rich, pkcs11.CKA_VALUE))
		require.NoError(t, err)
		if !refused {
			_, _, err = d.Finish(newID(), tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef")})
			require.NoError(t, err)
		}
		d.Done()
		require.Zero(t, *d)
	}
}

func TestForeignAttributes(t *testing.T) {
	refused(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, user(OpCreate), join(aesImport, text(pkcs11.CKA_VENDOR_DEFINED|1, "x")))
	refused(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, user(OpCreate), join(aesImport, text(0x7777, "x")))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(aesImport, text(pkcs11.CKA_MODULUS, "n")))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(ecPubImport, flag(pkcs11.CKA_SENSITIVE, true)))
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), join(aesImport, text(pkcs11.CKA_TOKEN, "x")))
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), join(aesImport, pkcs11.Attribute{Type: pkcs11.CKA_TOKEN}))
}

func TestRepeatedAttributesAreInconsistent(t *testing.T) {
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(aesImport, flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_TOKEN, false)))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(aesImport, flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_TOKEN, true)))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(aesImport, pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_SENSITIVE, true)}),
		pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{})))
	_, err := Set(create(t, aesImport), false, tmpl{text(pkcs11.CKA_LABEL, "a"), text(pkcs11.CKA_LABEL, "a")})
	requireRV(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
}

func TestDates(t *testing.T) {
	dates := func(start, end string) tmpl {
		return join(aesImport, text(pkcs11.CKA_START_DATE, start), text(pkcs11.CKA_END_DATE, end))
	}
	for _, good := range [][2]string{{"", ""}, {"20260101", ""}, {"", "20260101"}, {"20260101", "20260101"}, {"20240229", "20270101"}} {
		create(t, dates(good[0], good[1]))
	}
	for _, bad := range []string{"20260230", "20261301", "20230229", "2026010", "abcdefgh", "00000000"} {
		refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), dates(bad, ""))
	}
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), dates("20270101", "20260101"))
	o := create(t, dates("20260101", ""))
	_, err := Set(o, false, tmpl{text(pkcs11.CKA_END_DATE, "20250101")})
	requireRV(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
}

func TestNestedTemplatesHaveALimit(t *testing.T) {
	nest := func(depth int) tmpl {
		out := tmpl{flag(pkcs11.CKA_TOKEN, true)}
		for range depth - 1 {
			out = tmpl{pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, out)}
		}
		return out
	}
	create(t, join(aesImport, nest(maxDepth)...))
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), join(aesImport, nest(maxDepth+1)...))
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate),
		join(aesImport, pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{text(pkcs11.CKA_VALUE, "key")})))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate),
		join(aesImport, pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_TOKEN, true)})))
}

func TestEmptyMechanismListIsRefused(t *testing.T) {
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), join(aesImport, pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{})))
	o := create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM})))
	_, err := Set(o, true, tmpl{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_ECB})})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
}

func TestPrivateObjectsAreTheUsers(t *testing.T) {
	for _, req := range []Request{{Op: OpCreate}, {Op: OpCreate, SO: true}} {
		refused(t, pkcs11.CKR_USER_NOT_LOGGED_IN, req, aesImport)
		_, err := Build(req, join(aesImport, flag(pkcs11.CKA_PRIVATE, false)))
		require.NoError(t, err)
		_, err = Build(req, ecPubImport)
		require.NoError(t, err)
		_, err = Build(req, certImport)
		require.NoError(t, err)
	}
}

func TestAlwaysAuthenticateNeedsPrivate(t *testing.T) {
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(ecImport, flag(pkcs11.CKA_ALWAYS_AUTHENTICATE, true), flag(pkcs11.CKA_PRIVATE, false)))
	create(t, join(ecImport, flag(pkcs11.CKA_ALWAYS_AUTHENTICATE, true)))
	create(t, join(ecImport, flag(pkcs11.CKA_PRIVATE, false)))
}

func TestCertificates(t *testing.T) {
	base := certImport[:2]
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), base)
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), join(base, text(pkcs11.CKA_SUBJECT, "s"), text(pkcs11.CKA_VALUE, "")))
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), join(base, text(pkcs11.CKA_SUBJECT, "s"), text(pkcs11.CKA_URL, "u")))
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), join(base, text(pkcs11.CKA_URL, "u"),
		text(pkcs11.CKA_HASH_OF_ISSUER_PUBLIC_KEY, "h"), text(pkcs11.CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "h")))
	refused(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, user(OpCreate), join(certImport, num(pkcs11.CKA_CERTIFICATE_CATEGORY, 4)))
	create(t, join(certImport, num(pkcs11.CKA_CERTIFICATE_CATEGORY, pkcs11.CK_CERTIFICATE_CATEGORY_OTHER_ENTITY)))
	create(t, join(base, text(pkcs11.CKA_SUBJECT, "s"), text(pkcs11.CKA_URL, "u"),
		text(pkcs11.CKA_HASH_OF_ISSUER_PUBLIC_KEY, "h"), text(pkcs11.CKA_HASH_OF_SUBJECT_PUBLIC_KEY, "h")))

	d, err := Build(user(OpCreate), join(base, text(pkcs11.CKA_VALUE, "cert")))
	require.NoError(t, err, "the certificate knows its subject")
	_, _, err = d.Finish(newID(), nil)
	requireRV(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
	o, _, err := d.Finish(newID(), tmpl{text(pkcs11.CKA_SUBJECT, "s"), text(pkcs11.CKA_ISSUER, "i")})
	require.NoError(t, err)
	require.Equal(t, "i", string(o.Bytes(pkcs11.CKA_ISSUER)))
	require.False(t, o.Private())
	o, err = Set(o, false, tmpl{text(pkcs11.CKA_ID, "id"), text(pkcs11.CKA_LABEL, "l"), text(pkcs11.CKA_ISSUER, "x")})
	require.NoError(t, err)
	_, err = Set(o, false, tmpl{text(pkcs11.CKA_SUBJECT, "x")})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
}

func TestTrustObjects(t *testing.T) {
	base := tmpl{class(pkcs11.CKO_TRUST), text(pkcs11.CKA_ISSUER, "i"), text(pkcs11.CKA_SERIAL_NUMBER, "1")}
	anchor := num(pkcs11.CKA_TRUST_SERVER_AUTH, pkcs11.CKT_TRUST_ANCHOR)
	create(t, base)
	create(t, join(base, num(pkcs11.CKA_TRUST_SERVER_AUTH, pkcs11.CKT_NOT_TRUSTED), num(pkcs11.CKA_NAME_HASH_ALGORITHM, uint(pkcs11.CKM_SHA256))))
	refused(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, user(OpCreate), join(base, anchor))
	create(t, join(base, anchor, text(pkcs11.CKA_HASH_OF_CERTIFICATE, "h")))
}

func TestStatefulKeysStayWhereTheyAre(t *testing.T) {
	xmss := tmpl{class(pkcs11.CKO_PRIVATE_KEY), ktype(pkcs11.CKK_XMSS), num(pkcs11.CKA_PARAMETER_SET, 1), text(pkcs11.CKA_VALUE, "state"), flag(pkcs11.CKA_TOKEN, true)}
	o := create(t, xmss)
	require.False(t, o.Bool(pkcs11.CKA_COPYABLE))
	for _, a := range []pkcs11.Attribute{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true), flag(pkcs11.CKA_COPYABLE, true)} {
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), join(xmss, a))
	}
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, user(OpCreate), xmss[:len(xmss)-1])
}
