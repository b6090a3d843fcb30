package engine_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var cmac = pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}

// signs begins a CMAC and gives it up.
func signs(e *engine.Engine, cred hsm.Credential, key hsm.Object) error {
	return begins(e, cred, hsm.OpSign, cmac, key)
}

func begins(e *engine.Engine, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) error {
	op, err := e.Begin(ctx, cred, kind, m, key)
	if err == nil {
		op.Close()
	}
	return err
}

// TestAGrantIsOfTheKeyAsItIs: whatever takes a key's use away is seen by the next operation, although the last one was
// granted.
func TestAGrantIsOfTheKeyAsItIs(t *testing.T) {
	granted := func(t *testing.T, more ...pkcs11.Attribute) (*engine.Engine, hsm.Credential, hsm.Object) {
		e, _, cred := ready(t)
		key := aesKey(t, e, cred, more...)
		for range 2 {
			require.NoError(t, signs(e, cred, key))
		}
		return e, cred, key
	}
	t.Run("an attribute is changed", func(t *testing.T) {
		e, cred, key := granted(t)
		for _, may := range []bool{false, true, false} {
			require.NoError(t, e.SetAttributes(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, may)}))
			err := signs(e, cred, key)
			if may {
				require.NoError(t, err)
			} else {
				rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err)
			}
		}
	})
	t.Run("it is destroyed", func(t *testing.T) {
		e, cred, key := granted(t)
		require.NoError(t, e.Destroy(ctx, cred, key))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, signs(e, cred, key))
	})
	t.Run("the user is logged out", func(t *testing.T) {
		e, cred, key := granted(t)
		require.NoError(t, e.Logout(ctx, cred))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, signs(e, cred, key))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, signs(e, nil, key))
	})
	t.Run("another process changes it, and destroys it", func(t *testing.T) {
		e, path, cred := ready(t)
		key := aesKey(t, e, cred)
		other := open(t, path)
		otherCred := login(t, other)
		found, err := other.Find(ctx, otherCred, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, key.ID())})
		require.NoError(t, err)
		require.Len(t, found, 1)
		for _, may := range []bool{true, false, true} {
			require.NoError(t, other.SetAttributes(ctx, otherCred, found[0], pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, may)}))
			err := signs(e, cred, key)
			if may {
				require.NoError(t, err)
			} else {
				rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, err)
			}
		}
		require.NoError(t, other.Destroy(ctx, otherCred, found[0]))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, signs(e, cred, key))
	})
	t.Run("another mechanism, and another use", func(t *testing.T) {
		e, cred, key := granted(t, pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_CMAC}),
			pkcs11.Attr(pkcs11.CKA_VERIFY, false))
		rv(t, pkcs11.CKR_MECHANISM_INVALID, begins(e, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_MAC}, key))
		rv(t, pkcs11.CKR_MECHANISM_INVALID, begins(e, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}, key))
		rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, begins(e, cred, hsm.OpVerify, cmac, key))
		rv(t, pkcs11.CKR_MECHANISM_INVALID, begins(e, cred, hsm.OpDigest, cmac, nil))
		require.NoError(t, signs(e, cred, key))
	})
	t.Run("a key of the same engine with other rights", func(t *testing.T) {
		e, cred, key := granted(t)
		rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, signs(e, cred, aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_SIGN, false))))
		require.NoError(t, signs(e, cred, key))
	})
}

// TestAGrantEndsWithTheKeysDays where the policy minds them.
func TestAGrantEndsWithTheKeysDays(t *testing.T) {
	registry, err := all.Registry()
	require.NoError(t, err)
	now := time.Date(2030, 5, 31, 23, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "token.db")
	e, err := engine.New(engine.Options{
		OpenStore:  func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) },
		Mechanisms: registry, KDF: cheap, Policy: policy.Policy{Dates: true}, Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	cred := login(t, e)
	key := aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_END_DATE, []byte("20300531")))
	require.NoError(t, signs(e, cred, key))
	require.NoError(t, signs(e, cred, key))
	now = now.Add(2 * time.Hour)
	rv(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, signs(e, cred, key))
}

// TestOperationsInUsedMemory: only one that has been closed gives its memory, and nothing of it shows in the next.
func TestOperationsInUsedMemory(t *testing.T) {
	e, _, cred := ready(t)
	key := aesKey(t, e, cred)
	in := func(used hsm.Operation, kind hsm.OpKind, m pkcs11.Mechanism) hsm.Operation {
		k := key
		if kind == hsm.OpDigest {
			k = nil
		}
		op, err := e.BeginIn(ctx, used, cred, kind, m, k)
		require.NoError(t, err)
		return op
	}
	finish := func(op hsm.Operation) string {
		out, err := op.Finish(ctx, nil, []byte("sixteen bytes..."))
		require.NoError(t, err)
		return string(out)
	}
	sha := pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}
	cbc := pkcs11.Mechanism{Type: pkcs11.CKM_AES_CBC, Params: pkcs11.IV(make([]byte, 16))}
	ways := []struct {
		kind hsm.OpKind
		m    pkcs11.Mechanism
	}{{hsm.OpSign, cmac}, {hsm.OpDigest, sha}, {hsm.OpEncrypt, cbc}}
	want := map[hsm.OpKind]string{}
	for _, w := range ways {
		op := in(nil, w.kind, w.m)
		want[w.kind] = finish(op)
		op.Close()
	}
	for _, before := range ways {
		for _, w := range ways {
			running := in(nil, before.kind, before.m)
			op := in(running, w.kind, w.m)
			require.NotSame(t, running, op, "the memory of an operation that runs")
			require.Equal(t, want[before.kind], finish(running))
			running.Close()
			running.Close()
			require.Equal(t, want[w.kind], finish(op))
			op.Close()

			next := in(running, w.kind, w.m)
			if before.kind == w.kind {
				require.Same(t, running, next)
			}
			require.Equal(t, want[w.kind], finish(next))
			next.Close()
		}
	}
	used := in(nil, hsm.OpSign, cmac)
	used.Close()
	_, err := e.BeginIn(ctx, used, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC, Params: pkcs11.IV("?")}, key)
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
	require.Equal(t, want[hsm.OpSign], finish(in(used, hsm.OpSign, cmac)), "memory that a refused operation did not take")
}

// TestAnOperationInUsedMemoryAsksForThePINAnew, and does not go on asking where its key does not.
func TestAnOperationInUsedMemoryAsksForThePINAnew(t *testing.T) {
	e, _, cred := ready(t)
	_, always, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true), pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	require.NoError(t, err)
	key := aesKey(t, e, cred)
	var used hsm.Operation
	for range 3 {
		op, err := e.BeginIn(ctx, used, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, always)
		require.NoError(t, err)
		require.True(t, op.MustAuthenticate())
		_, err = op.Finish(ctx, nil, []byte("data"))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		require.NoError(t, op.Authenticate(ctx, userPIN))
		_, err = op.Finish(ctx, nil, []byte("data"))
		require.NoError(t, err)
		op.Close()

		refused, err := e.BeginIn(ctx, op, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, always)
		require.NoError(t, err)
		refused.Close() // without a PIN
		used, err = e.BeginIn(ctx, refused, cred, hsm.OpSign, cmac, key)
		require.NoError(t, err)
		require.False(t, used.MustAuthenticate())
		_, err = used.Finish(ctx, nil, []byte("data"))
		require.NoError(t, err)
		used.Close()
	}
}

// TestGrantsAtOnce: threads that use a key in several ways while its rights change.
func TestGrantsAtOnce(t *testing.T) {
	e, _, cred := ready(t)
	key := aesKey(t, e, cred)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			m := []pkcs11.Mechanism{cmac, {Type: pkcs11.CKM_AES_MAC}}[i%2]
			for range 200 {
				if err := begins(e, cred, hsm.OpSign, m, key); err != nil && pkcs11.RVOf(err) != pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 10 {
		require.NoError(t, e.SetAttributes(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, i%2 == 1)}))
	}
	all.Wait()
	require.NoError(t, signs(e, cred, key))
}
