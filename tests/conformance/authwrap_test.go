package conformance

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// authenticators are the functions that wrap with associated data.
type authenticators interface {
	WrapKeyAuthenticated(h session, m *mech, wrapping, key handle, associated []byte, wrapped *out) error
	UnwrapKeyAuthenticated(h session, m *mech, unwrapping handle, wrapped []byte, template T, associated []byte) (handle, error)
}

func (x *recorded) WrapKeyAuthenticated(h session, m *mech, wrapping, key handle, associated []byte, wrapped *out) error {
	return x.r.did("WrapKeyAuthenticated", pkcs11.CKF_WRAP, m, wrapped, x.Module.WrapKeyAuthenticated(h, m, wrapping, key, associated, wrapped))
}

func (x *recorded) UnwrapKeyAuthenticated(h session, m *mech, unwrapping handle, wrapped []byte, template T, associated []byte) (handle, error) {
	v, err := x.Module.UnwrapKeyAuthenticated(h, m, unwrapping, wrapped, template, associated)
	return v, x.r.did("UnwrapKeyAuthenticated", pkcs11.CKF_UNWRAP, m, nil, err)
}

// TestAuthenticatedWrap moves keys out and in under every mechanism that wraps and has messages.
func TestAuthenticatedWrap(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		list, err := e.GetMechanismList(e.slot)
		require.NoError(t, err)
		for _, typ := range list {
			row := registry(t).Mechanism(typ)
			if row.Wrap == nil || typ.NewMessage() == nil {
				continue
			}
			t.Run(typ.String(), func(t *testing.T) {
				keys := newKeySet(e, h)
				b := &battery{env: e, h: h, row: row, keys: keys, key: keys.of(t, row.KeyTypes[0])}
				for _, kt := range []pkcs11.KeyType{pkcs11.CKK_AES, pkcs11.CKK_EC} {
					b.authenticated(t, kt)
				}
			})
		}
	})
}

// authenticated moves one key.
func (b *battery) authenticated(t *testing.T, kt pkcs11.KeyType) {
	target := b.keys.of(t, kt)
	header := []byte("associated data")
	sample := func() *mech { return &mech{Type: b.row.Type, Params: b.row.Type.NewMessage().Sample()} }
	tagOf := func(m *mech) []byte {
		tag, _ := m.Params.(pkcs11.MessageParams).TagSpace()
		return tag
	}
	m := sample()
	wrapped := b.sized(t, func(o *out) error {
		err := b.WrapKeyAuthenticated(b.h, m, b.key.pub, target.priv, header, o)
		if err != nil || o.Query {
			require.Equal(t, make([]byte, len(tagOf(m))), tagOf(m), "no key, no tag")
		}
		return err
	})
	require.NotEqual(t, make([]byte, len(tagOf(m))), tagOf(m))
	if kt == pkcs11.CKK_AES {
		// The same as C_Encrypt gives, the tag after the ciphertext.
		value := target.values.Bytes(pkcs11.CKA_VALUE)
		require.Len(t, wrapped, len(value))
		require.NoError(t, b.EncryptInit(b.h, &mech{Type: b.row.Type, Params: sample().Params.(pkcs11.MessageParams).Whole(header, len(value))}, b.key.pub))
		o := &out{Capacity: 1 << 10}
		require.NoError(t, b.Encrypt(b.h, value, o))
		require.Equal(t, o.Bytes, append(bytes.Clone(wrapped), tagOf(m)...))
	}
	back, err := b.UnwrapKeyAuthenticated(b.h, m, b.key.priv, wrapped, with(target.privKind, readable), header)
	require.NoError(t, err)
	b.has(t, b.h, back, with(target.values, no(pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE)))

	invalid := func(m *mech, wrapped, associated []byte, why string) {
		t.Helper()
		_, err := b.UnwrapKeyAuthenticated(b.h, m, b.key.priv, wrapped, target.privKind, associated)
		require.Contains(t, []pkcs11.RV{pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE}, pkcs11.RVOf(err), "%s: %v", why, err)
	}
	changed := bytes.Clone(wrapped)
	changed[0] ^= 1
	invalid(m, changed, header, "another key")
	invalid(m, wrapped[1:], header, "a byte less")
	invalid(m, nil, header, "nothing")
	invalid(m, wrapped, []byte("other data"), "other associated data")
	invalid(m, wrapped, nil, "no associated data")
	tagOf(m)[0] ^= 1
	invalid(m, wrapped, header, "another tag")

	big := func() *out { return &out{Capacity: 1 << 10} }
	for why, bad := range map[string]*mech{
		"no parameter":             {Type: b.row.Type},
		"a parameter of C_Encrypt": {Type: b.row.Type, Params: sample().Params.(pkcs11.MessageParams).Whole(nil, 16)},
		"a stranger's":             {Type: b.row.Type, Params: stranger},
	} {
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.WrapKeyAuthenticated(b.h, bad, b.key.pub, target.priv, header, big()), why)
		_, err := b.UnwrapKeyAuthenticated(b.h, bad, b.key.priv, wrapped, target.privKind, header)
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err, why)
	}
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, b.WrapKeyAuthenticated(b.h, nil, b.key.pub, target.priv, header, big()))
	rv(t, pkcs11.CKR_MECHANISM_INVALID, b.WrapKeyAuthenticated(b.h, kwp, b.key.pub, target.priv, header, big()))
	rv(t, pkcs11.CKR_KEY_UNEXTRACTABLE, b.WrapKeyAuthenticated(b.h, sample(), b.key.pub, b.aes(t, b.h), header, big()))
	rv(t, pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID, b.WrapKeyAuthenticated(b.h, sample(), 1<<40, target.priv, header, big()))
	rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, b.WrapKeyAuthenticated(b.h, sample(), b.key.pub, 1<<40, header, big()))
	rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, b.WrapKeyAuthenticated(b.h, sample(), b.keys.anew(t, b.key, true, no(pkcs11.CKA_WRAP)), target.priv, header, big()))
	_, err = b.UnwrapKeyAuthenticated(b.h, m, 1<<40, wrapped, target.privKind, header)
	rv(t, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID, err)
	_, err = b.UnwrapKeyAuthenticated(b.h, m, b.keys.anew(t, b.key, false, no(pkcs11.CKA_UNWRAP)), wrapped, target.privKind, header)
	rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err)
}

// TestVectorsOfWrappedKeys: the token makes them where it is asked to, never one twice, and gives them back.
func TestVectorsOfWrappedKeys(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek, key := e.aes(t, h, wrapping), e.aes(t, h, leaves, no(pkcs11.CKA_SENSITIVE))
		value, _ := e.value(t, h, key, pkcs11.CKA_VALUE).([]byte)
		header := []byte("header")
		// Both ways to hand the vector over.
		ways := map[string]struct {
			params func(iv []byte, fixed, generator uint) *mech
			wrap   func(m *mech, o *out) error
			unwrap func(m *mech, wrapped []byte) (handle, error)
		}{
			"C_WrapKey": {
				func(iv []byte, fixed, generator uint) *mech {
					return &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMWrapParams{IV: iv, IVFixedBits: fixed, IVGenerator: generator, AAD: header, TagBits: 128}}
				},
				func(m *mech, o *out) error { return e.WrapKey(h, m, kek, key, o) },
				func(m *mech, wrapped []byte) (handle, error) {
					return e.UnwrapKey(h, m, kek, wrapped, with(aesKind, yes(pkcs11.CKA_SENSITIVE)))
				},
			},
			"C_WrapKeyAuthenticated": {
				func(iv []byte, fixed, generator uint) *mech {
					return &mech{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMMessageParams{IV: iv, IVFixedBits: fixed, IVGenerator: generator, Tag: make([]byte, 16), TagBits: 128}}
				},
				func(m *mech, o *out) error { return e.WrapKeyAuthenticated(h, m, kek, key, header, o) },
				func(m *mech, wrapped []byte) (handle, error) {
					return e.UnwrapKeyAuthenticated(h, m, kek, wrapped, with(aesKind, yes(pkcs11.CKA_SENSITIVE)), header)
				},
			},
		}
		seen := map[string]bool{}
		for name, way := range ways {
			for _, c := range []struct {
				length           int
				fixed, generator uint
			}{
				{12, 0, pkcs11.CKG_GENERATE}, {12, 0, pkcs11.CKG_GENERATE_RANDOM}, {16, 32, pkcs11.CKG_GENERATE}, {13, 3, pkcs11.CKG_GENERATE_RANDOM},
			} {
				for range 3 {
					iv := bytes.Repeat([]byte{0xa5}, c.length)
					m := way.params(iv, c.fixed, c.generator)
					require.NoError(t, way.wrap(m, &out{Query: true}), name)
					require.Equal(t, bytes.Repeat([]byte{0xa5}, c.length), iv, "a question for the length makes none")
					rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, way.wrap(m, &out{Capacity: 31}), name)
					require.Equal(t, bytes.Repeat([]byte{0xa5}, c.length), iv, "nor does a short buffer")
					o := &out{Capacity: 100}
					require.NoError(t, way.wrap(m, o), name)
					require.False(t, seen[string(iv)], "a vector twice")
					seen[string(iv)] = true
					for bit := range int(c.fixed) {
						require.Equal(t, 0xa5>>(7-bit%8)&1, int(iv[bit/8]>>(7-bit%8)&1), "fixed bit %d", bit)
					}
					got, err := way.unwrap(m, o.Bytes)
					require.NoError(t, err, name)
					require.Equal(t, e.value(t, h, key, pkcs11.CKA_CHECK_VALUE), e.value(t, h, got, pkcs11.CKA_CHECK_VALUE))
					iv[c.length-1] ^= 1
					_, err = way.unwrap(m, o.Bytes)
					rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err, name)
				}
			}
			for why, c := range map[string]struct {
				length           int
				fixed, generator uint
			}{
				"a counter that begins anew":        {12, 0, pkcs11.CKG_GENERATE_COUNTER},
				"another one":                       {12, 0, pkcs11.CKG_GENERATE_COUNTER_XOR},
				"no generator":                      {12, 0, 77},
				"too few bits":                      {12, 1, pkcs11.CKG_GENERATE},
				"more fixed bits than there are":    {12, 97, pkcs11.CKG_GENERATE_RANDOM},
				"wild":                              {12, ^uint(0), pkcs11.CKG_GENERATE},
				"nothing to make a vector in":       {0, 0, pkcs11.CKG_GENERATE},
				"no vector, and none is to be made": {0, 0, pkcs11.CKG_NO_GENERATE},
			} {
				err := way.wrap(way.params(make([]byte, c.length), c.fixed, c.generator), &out{Capacity: 100})
				rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err, name, why)
			}
		}
		// With the caller's vector, C_WrapKey appends the tag to what C_Encrypt gives.
		m := ways["C_WrapKey"].params([]byte("twelve bytes"), 0, pkcs11.CKG_NO_GENERATE)
		o := &out{Capacity: 100}
		require.NoError(t, e.WrapKey(h, m, kek, key, o))
		require.Len(t, o.Bytes, len(value)+16)
	})
}
