package engine

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// sessionKey is the template of an AES key for a session, whose value may be seen.
var sessionKey = pkcs11.Template{
	pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
	pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true),
	pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_UNWRAP, true), pkcs11.Attr(pkcs11.CKA_DERIVE, true),
}

func sessionKeyWith(more ...pkcs11.Attribute) pkcs11.Template {
	return append(sessionKey[:len(sessionKey):len(sessionKey)], more...)
}

// TestKeysForASessionAreWiped: in whatever way one was made and goes, its value goes with it, and with nobody else's.
func TestKeysForASessionAreWiped(t *testing.T) {
	ctx := context.Background()
	e, cred := withPINs(t, mem.New())
	value := bytes.Repeat([]byte{7}, 32)
	create := func() (hsm.Object, error) {
		return e.Create(ctx, cred, sessionKeyWith(pkcs11.Attr(pkcs11.CKA_VALUE, value)))
	}
	base, err := create()
	require.NoError(t, err)
	wrap := pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP}
	wrapped, err := e.WrapKey(ctx, cred, wrap, base, base)
	require.NoError(t, err)
	makers := map[string]func() (hsm.Object, error){
		"created": create,
		"generated": func() (hsm.Object, error) {
			return e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, sessionKeyWith(pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)))
		},
		"unwrapped": func() (hsm.Object, error) { return e.UnwrapKey(ctx, cred, wrap, base, wrapped, sessionKey) },
		"derived": func() (hsm.Object, error) {
			d, err := e.DeriveKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_KEY_DERIVATION}, base, nil, sessionKey)
			return d.Key, err
		},
		"copied": func() (hsm.Object, error) { return e.Copy(ctx, cred, base, nil) },
	}
	ends := map[string]func(hsm.Object) error{
		"destroyed": func(o hsm.Object) error { return e.Destroy(ctx, cred, o) },
		"discarded": func(o hsm.Object) error { e.Discard(o); return nil },
		"changed": func(o hsm.Object) error { // its version goes, its value is another version's now
			return e.SetAttributes(ctx, cred, o, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "another")})
		},
	}
	for made, make := range makers {
		for gone, end := range ends {
			o, err := make()
			require.NoError(t, err, made)
			twin, err := e.Copy(ctx, cred, o, nil)
			require.NoError(t, err, made)
			was, old := shown(t, e, cred, o), inMemory(o)
			require.Len(t, was, 32)
			require.Equal(t, was, bytes.Clone(old), made)

			held, hold, ok := o.(*entry).acquire(spread.Nowhere) // as an operation does
			require.True(t, ok)
			require.NoError(t, end(o), "%s, %s", made, gone)
			require.Equal(t, was, bytes.Clone(old), "wiped under an operation")
			held.letGo(hold)
			require.Zero(t, [32]byte(old), "%s, %s", made, gone)
			require.Equal(t, was, shown(t, e, cred, twin), "a copy lost its value with the key")
			if gone == "changed" {
				require.Equal(t, was, shown(t, e, cred, o))
			}
		}
	}
	require.Equal(t, value, shown(t, e, cred, base))
	require.Equal(t, bytes.Repeat([]byte{7}, 32), value, "the caller's")
}

// inMemory is the value of a key where it is.
func inMemory(o hsm.Object) []byte { return o.(*entry).current.Load().secret.Bytes(pkcs11.CKA_VALUE) }

func shown(t *testing.T, e *Engine, cred hsm.Credential, o hsm.Object) []byte {
	t.Helper()
	values, err := e.Attributes(context.Background(), cred, o, []pkcs11.AttributeType{pkcs11.CKA_VALUE})
	require.NoError(t, err)
	b, _ := values[0].Value.([]byte)
	return b
}

// form is a computing form that knows whether it has been wiped.
type form struct{ wiped bool }

func (f *form) Wipe() { f.wiped = true }

// TestOneFormOfAKeyStays: of two that are made at the same time the second is wiped at once, the first with the key.
func TestOneFormOfAKeyStays(t *testing.T) {
	first, second := new(form), new(form)
	v := newVersion(nil, nil, nil)
	got, err := v.Expanded(mech.SlotMain, func() (any, error) {
		other, err := v.Expanded(mech.SlotMain, func() (any, error) { return first, nil })
		require.Same(t, first, other)
		return second, err
	})
	require.NoError(t, err)
	require.Same(t, first, got)
	require.True(t, second.wiped)
	require.False(t, first.wiped)
	v.release()
	require.True(t, first.wiped)
}
