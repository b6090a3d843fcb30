package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	kwp      = &mech{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}
	wrapping = yes(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP)
	aesKind  = kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES)
	leaves   = yes(pkcs11.CKA_EXTRACTABLE)
)

// wrapped wraps a key that may leave.
func (e *env) wrapped(t *testing.T, h session, m *mech, wrapping, key handle) []byte {
	t.Helper()
	o := &out{Capacity: 1 << 16}
	require.NoError(t, e.WrapKey(h, m, wrapping, key, o))
	return o.Bytes
}

// TestWrapPolicy: what may not leave does not.
func TestWrapPolicy(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, wrapping)
		big := func() *out { return &out{Capacity: 1 << 16} }
		rv(t, pkcs11.CKR_KEY_UNEXTRACTABLE, e.WrapKey(h, kwp, kek, e.aes(t, h), big()))
		rv(t, pkcs11.CKR_KEY_NOT_WRAPPABLE, e.WrapKey(h, kwp, kek, e.aes(t, h, leaves, yes(pkcs11.CKA_WRAP_WITH_TRUSTED)), big()))
		pub, _ := e.ec(t, h, p256)
		rv(t, pkcs11.CKR_KEY_NOT_WRAPPABLE, e.WrapKey(h, kwp, kek, pub, big()))
		rv(t, pkcs11.CKR_KEY_NOT_WRAPPABLE, e.WrapKey(h, kwp, kek, e.create(t, h, data("no key")), big()))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.WrapKey(h, kwp, kek, 1<<40, big()))
		rv(t, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID, e.WrapKey(h, kwp, 1<<40, kek, big()))
		e.wrapped(t, h, kwp, kek, e.aes(t, h, leaves))
	})
}

// TestWrapWithTrusted lets a key out under a key that the SO trusts.
func TestWrapWithTrusted(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		label := text(pkcs11.CKA_LABEL, "trusted kek")
		public := with(wrapping, no(pkcs11.CKA_PRIVATE), yes(pkcs11.CKA_TOKEN)) // so that the SO sees it
		e.aes(t, h, public, label)
		e.nobody(t)
		h = e.public(t)
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
		require.NoError(t, e.SetAttributeValue(h, e.find(t, h, label)[0], yes(pkcs11.CKA_TRUSTED)))
		require.NoError(t, e.Logout(h))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
		kek := e.find(t, h, label)[0]
		key := e.aes(t, h, leaves, yes(pkcs11.CKA_WRAP_WITH_TRUSTED))
		e.wrapped(t, h, kwp, kek, key)
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, key, no(pkcs11.CKA_WRAP_WITH_TRUSTED)))
		_, err := e.CopyObject(h, key, no(pkcs11.CKA_WRAP_WITH_TRUSTED))
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		require.NoError(t, e.DestroyObject(h, kek))
	})
}

// TestUnwrapNeverLowersSensitive: what was sealed under a sensitive key comes back sensitive (Tookan's attack).
func TestUnwrapNeverLowersSensitive(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, wrapping, yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT))
		_, ec := e.ec(t, h, p256, leaves)
		for _, c := range []struct {
			key  handle
			kind T
		}{
			{e.aes(t, h, leaves), aesKind},
			{ec, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC)},
		} {
			blob := e.wrapped(t, h, kwp, kek, c.key)
			_, err := e.UnwrapKey(h, kwp, kek, blob, with(c.kind, no(pkcs11.CKA_SENSITIVE)))
			rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
			o, err := e.UnwrapKey(h, kwp, kek, blob, c.kind)
			require.NoError(t, err)
			e.has(t, h, o, with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_ALWAYS_SENSITIVE)))
			e.hides(t, h, o, secret)
		}
		_, err := e.UnwrapKey(h, kwp, kek, e.wrapped(t, h, kwp, kek, e.aes(t, h, leaves)), with(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err, "as data it could be read")
	})
}

// TestKeyTypeConfusionOnUnwrap: a wrapped key does not come back as another kind of key.
func TestKeyTypeConfusionOnUnwrap(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, wrapping)
		aes := e.wrapped(t, h, kwp, kek, e.aes(t, h, leaves))
		_, priv := e.ec(t, h, p256, leaves)
		ec := e.wrapped(t, h, kwp, kek, priv)
		odd := e.wrapped(t, h, kwp, kek, e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(17), leaves)))
		for name, c := range map[string]struct {
			blob []byte
			kind T
		}{
			"AES as triple DES":    {aes, kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_DES3)},
			"AES as EC":            {aes, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC)},
			"AES as RSA":           {aes, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA)},
			"AES as a public key":  {aes, kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_EC)},
			"EC as AES":            {ec, aesKind},
			"EC as Edwards":        {ec, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC_EDWARDS)},
			"EC as RSA":            {ec, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_RSA)},
			"17 bytes as AES":      {odd, aesKind},
			"AES cut to half":      {aes, with(aesKind, num(pkcs11.CKA_VALUE_LEN, uint(16)))},
			"AES of twice as much": {aes, with(aesKind, num(pkcs11.CKA_VALUE_LEN, uint(64)))},
			"AES with a value":     {aes, with(aesKind, octets(pkcs11.CKA_VALUE, message(32)))},
			"EC on another curve":  {ec, with(kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), octets(pkcs11.CKA_EC_PARAMS, p521))},
		} {
			_, err := e.UnwrapKey(h, kwp, kek, c.blob, c.kind)
			require.Contains(t, []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_ATTRIBUTE_READ_ONLY,
				pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID}, pkcs11.RVOf(err), "%s: %v", name, err)
		}
	})
}

// TestTemplatesOfKeys: CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE and CKA_DERIVE_TEMPLATE are obeyed.
func TestTemplatesOfKeys(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		only := func(a pkcs11.AttributeType, inner T) T { return T{pkcs11.Attr(a, inner)} }
		kek := e.aes(t, h, wrapping, yes(pkcs11.CKA_DERIVE), readable,
			only(pkcs11.CKA_WRAP_TEMPLATE, with(num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), yes(pkcs11.CKA_ENCRYPT))),
			only(pkcs11.CKA_UNWRAP_TEMPLATE, with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE))),
			only(pkcs11.CKA_DERIVE_TEMPLATE, with(text(pkcs11.CKA_LABEL, "derived"), no(pkcs11.CKA_EXTRACTABLE))))
		big := &out{Capacity: 1 << 16}
		good := e.aes(t, h, leaves)
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.WrapKey(h, kwp, kek, e.aes(t, h, leaves, no(pkcs11.CKA_ENCRYPT)), big))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.WrapKey(h, kwp, kek, e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(16), leaves)), big))
		blob := e.wrapped(t, h, kwp, kek, good)
		o, err := e.UnwrapKey(h, kwp, kek, blob, aesKind)
		require.NoError(t, err)
		e.has(t, h, o, with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE)))
		_, err = e.UnwrapKey(h, kwp, kek, blob, with(aesKind, yes(pkcs11.CKA_EXTRACTABLE)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)

		derive := &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}}
		o, err = e.DeriveKey(h, derive, kek, aesKind)
		require.NoError(t, err)
		e.has(t, h, o, with(text(pkcs11.CKA_LABEL, "derived"), no(pkcs11.CKA_EXTRACTABLE)))
		_, err = e.DeriveKey(h, derive, kek, with(aesKind, text(pkcs11.CKA_LABEL, "other")))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		e.has(t, h, kek, only(pkcs11.CKA_UNWRAP_TEMPLATE, with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE))))
	})
}

// TestDerivePolicy: what comes out of a secret key is protected like it, and its history is no better.
func TestDerivePolicy(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		derive := &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}}
		base := e.aes(t, h, yes(pkcs11.CKA_DERIVE, pkcs11.CKA_EXTRACTABLE))
		_, err := e.DeriveKey(h, derive, base, with(aesKind, no(pkcs11.CKA_SENSITIVE)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		o, err := e.DeriveKey(h, derive, base, aesKind)
		require.NoError(t, err)
		e.has(t, h, o, with(yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_ALWAYS_SENSITIVE), no(pkcs11.CKA_NEVER_EXTRACTABLE)))
		e.hides(t, h, o, secret)

		imported := e.create(t, h, secretKey(pkcs11.CKK_AES, message(32), yes(pkcs11.CKA_DERIVE)))
		o, err = e.DeriveKey(h, derive, imported, aesKind)
		require.NoError(t, err)
		e.has(t, h, o, no(pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE))

		for name, c := range map[string]struct {
			template T
			want     []pkcs11.RV
		}{
			"as data":       {num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
			"as EC":         {kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), []pkcs11.RV{pkcs11.CKR_TEMPLATE_INCONSISTENT}},
			"with a value":  {with(aesKind, octets(pkcs11.CKA_VALUE, message(32))), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
			"17 bytes":      {with(aesKind, num(pkcs11.CKA_VALUE_LEN, uint(17))), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE}},
			"without end":   {with(aesKind, num(pkcs11.CKA_VALUE_LEN, ^uint(0))), []pkcs11.RV{pkcs11.CKR_KEY_SIZE_RANGE}},
			"trusted":       {with(aesKind, yes(pkcs11.CKA_TRUSTED)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
			"a local birth": {with(aesKind, yes(pkcs11.CKA_LOCAL)), []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_READ_ONLY}},
		} {
			_, err := e.DeriveKey(h, derive, base, c.template)
			require.Contains(t, c.want, pkcs11.RVOf(err), "%s: %v", name, err)
		}
	})
}
