package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestOnlyKeysAreWrapped: everything else has nothing to hide, and CKR_KEY_UNEXTRACTABLE would say that it had.
func TestOnlyKeysAreWrapped(t *testing.T) {
	e, _, cred := ready(t)
	wrapping := aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_WRAP, true))
	data, err := e.Create(ctx, cred, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.AttrString(pkcs11.CKA_VALUE, "v")})
	require.NoError(t, err)
	p256 := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})}
	pub, _, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}, p256, nil)
	require.NoError(t, err)
	for _, o := range []hsm.Object{data, pub} {
		_, err := e.WrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, wrapping, o)
		rv(t, pkcs11.CKR_KEY_NOT_WRAPPABLE, err)
	}
}

// TestAKeyIsUnwrappedWhole: a mechanism that tells where the key ends lets nobody have a piece of it, though the rest be zeros;
// nor does one for secret keys make another.
func TestAKeyIsUnwrappedWhole(t *testing.T) {
	e, _, cred := ready(t)
	wrapping := aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_UNWRAP, true))
	aes := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES)}
	key, err := e.Create(ctx, cred, append(aes[:2:2], pkcs11.Attr(pkcs11.CKA_VALUE, append([]byte("0123456789abcdef"), make([]byte, 16)...))))
	require.NoError(t, err)
	kwp, ecb := pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, pkcs11.Mechanism{Type: pkcs11.CKM_AES_ECB}
	wrapped, err := e.WrapKey(ctx, cred, kwp, wrapping, key)
	require.NoError(t, err)
	for n, want := range map[uint]pkcs11.RV{16: pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, 24: pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, 32: pkcs11.CKR_OK, 64: pkcs11.CKR_WRAPPED_KEY_LEN_RANGE} {
		_, err = e.UnwrapKey(ctx, cred, kwp, wrapping, wrapped, append(aes[:2:2], pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, n)))
		rv(t, want, err)
	}
	wrapped, err = e.WrapKey(ctx, cred, ecb, wrapping, key)
	require.NoError(t, err)
	_, err = e.UnwrapKey(ctx, cred, ecb, wrapping, wrapped, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC)})
	rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
}

// TestAKeyThatTheParameterNamesCountsToo: what comes of two keys is as well protected as each of them.
func TestAKeyThatTheParameterNamesCountsToo(t *testing.T) {
	e, _, cred := ready(t)
	hkdf := pkcs11.Mechanism{Type: pkcs11.CKM_HKDF_DERIVE, Params: &pkcs11.HKDFParams{
		Extract: true, Expand: true, Hash: pkcs11.CKM_SHA256, SaltType: uint(pkcs11.CKF_HKDF_SALT_KEY), SaltKey: 7}}
	key := func(more ...pkcs11.Attribute) hsm.Object {
		o, err := e.Create(ctx, cred, append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 32)), pkcs11.Attr(pkcs11.CKA_DERIVE, true)}, more...))
		require.NoError(t, err)
		return o
	}
	shown, extractable := pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)
	open := key(shown, extractable)
	for want, salt := range map[pkcs11.RV]hsm.Object{
		pkcs11.CKR_OK: open, pkcs11.CKR_TEMPLATE_INCONSISTENT: key(pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false))} {
		for _, asked := range []pkcs11.Attribute{shown, extractable} {
			_, err := e.DeriveKey(ctx, cred, hkdf, open, []hsm.Named{{Handle: 7, Key: salt}}, pkcs11.Template{asked, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)})
			rv(t, want, err)
		}
	}
}

// TestDataOfAPrivateKeyIsPrivate: a data object, which shows its value, is not for those who may not see the key that it was
// derived from, unless the template says so.
func TestDataOfAPrivateKeyIsPrivate(t *testing.T) {
	e, _, cred := ready(t)
	hkdf := pkcs11.Mechanism{Type: pkcs11.CKM_HKDF_DATA, Params: &pkcs11.HKDFParams{Expand: true, Hash: pkcs11.CKM_SHA256, SaltType: uint(pkcs11.CKF_HKDF_SALT_NULL)}}
	for _, private := range []bool{true, false} {
		base, err := e.Create(ctx, cred, pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_HKDF), pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 32)),
			pkcs11.Attr(pkcs11.CKA_DERIVE, true), pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_PRIVATE, private)})
		require.NoError(t, err)
		for _, asked := range []pkcs11.Template{nil, {pkcs11.Attr(pkcs11.CKA_PRIVATE, false)}, {pkcs11.Attr(pkcs11.CKA_PRIVATE, true)}} {
			d, err := e.DeriveKey(ctx, cred, hkdf, base, nil, append(asked, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16)))
			require.NoError(t, err)
			want, said := asked.Bool(pkcs11.CKA_PRIVATE)
			if !said {
				want = private
			}
			require.Equal(t, want, d.Key.Private(), "of a private key: %v, asked for: %v", private, asked)
		}
		_, err = e.DeriveKey(ctx, cred, hkdf, base, make([]hsm.Named, 65), nil)
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
		require.NoError(t, e.SetAttributes(ctx, cred, base, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SENSITIVE, true)}))
		_, err = e.DeriveKey(ctx, cred, hkdf, base, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16)})
		rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err) // what comes of a sensitive key could be read
	}
}
