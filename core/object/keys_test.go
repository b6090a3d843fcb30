package object

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestDefaults(t *testing.T) {
	aes := create(t, join(aesImport, flag(pkcs11.CKA_TOKEN, true)))
	for attr, want := range map[pkcs11.AttributeType]any{
		pkcs11.CKA_TOKEN: true, pkcs11.CKA_PRIVATE: true, pkcs11.CKA_MODIFIABLE: true, pkcs11.CKA_COPYABLE: true,
		pkcs11.CKA_DESTROYABLE: true, pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: false, pkcs11.CKA_LOCAL: false,
		pkcs11.CKA_ALWAYS_SENSITIVE: false, pkcs11.CKA_NEVER_EXTRACTABLE: false, pkcs11.CKA_WRAP_WITH_TRUSTED: false,
		pkcs11.CKA_KEY_GEN_MECHANISM: uint(pkcs11.CK_UNAVAILABLE_INFORMATION), pkcs11.CKA_LABEL: []byte{}, pkcs11.CKA_ID: []byte{},
		pkcs11.CKA_START_DATE: []byte{}, pkcs11.CKA_END_DATE: []byte{}, pkcs11.CKA_DERIVE: false, pkcs11.CKA_TRUSTED: false,
		pkcs11.CKA_VALUE_LEN: uint(16),
	} {
		v, ok := aes.Get(attr)
		require.True(t, ok, "%v", attr)
		require.Equal(t, want, v, "%v", attr)
	}
	for _, absent := range []pkcs11.AttributeType{pkcs11.CKA_ALLOWED_MECHANISMS, pkcs11.CKA_WRAP_TEMPLATE, pkcs11.CKA_UNWRAP_TEMPLATE,
		pkcs11.CKA_DERIVE_TEMPLATE} {
		_, _, err := aes.Reveal(absent)
		requireRV(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, err)
	}
	session := create(t, aesImport)
	require.False(t, session.Bool(pkcs11.CKA_TOKEN))
	require.True(t, session.Bool(pkcs11.CKA_SENSITIVE))
	require.True(t, session.Bool(pkcs11.CKA_EXTRACTABLE), "whoever brought it may want it wrapped")
	require.False(t, create(t, join(aesImport, flag(pkcs11.CKA_EXTRACTABLE, false))).Bool(pkcs11.CKA_EXTRACTABLE))
	require.False(t, generate(t).Bool(pkcs11.CKA_EXTRACTABLE))
	require.False(t, create(t, ecImport).Bool(pkcs11.CKA_EXTRACTABLE))
	require.False(t, create(t, ecPubImport).Private())
	require.False(t, create(t, dataImport).Private())
	kt, ok := aes.KeyType()
	require.True(t, ok)
	require.Equal(t, pkcs11.CKK_AES, kt)
	_, ok = create(t, dataImport).KeyType()
	require.False(t, ok)
}

func TestGeneratedKeysKnowTheirPast(t *testing.T) {
	o := generate(t)
	mech, _ := o.Uint(pkcs11.CKA_KEY_GEN_MECHANISM)
	require.EqualValues(t, pkcs11.CKM_AES_KEY_GEN, mech)
	require.True(t, o.Bool(pkcs11.CKA_LOCAL))
	require.True(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.True(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))

	open := generate(t, flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true))
	require.False(t, open.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.False(t, open.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
	closed, err := Set(open, false, tmpl{flag(pkcs11.CKA_SENSITIVE, true), flag(pkcs11.CKA_EXTRACTABLE, false)})
	require.NoError(t, err)
	require.False(t, closed.Bool(pkcs11.CKA_ALWAYS_SENSITIVE), "it has been otherwise")
	require.False(t, closed.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
}

func TestMechanismAndTemplateMustAgree(t *testing.T) {
	req := generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES)
	size := num(pkcs11.CKA_VALUE_LEN, 16)
	_, err := Build(req, tmpl{size, class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_AES)})
	require.NoError(t, err)
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{size, ktype(pkcs11.CKK_DES3)})
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{size, class(pkcs11.CKO_PUBLIC_KEY)})
}

func TestUsageDefaults(t *testing.T) {
	flags := func(o *Object) (out []pkcs11.AttributeType) {
		for _, a := range o.Attributes() {
			if a.Value == true && o.policy.row(a.Type).has(usage) {
				out = append(out, a.Type)
			}
		}
		return out
	}
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_DECRYPT, pkcs11.CKA_UNWRAP, pkcs11.CKA_SIGN}, flags(create(t, rsaImport)))
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY}, flags(generate(t)))
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_SIGN}, flags(create(t, join(ecImport, flag(pkcs11.CKA_TOKEN, true)))))
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE}, flags(create(t, ecImport)), "a session's may be for ECDH")
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_SIGN}, flags(create(t, join(ecImport, flag(pkcs11.CKA_SIGN, true)))))
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_VERIFY}, flags(create(t, ecPubImport)))

	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_WRAP}, flags(generate(t, flag(pkcs11.CKA_WRAP, true))), "only what was named")
	require.Equal(t, []pkcs11.AttributeType{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT}, flags(generate(t, flag(pkcs11.CKA_SIGN, false), flag(pkcs11.CKA_VERIFY, false))))
}

func TestUnwrapNeverLowersSensitive(t *testing.T) {
	sensitive := create(t, aesImport)
	plain := create(t, join(aesImport, flag(pkcs11.CKA_SENSITIVE, false)))
	lower := join(aesImport[:2], flag(pkcs11.CKA_SENSITIVE, false))
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, Request{Op: OpUnwrap, User: true, Base: sensitive}, lower)
	rsa := create(t, rsaImport)
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, Request{Op: OpUnwrap, User: true, Base: rsa}, lower)
	_, err := Build(Request{Op: OpUnwrap, User: true, Base: plain}, lower)
	require.NoError(t, err)

	inside := generate(t, flag(pkcs11.CKA_UNWRAP, true))
	require.False(t, inside.Bool(pkcs11.CKA_EXTRACTABLE))
	fromInside, _ := finish(t, Request{Op: OpUnwrap, User: true, Base: inside}, aesImport[:2], aesImport[2:])
	require.True(t, fromInside.Bool(pkcs11.CKA_EXTRACTABLE), "what came in wrapped may go out wrapped, whatever unwrapped it")

	o, _ := finish(t, Request{Op: OpUnwrap, User: true, Base: plain}, aesImport[:2], aesImport[2:])
	require.True(t, o.Bool(pkcs11.CKA_SENSITIVE))
	require.True(t, o.Bool(pkcs11.CKA_EXTRACTABLE), "the standard's default")
	require.False(t, o.Bool(pkcs11.CKA_LOCAL))
	require.False(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.False(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
}

// TestKeysDoNotBecomeData: a data object, certificate or public key shows its value to everybody.
func TestKeysDoNotBecomeData(t *testing.T) {
	base := create(t, aesImport)
	for _, op := range []Op{OpUnwrap, OpDerive, OpEncapsulate, OpDecapsulate} {
		req := Request{Op: op, User: true, Base: base}
		for _, c := range []pkcs11.ObjectClass{pkcs11.CKO_DATA, pkcs11.CKO_TRUST, pkcs11.CKO_PROFILE} {
			refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{class(c)})
		}
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{class(pkcs11.CKO_PUBLIC_KEY), ktype(pkcs11.CKK_ML_KEM), num(pkcs11.CKA_PARAMETER_SET, 1)})
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, certImport[:2])
	}
	data, _ := finish(t, Request{Op: OpDerive, User: true, Base: base, Fixed: true, Makes: Kind{Class: pkcs11.CKO_DATA}}, nil, dataImport[1:])
	require.Equal(t, pkcs11.CKO_DATA, data.Class(), "where the mechanism is for that (CKM_HKDF_DATA)")
}

func TestDeriveFromSecretKeysNeverLowers(t *testing.T) {
	base := generate(t, flag(pkcs11.CKA_DERIVE, true), flag(pkcs11.CKA_WRAP_WITH_TRUSTED, true))
	req := Request{Op: OpDerive, User: true, Base: base}
	for _, a := range []pkcs11.Attribute{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true), flag(pkcs11.CKA_WRAP_WITH_TRUSTED, false)} {
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{a})
	}
	value := tmpl{text(pkcs11.CKA_VALUE, "k")}
	o, _ := finish(t, req, nil, value)
	kt, _ := o.KeyType()
	require.Equal(t, pkcs11.CKK_GENERIC_SECRET, kt)
	require.True(t, o.Bool(pkcs11.CKA_SENSITIVE))
	require.True(t, o.Bool(pkcs11.CKA_WRAP_WITH_TRUSTED))
	require.True(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.True(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
	require.False(t, o.Bool(pkcs11.CKA_LOCAL))

	req.OneWay = true
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, req, tmpl{flag(pkcs11.CKA_SENSITIVE, false)})
	o, _ = finish(t, req, tmpl{flag(pkcs11.CKA_EXTRACTABLE, true)}, value)
	require.False(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))

	open := generate(t, flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true))
	lower := tmpl{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true)}
	_, err := Build(Request{Op: OpDerive, User: true, Base: open}, lower)
	require.NoError(t, err)
	refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, Request{Op: OpDerive, User: true, Base: open, Others: []*Object{base}}, lower)
	o, _ = finish(t, Request{Op: OpDerive, User: true, Base: base, Others: []*Object{open}}, nil, value)
	require.False(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE), "both keys count")

	o, _ = finish(t, Request{Op: OpDerive, User: true, Base: open}, nil, value)
	require.True(t, o.Bool(pkcs11.CKA_SENSITIVE), "the default, whatever the base key is")
	o, _ = finish(t, Request{Op: OpDerive, User: true, Base: open}, lower[:1], value)
	require.False(t, o.Bool(pkcs11.CKA_EXTRACTABLE), "the default, whatever CKA_SENSITIVE is")

	// A one-time password key is a secret like any other.
	hotp := create(t, tmpl{class(pkcs11.CKO_OTP_KEY), ktype(pkcs11.CKK_HOTP), text(pkcs11.CKA_VALUE, "k")})
	for _, a := range lower {
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, Request{Op: OpDerive, User: true, Base: hotp}, tmpl{a})
	}

	// What is one-way in the base key need not be so in a key that the parameter names.
	oneWay := Request{Op: OpDerive, User: true, Base: open, Others: []*Object{open, base}, OneWay: true}
	for _, a := range lower {
		refused(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, oneWay, tmpl{a})
	}
}

// TestAgreedSecretsMayBeRead: TLS and SSH clients read what ECDH gives them.
func TestAgreedSecretsMayBeRead(t *testing.T) {
	ec := create(t, ecImport)
	o, _ := finish(t, Request{Op: OpDerive, User: true, Base: ec},
		tmpl{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true)}, tmpl{text(pkcs11.CKA_VALUE, "z")})
	_, where, err := o.Reveal(pkcs11.CKA_VALUE)
	require.NoError(t, err)
	require.Equal(t, InSecret, where)
	agree := func(template tmpl) *Object {
		t.Helper()
		o, _ := finish(t, Request{Op: OpDerive, User: true, Base: ec}, template, tmpl{text(pkcs11.CKA_VALUE, "z")})
		return o
	}
	open := agree(nil)
	require.False(t, open.Bool(pkcs11.CKA_SENSITIVE), "the standard's default, which Java counts on")
	require.True(t, open.Bool(pkcs11.CKA_EXTRACTABLE))
	require.False(t, open.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
	for _, sensitive := range []bool{true, false} {
		inside := generate(t, flag(pkcs11.CKA_SENSITIVE, sensitive))
		mixed, _ := finish(t, Request{Op: OpDerive, User: true, Base: ec, Others: []*Object{inside}}, nil, tmpl{text(pkcs11.CKA_VALUE, "z")})
		require.Equal(t, sensitive, mixed.Bool(pkcs11.CKA_SENSITIVE), "as the secret key that is in it too")
		require.False(t, mixed.Bool(pkcs11.CKA_EXTRACTABLE))
	}
	for name, template := range map[string]tmpl{
		"a token's":       {flag(pkcs11.CKA_TOKEN, true)},
		"a cipher's":      {class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_AES)},
		"asked for":       {flag(pkcs11.CKA_SENSITIVE, true)},
		"a cipher's, too": {ktype(pkcs11.CKK_CHACHA20)},
	} {
		o := agree(template)
		require.True(t, o.Bool(pkcs11.CKA_SENSITIVE), name)
		require.False(t, o.Bool(pkcs11.CKA_EXTRACTABLE), name)
	}
}

func TestEncapsulation(t *testing.T) {
	pub := create(t, ecPubImport)
	o, _ := finish(t, Request{Op: OpEncapsulate, User: true, Base: pub}, nil, tmpl{text(pkcs11.CKA_VALUE, "z")})
	require.True(t, o.Bool(pkcs11.CKA_EXTRACTABLE))
	require.True(t, o.Bool(pkcs11.CKA_SENSITIVE))
	require.False(t, o.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.False(t, o.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))
}

func TestTemplatesOfTheBaseKey(t *testing.T) {
	inner := tmpl{flag(pkcs11.CKA_DECRYPT, false), flag(pkcs11.CKA_ENCRYPT, true), text(pkcs11.CKA_LABEL, "forced")}
	// PKCS#11 v3.2, section 5.18, has an answer of its own for C_EncapsulateKey.
	for op, c := range map[Op]struct {
		attr     pkcs11.AttributeType
		base     tmpl
		conflict pkcs11.RV
	}{
		OpUnwrap:      {pkcs11.CKA_UNWRAP_TEMPLATE, aesImport, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		OpDerive:      {pkcs11.CKA_DERIVE_TEMPLATE, aesImport, pkcs11.CKR_TEMPLATE_INCONSISTENT},
		OpEncapsulate: {pkcs11.CKA_ENCAPSULATE_TEMPLATE, ecPubImport, pkcs11.CKR_KEY_HANDLE_INVALID},
		OpDecapsulate: {pkcs11.CKA_DECAPSULATE_TEMPLATE, ecImport, pkcs11.CKR_TEMPLATE_INCONSISTENT},
	} {
		base := create(t, join(c.base, pkcs11.Attr(c.attr, inner)))
		req := Request{Op: op, User: true, Base: base}
		o, _ := finish(t, req, aesImport[:2], aesImport[2:])
		require.Equal(t, "forced", string(o.Bytes(pkcs11.CKA_LABEL)))
		require.True(t, o.Bool(pkcs11.CKA_ENCRYPT))
		require.False(t, o.Bool(pkcs11.CKA_DECRYPT))
		_, err := Build(req, join(aesImport[:2], text(pkcs11.CKA_LABEL, "forced")))
		require.NoError(t, err, "saying the same is no conflict")
		refused(t, c.conflict, req, join(aesImport[:2], text(pkcs11.CKA_LABEL, "mine")))
		refused(t, c.conflict, req, join(aesImport[:2], flag(pkcs11.CKA_DECRYPT, true)))
	}
	base := create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{flag(pkcs11.CKA_TRUSTED, true)})))
	refused(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, Request{Op: OpUnwrap, User: true, Base: base}, aesImport[:2])
}

func TestWrapTemplate(t *testing.T) {
	wrapping := create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_WRAP_TEMPLATE,
		tmpl{ktype(pkcs11.CKK_AES), text(pkcs11.CKA_LABEL, "may go")})))
	require.True(t, MatchesWrapTemplate(create(t, join(aesImport, text(pkcs11.CKA_LABEL, "may go"))), wrapping))
	require.False(t, MatchesWrapTemplate(create(t, aesImport), wrapping))
	require.False(t, MatchesWrapTemplate(create(t, ecImport), wrapping))
	require.True(t, MatchesWrapTemplate(create(t, ecImport), create(t, aesImport)), "no template, no limit")
}

func TestRevealAndMatches(t *testing.T) {
	secret := func() tmpl { return tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef")} }
	want := tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdef")}
	never := func() tmpl { t.Fatal("the secret part was opened"); return nil }

	for _, guard := range []tmpl{
		{flag(pkcs11.CKA_SENSITIVE, true), flag(pkcs11.CKA_EXTRACTABLE, true)},
		{flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, false)},
	} {
		o := create(t, join(aesImport, guard...))
		_, _, err := o.Reveal(pkcs11.CKA_VALUE)
		requireRV(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, err)
		require.False(t, o.Matches(want, never), "finding is no oracle")
	}
	open := create(t, join(aesImport, flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true)))
	require.True(t, open.Matches(want, secret))
	require.False(t, open.Matches(want, nil))
	require.False(t, open.Matches(tmpl{text(pkcs11.CKA_VALUE, "0123456789abcdeX")}, secret))
	require.False(t, open.Matches(want, func() tmpl { return nil }))

	require.False(t, open.Matches(tmpl{text(pkcs11.CKA_VALUE, "")}, func() tmpl { return nil }), "empty is not absent")

	require.True(t, open.Matches(nil, never))
	require.True(t, open.Matches(tmpl{class(pkcs11.CKO_SECRET_KEY), text(pkcs11.CKA_LABEL, "")}, never))
	require.False(t, open.Matches(tmpl{text(pkcs11.CKA_LABEL, "x")}, never))
	require.False(t, open.Matches(tmpl{text(pkcs11.CKA_MODULUS, "x")}, never))
	_, _, err := open.Reveal(pkcs11.CKA_MODULUS)
	requireRV(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, err)
	require.True(t, create(t, dataImport).Matches(tmpl{text(pkcs11.CKA_VALUE, "v")}, never))
}

func TestAllows(t *testing.T) {
	o := create(t, join(aesImport, pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM})))
	require.True(t, o.Allows(pkcs11.CKM_AES_GCM))
	require.False(t, o.Allows(pkcs11.CKM_AES_ECB))
	require.True(t, create(t, aesImport).Allows(pkcs11.CKM_AES_ECB))
}

func TestDraftSaysWhatWasAsked(t *testing.T) {
	d, err := Build(generation(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), tmpl{num(pkcs11.CKA_VALUE_LEN, 32)})
	require.NoError(t, err)
	require.Equal(t, pkcs11.CKO_SECRET_KEY, d.Class())
	kt, ok := d.KeyType()
	require.True(t, ok)
	require.Equal(t, pkcs11.CKK_AES, kt)
	n, _ := d.Template().Uint(pkcs11.CKA_VALUE_LEN)
	require.EqualValues(t, 32, n)
}

// TestNothingComesFromNowhere: without the base key there would be nothing to be measured against.
func TestNothingComesFromNowhere(t *testing.T) {
	for _, op := range []Op{OpUnwrap, OpDerive, OpEncapsulate, OpDecapsulate, OpGenerate} {
		refused(t, pkcs11.CKR_GENERAL_ERROR, user(op), aesImport[:2])
	}
}
