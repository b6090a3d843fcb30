package engine

import (
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// row returns a mechanism that can do what has wants.
func (e *Engine) row(t pkcs11.MechanismType, what string, has func(*mech.Mechanism) bool) (*mech.Mechanism, error) {
	m := e.opts.Mechanisms.Mechanism(t)
	if m == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "%v is not offered", t)
	}
	if !has(m) {
		return nil, errCannot(m, what)
	}
	if err := m.Ready(); err != nil {
		e.tellOnce(m.Type, err)
		return nil, err
	}
	return m, nil
}

// made is the key type that a generator makes: the one that the template names if the row can make it, else the row's
// first.
func made(m *mech.Mechanism, t pkcs11.Template) (pkcs11.KeyType, error) {
	want, named := t.Uint(pkcs11.CKA_KEY_TYPE)
	if !named {
		return m.KeyTypes[0], nil
	}
	if !slices.Contains(m.KeyTypes, pkcs11.KeyType(want)) {
		return 0, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v does not make a %v", m.Type, pkcs11.KeyType(want))
	}
	return pkcs11.KeyType(want), nil
}

// draft builds the object that a generator is to make.
func (e *Engine) draft(cred hsm.Credential, m *mech.Mechanism, class pkcs11.ObjectClass, t pkcs11.Template) (*object.Draft, error) {
	kt, err := made(m, t)
	if err != nil {
		return nil, err
	}
	r, err := e.caller(cred, object.Request{Op: object.OpGenerate, Mechanism: m.Type, Fixed: true, Makes: object.Kind{Class: class, Type: kt}})
	if err != nil {
		return nil, err
	}
	return e.build(r, t)
}

// GenerateKey makes a secret key or domain parameters. PKCS#11 v3.2, C_GenerateKey.
func (e *Engine) GenerateKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "GenerateKey")
	if err != nil {
		return nil, err
	}
	row, err := e.row(m.Type, "generate a key", func(r *mech.Mechanism) bool { return r.Generate != nil })
	if err != nil {
		return nil, err
	}
	class := pkcs11.CKO_SECRET_KEY
	if row.Parameters {
		class = pkcs11.CKO_DOMAIN_PARAMETERS
	}
	draft, err := e.draft(cred, row, class, template)
	if err != nil {
		return nil, err
	}
	material, err := row.Generate(m.Params, draft.Template())
	if err != nil {
		return nil, err
	}
	return e.finishOne(ctx, c, draft, material, ownMaterial)
}

// GenerateKeyPair makes a key pair: both objects or none. PKCS#11 v3.2, C_GenerateKeyPair.
func (e *Engine) GenerateKeyPair(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, public, private pkcs11.Template) (pub, priv hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "GenerateKeyPair")
	if err != nil {
		return nil, nil, err
	}
	row, err := e.row(m.Type, "generate a key pair", func(r *mech.Mechanism) bool { return r.GeneratePair != nil })
	if err != nil {
		return nil, nil, err
	}
	pubDraft, err := e.draft(cred, row, pkcs11.CKO_PUBLIC_KEY, public)
	if err != nil {
		return nil, nil, err
	}
	privDraft, err := e.draft(cred, row, pkcs11.CKO_PRIVATE_KEY, private)
	if err != nil {
		return nil, nil, err
	}
	pubMaterial, privMaterial, err := row.GeneratePair(m.Params, pubDraft.Template(), privDraft.Template())
	if err != nil {
		return nil, nil, err
	}
	pubKey, err := e.finish(c, pubDraft, pubMaterial, ownMaterial)
	if err != nil {
		wipeMaterial(privDraft, privMaterial)
		return nil, nil, err
	}
	privKey, err := e.finish(c, privDraft, privMaterial, ownMaterial)
	if err != nil {
		return nil, nil, err
	}
	pair, err := e.keep(ctx, c, pubKey, privKey)
	if err != nil {
		return nil, nil, err
	}
	return pair[0], pair[1], nil
}

// complete checks key material that comes from outside, and adds to the material what follows from it.
func (e *Engine) complete(d *object.Draft, made pkcs11.Template, from origin) (pkcs11.Template, error) {
	kt, isKey := d.KeyType()
	row := e.opts.Mechanisms.KeyType(kt)
	if from == ownMaterial && d.Class() == pkcs11.CKO_SECRET_KEY && row != nil {
		return withCheckValue(row, made, made), nil // for a session's keys are made in great numbers, and nothing else follows
	}
	made = slices.Grow(made, 3)
	// all is the template overlaid with the material: what the object will hold.
	all := append(make(pkcs11.Template, 0, len(d.Template())+len(made)+2), d.Template()...)
	add := func(t pkcs11.Template) {
		for _, a := range t {
			all, made = all.Set(a.Type, a.Value), made.Set(a.Type, a.Value)
		}
	}
	add(made)
	if d.Class() == pkcs11.CKO_DOMAIN_PARAMETERS {
		return completeDomain(all, made)
	}
	if !isKey {
		return completeOther(d, made)
	}
	if row == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "keys of type %v are not offered", kt)
	}
	if row.Check != nil && from != ownMaterial {
		more, err := row.Check(d.Class(), all)
		if from == unwrappedMaterial && pkcs11.RVOf(err) == pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			err = pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_INVALID, "%w", err)
		}
		if err != nil {
			return nil, err
		}
		add(more)
	}
	if row.PublicKeyInfo != nil && d.Class() != pkcs11.CKO_SECRET_KEY {
		if info, err := row.PublicKeyInfo(d.Class(), all); err == nil && len(info) > 0 {
			made = made.Set(pkcs11.CKA_PUBLIC_KEY_INFO, info)
		}
	}
	if d.Class() == pkcs11.CKO_SECRET_KEY {
		made = withCheckValue(row, made, all)
	}
	return made, nil
}

// withCheckValue adds the check value of a secret key, whose value is in all, to the material.
func withCheckValue(row *mech.KeyType, made, all pkcs11.Template) pkcs11.Template {
	if row.CheckValue == nil {
		return made
	}
	return made.Set(pkcs11.CKA_CHECK_VALUE, row.CheckValue(all.Bytes(pkcs11.CKA_VALUE)))
}

// completeOther adds to a certificate what follows from its value; one that cannot be read is kept as it is.
func completeOther(d *object.Draft, made pkcs11.Template) (pkcs11.Template, error) {
	der := d.Template().Bytes(pkcs11.CKA_VALUE)
	if d.Class() != pkcs11.CKO_CERTIFICATE || len(der) == 0 {
		return made, nil
	}
	sum := sha1.Sum(der)
	made = made.Set(pkcs11.CKA_CHECK_VALUE, sum[:3])
	if kind, _ := d.Template().Uint(pkcs11.CKA_CERTIFICATE_TYPE); pkcs11.CertificateType(kind) != pkcs11.CKC_X_509 {
		return made, nil
	}
	subject, info, ok := readCertificate(der)
	if !ok {
		return made, nil
	}
	if !d.Template().Has(pkcs11.CKA_SUBJECT) {
		made = made.Set(pkcs11.CKA_SUBJECT, subject)
	}
	return made.Set(pkcs11.CKA_PUBLIC_KEY_INFO, info), nil
}

// WrapKey encrypts a key with another. PKCS#11 v3.2, C_WrapKey.
func (e *Engine) WrapKey(_ context.Context, cred hsm.Credential, m pkcs11.Mechanism, wrapping, key hsm.Object) (wrapped []byte, err error) {
	defer answer(&err)
	row, err := e.row(m.Type, "wrap", func(r *mech.Mechanism) bool { return r.Wrap != nil })
	if err != nil {
		return nil, err
	}
	w, err := e.key(cred, wrapping, keyUse{row, pkcs11.CKA_WRAP, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID})
	if err != nil {
		return nil, wrappingError(err, pkcs11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT)
	}
	defer w.release()
	_, k, err := e.use(cred, key, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	defer k.release()
	if err := mayWrap(w, k); err != nil {
		return nil, err
	}
	if row.SecretOnly && k.Class() != pkcs11.CKO_SECRET_KEY {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_NOT_WRAPPABLE, "%v wraps secret keys only", row.Type)
	}
	plain, err := e.encode(k)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	return row.Wrap(w, m.Params, plain)
}

// wrappingError turns the answer for a key of the wrong type into the one for a wrapping or unwrapping key.
func wrappingError(err error, rv pkcs11.RV) error {
	if pkcs11.RVOf(err) == pkcs11.CKR_KEY_TYPE_INCONSISTENT {
		return pkcs11.Errorf(rv, "%w", err)
	}
	return err
}

// mayWrap asks both keys.
func mayWrap(wrapping, key *version) error {
	switch {
	case key.head.Class() != pkcs11.CKO_SECRET_KEY && key.head.Class() != pkcs11.CKO_PRIVATE_KEY:
		return pkcs11.Errorf(pkcs11.CKR_KEY_NOT_WRAPPABLE, "the object is a %v", key.head.Class())
	case !key.head.Bool(pkcs11.CKA_EXTRACTABLE):
		return pkcs11.Errorf(pkcs11.CKR_KEY_UNEXTRACTABLE, "CKA_EXTRACTABLE of the key is false")
	case key.head.Bool(pkcs11.CKA_WRAP_WITH_TRUSTED) && !wrapping.head.Bool(pkcs11.CKA_TRUSTED):
		return pkcs11.Errorf(pkcs11.CKR_KEY_NOT_WRAPPABLE, "the key asks for a trusted wrapping key")
	case !object.MatchesWrapTemplate(key.head, wrapping.head):
		return pkcs11.Errorf(pkcs11.CKR_KEY_HANDLE_INVALID, "the key does not fit the wrapping key's CKA_WRAP_TEMPLATE")
	}
	return nil
}

// encode returns a key as it is wrapped: a secret key's value, a private key's PKCS #8.
func (e *Engine) encode(k *version) ([]byte, error) {
	secretPart, err := e.secretOf(k)
	if err != nil {
		return nil, err
	}
	if k.Class() == pkcs11.CKO_SECRET_KEY {
		return append([]byte{}, secretPart.Bytes(pkcs11.CKA_VALUE)...), nil
	}
	row := e.opts.Mechanisms.KeyType(k.Type())
	if row == nil || row.MarshalPKCS8 == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_NOT_WRAPPABLE, "a %v has no PKCS #8 form", k.Type())
	}
	return row.MarshalPKCS8(k)
}

// UnwrapKey decrypts a key. PKCS#11 v3.2, C_UnwrapKey.
func (e *Engine) UnwrapKey(ctx context.Context, cred hsm.Credential, m pkcs11.Mechanism, unwrapping hsm.Object, wrapped []byte, template pkcs11.Template) (o hsm.Object, err error) {
	defer answer(&err)
	c, err := e.call(ctx, "UnwrapKey")
	if err != nil {
		return nil, err
	}
	row, err := e.row(m.Type, "unwrap", func(r *mech.Mechanism) bool { return r.Unwrap != nil })
	if err != nil {
		return nil, err
	}
	u, err := e.key(cred, unwrapping, keyUse{row, pkcs11.CKA_UNWRAP, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID})
	if err != nil {
		return nil, wrappingError(err, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)
	}
	defer u.release()
	if err := withoutPIN(u); err != nil {
		return nil, err
	}
	draft, err := e.from(cred, object.OpUnwrap, u, template)
	if err != nil {
		return nil, err
	}
	if row.SecretOnly && draft.Class() != pkcs11.CKO_SECRET_KEY {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "%v unwraps secret keys only", row.Type)
	}
	plain, err := row.Unwrap(u, m.Params, wrapped)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	material, err := e.decode(row, draft, plain)
	if err != nil {
		return nil, err
	}
	return e.finishOne(ctx, c, draft, material, unwrappedMaterial)
}

// from builds the object that an unwrapping, an encapsulation or a decapsulation is to make.
func (e *Engine) from(cred hsm.Credential, op object.Op, base *version, t pkcs11.Template) (*object.Draft, error) {
	return e.buildFor(cred, object.Request{Op: op, Base: base.head}, t)
}

// buildFor is build for a caller, as whom the rules take him.
func (e *Engine) buildFor(cred hsm.Credential, r object.Request, t pkcs11.Template) (*object.Draft, error) {
	r, err := e.caller(cred, r)
	if err != nil {
		return nil, err
	}
	return e.build(r, t)
}

// decode turns an unwrapped key into material.
func (e *Engine) decode(m *mech.Mechanism, d *object.Draft, plain []byte) (pkcs11.Template, error) {
	kt, _ := d.KeyType()
	if d.Class() == pkcs11.CKO_SECRET_KEY {
		n, said := e.lengthOf(d)
		value, err := cut(m, plain, n, said)
		if err != nil {
			return nil, err
		}
		return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, append([]byte{}, value...))}, nil
	}
	row := e.opts.Mechanisms.KeyType(kt)
	if d.Class() != pkcs11.CKO_PRIVATE_KEY || row == nil || row.ParsePKCS8 == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "a %v of type %v cannot be unwrapped", d.Class(), kt)
	}
	if m.Filled {
		plain = unfilled(plain)
	}
	return row.ParsePKCS8(plain)
}

// lengthOf is how long the value of a secret key is to be, in bytes: as the key's type has it, or as the template asks.
func (e *Engine) lengthOf(d *object.Draft) (n uint, said bool) {
	if kt, ok := d.KeyType(); ok {
		if row := e.opts.Mechanisms.KeyType(kt); row != nil && row.Length > 0 {
			return row.Length, true
		}
	}
	return d.Template().Uint(pkcs11.CKA_VALUE_LEN)
}

// cut takes the key out of what was unwrapped: all of it, or the n bytes that are wanted where the mechanism cannot tell
// the key's end (mech.Mechanism). What is left over must be the zeros that the key was filled with.
//
// Deviation: the standard has longer keys cut. A piece of one byte is guessed by what it signs, one of two bytes then too,
// and so on: whoever may unwrap a key would find it out.
func cut(m *mech.Mechanism, plain []byte, n uint, said bool) ([]byte, error) {
	if !said || n == uint(len(plain)) {
		return plain, nil
	}
	refused := pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "the wrapped key has %d bytes, not %d", len(plain), n)
	if n > uint(len(plain)) || !m.SecretOnly && !m.Filled {
		return nil, refused
	}
	key, rest := plain[:n], plain[n:]
	if at := uint(len(plain)) - n; m.KeyAtEnd {
		key, rest = plain[at:], plain[:at]
	}
	if !zeros(rest) {
		return nil, refused
	}
	return key, nil
}

// zeros reports whether b holds nothing else, in a time that depends on its length alone.
func zeros(b []byte) bool {
	var set byte
	for _, x := range b {
		set |= x
	}
	return subtle.ConstantTimeByteEq(set, 0) == 1
}

// withoutPIN refuses a key that asks for the PIN at each use where there is no operation in which it could be given.
//
// Deviation: the standard speaks of signing and decrypting only; but unwrapping and deriving are as good as decrypting.
func withoutPIN(v *version) error {
	if v.head.Bool(pkcs11.CKA_ALWAYS_AUTHENTICATE) {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "CKA_ALWAYS_AUTHENTICATE: the key signs and decrypts only")
	}
	return nil
}
