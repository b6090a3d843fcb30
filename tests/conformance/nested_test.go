package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestTemplatesNest: what a key's template demands of the keys that come out of it may be a template, which binds the next.
func TestTemplatesNest(t *testing.T) {
	kw := &mech{Type: pkcs11.CKM_AES_KEY_WRAP}
	inner := func(a pkcs11.AttributeType, t T) T { return T{pkcs11.Attr(a, t)} }
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		last := with(no(pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_WRAP), text(pkcs11.CKA_LABEL, "third"))
		first := e.aes(t, h, wrapping, inner(pkcs11.CKA_UNWRAP_TEMPLATE, inner(pkcs11.CKA_UNWRAP_TEMPLATE, last)))
		plain := e.aes(t, h, wrapping, yes(pkcs11.CKA_EXTRACTABLE))
		second, err := e.UnwrapKey(h, kw, first, e.wrapped(t, h, kw, first, plain), with(aesKind, yes(pkcs11.CKA_UNWRAP)))
		require.NoError(t, err)
		key := e.aes(t, h, yes(pkcs11.CKA_EXTRACTABLE))
		out := e.wrapped(t, h, kw, plain, key)
		third, err := e.UnwrapKey(h, kw, second, out, aesKind)
		require.NoError(t, err)
		e.has(t, h, third, last)
		for name, against := range map[string]T{
			"extractable": yes(pkcs11.CKA_EXTRACTABLE), "wraps": yes(pkcs11.CKA_WRAP), "another label": text(pkcs11.CKA_LABEL, "mine"),
		} {
			_, err = e.UnwrapKey(h, kw, second, out, with(aesKind, against))
			rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err, name)
		}
		_, err = e.UnwrapKey(h, kw, first, e.wrapped(t, h, kw, first, plain), with(aesKind, inner(pkcs11.CKA_UNWRAP_TEMPLATE, yes(pkcs11.CKA_EXTRACTABLE))))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err, "another template in place of the demanded one")
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, second, inner(pkcs11.CKA_UNWRAP_TEMPLATE, nil)))
	})
}
