package engine

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
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
	old := inMemory(base)
	for _, m := range []pkcs11.Mechanism{{Type: pkcs11.CKM_AES_CMAC}, {Type: pkcs11.CKM_ECDSA}} { // not for that, and not of that type
		_, err = e.Begin(ctx, cred, hsm.OpSign, m, base)
		require.Error(t, err)
	}
	_, err = e.WrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS}, base, base)
	require.Error(t, err)
	_, err = e.Size(ctx, cred, base)
	require.NoError(t, err)
	require.NoError(t, e.Destroy(ctx, cred, base))
	require.Zero(t, [32]byte(old), "none of those who used it, or were refused it, holds it still")
}

// TestATokensKeyIsNotLeftInTheClear: when it has been sealed, what was sealed is wiped.
func TestATokensKeyIsNotLeftInTheClear(t *testing.T) {
	e, cred := withPINs(t, mem.New())
	r, err := e.caller(cred, newKeyRequest)
	require.NoError(t, err)
	f := newFresh(draftOf(t, r, true), pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, []byte("0123456789abcdef"))})
	value := f.secret.Bytes(pkcs11.CKA_VALUE)
	_, err = e.keep(context.Background(), nil, f)
	require.NoError(t, err)
	require.Zero(t, [16]byte(value))
}

// TestMaterialOfWhatIsRefusedIsWiped: of a key that the policy does not want, and of all that a derivation has made if one of its
// keys cannot be.
func TestMaterialOfWhatIsRefusedIsWiped(t *testing.T) {
	e, cred := withPINs(t, mem.New())
	draft := func() *object.Draft {
		d, err := e.buildFor(cred, newDerivation(privateKey(t, e, cred)), nil)
		require.NoError(t, err)
		return d
	}
	bytesOf := func(n int) []byte { return bytes.Repeat([]byte{7}, n) }
	material := func(value []byte) pkcs11.Template { return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)} }
	for i := range 3 { // the one that cannot be: of a form that no attribute has
		values, output := [][]byte{bytesOf(16), bytesOf(16), bytesOf(16)}, bytesOf(8)
		drafts, derived := []*object.Draft{draft(), draft(), draft()}, &mech.Derived{Outputs: [][]byte{output}}
		for j, v := range values {
			m := material(v)
			if i == j {
				m = append(m, pkcs11.Attribute{Type: pkcs11.CKA_CHECK_VALUE, Value: true}, pkcs11.Attr(pkcs11.CKA_SENSITIVE, false))
			}
			derived.Keys = append(derived.Keys, m)
		}
		_, err := e.finishAll(nil, drafts, derived)
		require.Equal(t, pkcs11.CKR_GENERAL_ERROR, pkcs11.RVOf(err), "%v", err)
		for j, v := range values {
			require.Zero(t, [16]byte(v), "key %d, when key %d cannot be", j, i)
		}
		require.Zero(t, [8]byte(output))
	}

	e.opts.Policy.MinBits = map[pkcs11.KeyType]uint{pkcs11.CKK_GENERIC_SECRET: 256}
	value := bytesOf(16)
	_, err := e.finish(nil, draft(), material(value), checkMaterial)
	require.Equal(t, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.RVOf(err), "%v", err)
	require.Zero(t, [16]byte(value))
}

func newDerivation(base hsm.Object) object.Request {
	return object.Request{Op: object.OpDerive, Base: base.(*entry).current.Load().head}
}

// form is a computing form that knows whether it has been wiped.
type form struct{ wiped bool }

func (f *form) Wipe() { f.wiped = true }

// TestComputedFormsEndWithTheirKey, and are never another key's.
func TestComputedFormsEndWithTheirKey(t *testing.T) {
	head := draftOf(t, object.Request{Op: object.OpCreate, User: true}, true)
	v, other := newVersion(head, []byte("sealed"), nil), newVersion(head, []byte("another"), nil)
	made := &form{}
	_, err := v.Expanded(0, func() (any, error) { return made, nil })
	require.NoError(t, err)

	other.share(v)
	require.NotSame(t, v.material, other.material, "of another secret part")
	next := newVersion(head, []byte("sealed"), nil)
	next.share(v)
	require.Same(t, v.material, next.material)
	v.release()
	require.False(t, made.wiped, "the next version computes with it")
	next.release()
	require.True(t, made.wiped)
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
