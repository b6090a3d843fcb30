package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// bent is a store whose answers a test can bend. Engines that share one are like processes that share a file.
type bent struct {
	store.Store
	since, afterCommit func() error // nil: as the store itself
	beforeCommit       func(ops []store.Op) error
	deaf               atomic.Bool // Changed says that nothing has
	heard              uint64
}

func (s *bent) Since(ctx context.Context, prefix string, revision int64) ([]store.Event, int64, error) {
	if s.since != nil {
		if err := s.since(); err != nil {
			return nil, 0, err
		}
	}
	return s.Store.Since(ctx, prefix, revision)
}

func (s *bent) Commit(ctx context.Context, cmps []store.Compare, ops []store.Op) (int64, error) {
	if s.beforeCommit != nil {
		if err := s.beforeCommit(ops); err != nil {
			return 0, err
		}
	}
	revision, err := s.Store.Commit(ctx, cmps, ops)
	if err == nil && s.afterCommit != nil {
		err = s.afterCommit()
	}
	return revision, err
}

func (s *bent) Changed() uint64 {
	if s.deaf.Load() {
		return s.heard
	}
	return s.Store.Changed()
}

func (s *bent) Close() error { return nil }

// on returns an engine over a store.
func on(t *testing.T, s store.Store) *engine.Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	e, err := engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry,
		KDF:        cheap,
		Log:        func(err error) { t.Log(err) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// readyOn is ready over a store.
func readyOn(t *testing.T, s store.Store) (*engine.Engine, hsm.Credential) {
	t.Helper()
	e := on(t, s)
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	require.NoError(t, e.Logout(ctx, so))
	return e, login(t, e)
}

var errBroken = fmt.Errorf("%w: bent", store.ErrUnavailable)

// TestNothingVanishesWhileTheTableIsReadAnew: who uses or looks for an object meanwhile finds it.
func TestNothingVanishesWhileTheTableIsReadAnew(t *testing.T) {
	backing := mem.New()
	near := &bent{Store: backing}
	near.since = func() error { return store.ErrCompacted } // each look is a reload
	e, cred := readyOn(t, near)
	const n = 50
	keys := make([]hsm.Object, n)
	for i := range keys {
		keys[i] = aesKey(t, e, cred)
	}
	other := on(t, &bent{Store: backing})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 100 {
			o, err := other.Create(ctx, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, true)})
			if err != nil {
				t.Error(err)
				return
			}
			if err := other.Destroy(ctx, nil, o); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := e.Size(ctx, cred, keys[i%n]); err != nil {
					t.Error(err)
					return
				}
				found, err := e.Find(ctx, cred, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)})
				if err != nil || len(found) != n {
					t.Errorf("%d of %d keys found, %v", len(found), n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestADestroyedKeyIsGoneWhileTheTableIsReadAnew: whoever has been told that it is destroyed cannot use it any more, also
// where another caller has read the change and has not come to the end of the table yet.
func TestADestroyedKeyIsGoneWhileTheTableIsReadAnew(t *testing.T) {
	near := &bent{Store: mem.New()}
	e, cred := readyOn(t, near)
	keys := make([]hsm.Object, 300)
	for i := range keys {
		keys[i] = aesKey(t, e, cred)
	}
	near.since = func() error { return store.ErrCompacted } // each look is a reload
	var others sync.WaitGroup
	defer others.Wait()
	near.afterCommit = func() error {
		others.Go(func() { _, _ = e.Find(ctx, cred, nil) })
		time.Sleep(rand.N(2 * time.Millisecond)) // the other is anywhere in it
		return nil
	}
	for _, key := range keys {
		require.NoError(t, e.Destroy(ctx, cred, key))
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, signs(e, cred, key))
	}
}

// TestAReloadForgetsWhatIsGone: also what the store cannot tell about any more.
func TestAReloadForgetsWhatIsGone(t *testing.T) {
	backing := mem.New()
	near := &bent{Store: backing}
	e, cred := readyOn(t, near)
	stays, goes := aesKey(t, e, cred), aesKey(t, e, cred)
	other := on(t, &bent{Store: backing})
	otherCred := login(t, other)
	found, err := other.Find(ctx, otherCred, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, goes.ID())})
	require.NoError(t, err)
	require.Len(t, found, 1)
	near.since = func() error { return store.ErrCompacted }
	require.NoError(t, other.Destroy(ctx, otherCred, found[0]))
	_, err = e.Size(ctx, cred, goes)
	rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	_, err = e.Size(ctx, cred, stays)
	require.NoError(t, err)
	found, err = e.Find(ctx, cred, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

// TestWhatOthersHaveReadIsNotReadAgain: of many whose commits come together, one reads what they have changed.
func TestWhatOthersHaveReadIsNotReadAgain(t *testing.T) {
	near := &bent{Store: mem.New()}
	e, cred := readyOn(t, near)
	reads := 0
	near.since = func() error { reads++; return nil }
	near.afterCommit = func() error {
		_, err := e.Find(ctx, cred, nil) // another caller is faster
		require.Equal(t, 1, reads)
		return err
	}
	key := aesKey(t, e, cred)
	require.Equal(t, 1, reads)
	_, err := e.Size(ctx, cred, key)
	require.NoError(t, err)
}

// TestConcurrentSetsOfASessionObject: one that was answered with success is not undone by another, and what is
// destroyed stays so.
func TestConcurrentSetsOfASessionObject(t *testing.T) {
	e, _, cred := ready(t)
	for range 200 {
		o := aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true))
		require.NoError(t, e.Destroy(ctx, cred, o))
		o, err := e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for _, a := range []pkcs11.Attribute{
			pkcs11.Attr(pkcs11.CKA_SENSITIVE, true), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.AttrString(pkcs11.CKA_LABEL, "x"), pkcs11.Attr(pkcs11.CKA_ID, []byte{1}),
		} {
			wg.Go(func() {
				if err := e.SetAttributes(ctx, cred, o, pkcs11.Template{a}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		values, err := e.Attributes(ctx, cred, o, []pkcs11.AttributeType{pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_LABEL, pkcs11.CKA_ID})
		require.NoError(t, err)
		require.Equal(t, []hsm.Value{{Value: true}, {Value: false}, {Value: []byte("x")}, {Value: []byte{1}}}, values)

		wg.Go(func() { _ = e.SetAttributes(ctx, cred, o, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "y")}) })
		wg.Go(func() { e.Discard(o) })
		wg.Wait()
		_, err = e.Size(ctx, cred, o)
		rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	}
}

// TestWhatIsDurableIsNoFailure: a store that cannot be read after it was written has been written.
func TestWhatIsDurableIsNoFailure(t *testing.T) {
	s := &bent{Store: mem.New()}
	e, cred := readyOn(t, s)
	after := func(f func() error) {
		t.Helper()
		broken := false
		s.afterCommit = func() error { broken = true; return nil }
		s.since = func() error {
			if broken {
				return errBroken
			}
			return nil
		}
		require.NoError(t, f())
		s.afterCommit, s.since = nil, nil
	}
	var key hsm.Object
	after(func() (err error) {
		key, err = e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_TOKEN, true)})
		return err
	})
	_, err := e.Size(ctx, cred, key)
	require.NoError(t, err, "the key can be used as soon as the store can be read")
	after(func() error {
		return e.SetAttributes(ctx, cred, key, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "y")})
	})
	after(func() error { return e.Destroy(ctx, cred, key) })
	_, err = e.Size(ctx, cred, key)
	rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

// TestOwnWritesAreSeen: even if the store does not say that anything has changed.
func TestOwnWritesAreSeen(t *testing.T) {
	backing := mem.New()
	s := &bent{Store: backing}
	e, cred := readyOn(t, s)
	other := on(t, &bent{Store: backing})
	key := aesKey(t, e, cred)
	otherCred := login(t, other)
	found, err := other.Find(ctx, otherCred, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
	s.heard = s.Store.Changed()
	s.deaf.Store(true)
	second := aesKey(t, e, cred)
	_, err = e.Size(ctx, cred, second)
	require.NoError(t, err)

	// A conflict with a change that has not been told is no reason to try for ever.
	require.NoError(t, other.SetAttributes(ctx, otherCred, found[0], pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "theirs")}))
	tries := 0
	s.beforeCommit = func([]store.Op) error {
		if tries++; tries > 10 {
			return errBroken
		}
		return nil
	}
	require.NoError(t, e.SetAttributes(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, []byte{5})}))
	values, err := e.Attributes(ctx, cred, key, []pkcs11.AttributeType{pkcs11.CKA_LABEL, pkcs11.CKA_ID})
	require.NoError(t, err)
	require.Equal(t, []hsm.Value{{Value: []byte("theirs")}, {Value: []byte{5}}}, values)
}

// TestAConflictIsCalledWhatItIs: a new key meets one where the token has been replaced, and where our copy of the store is
// behind. Only in the first case does it cost the login.
func TestAConflictIsCalledWhatItIs(t *testing.T) {
	s := &bent{Store: mem.New()}
	e, cred := readyOn(t, s)
	key := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true), pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 16))}

	s.beforeCommit = func([]store.Op) error { return store.ErrConflict }
	_, err := e.Create(ctx, cred, key)
	rv(t, pkcs11.CKR_DEVICE_ERROR, err)
	require.ErrorIs(t, err, store.ErrUnavailable, "it is sent again")
	require.NotContains(t, err.Error(), "replaced")
	s.beforeCommit = nil
	_, err = e.Create(ctx, cred, key)
	require.NoError(t, err)

	other := on(t, &bent{Store: s.Store})
	s.beforeCommit = func([]store.Op) error {
		s.beforeCommit = nil
		return other.InitToken(ctx, soPIN, "another")
	}
	_, err = e.Create(ctx, cred, key)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	require.Contains(t, err.Error(), "the token was replaced")
}

// TestErasingIsDoneOnceTheTokenIsReplaced: what is left of the old objects is nobody's, and no reason to say that the
// token is the old one.
func TestErasingIsDoneOnceTheTokenIsReplaced(t *testing.T) {
	s := &bent{Store: mem.New()}
	e, cred := readyOn(t, s)
	aesKey(t, e, cred)
	s.beforeCommit = func(ops []store.Op) error {
		if ops[0].Delete {
			return store.ErrFull
		}
		return nil
	}
	require.NoError(t, e.InitToken(ctx, soPIN, "new"))
	info, err := e.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, "new", info.Label)
	found, err := e.Find(ctx, nil, nil)
	require.NoError(t, err)
	require.Empty(t, found)
}

// TestAClosedEngineStaysClosed: a call that comes late does not open the store again.
func TestAClosedEngineStaysClosed(t *testing.T) {
	e, _, cred := ready(t)
	key := aesKey(t, e, cred)
	require.NoError(t, e.Close())
	_, err := e.Size(ctx, cred, key)
	require.Error(t, err)
	_, err = e.Find(ctx, nil, nil)
	rv(t, pkcs11.CKR_DEVICE_ERROR, err)
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_DEVICE_ERROR, err)
	rv(t, pkcs11.CKR_DEVICE_ERROR, e.InitToken(ctx, soPIN, "x"))
	require.NoError(t, e.Close())
}

// TestManyGuessersGainNothing: each engine may be one guess ahead of the count, no more.
func TestManyGuessersGainNothing(t *testing.T) {
	_, path, _ := ready(t)
	const guessers = 4
	var guesses atomic.Int32
	var wg sync.WaitGroup
	for range guessers {
		e := open(t, path)
		wg.Go(func() {
			for {
				_, err := e.Login(ctx, pkcs11.CKU_USER, "", []byte("a guess"))
				switch pkcs11.RVOf(err) {
				case pkcs11.CKR_PIN_INCORRECT:
					guesses.Add(1)
				case pkcs11.CKR_PIN_LOCKED:
					return
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, guesses.Load(), int32(auth.MaxFailures+guessers-1))
	_, err := open(t, path).Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_PIN_LOCKED, err)
}

// TestAllAtOnce: engines that share a store, and their users, do everything at the same time. What counts is that it
// ends, that the race detector is silent, and that nobody hears of a fault of ours.
func TestAllAtOnce(t *testing.T) {
	backing := mem.New()
	first, _ := readyOn(t, &bent{Store: backing})
	engines := []*engine.Engine{first, on(t, &bent{Store: backing})}
	var wg sync.WaitGroup
	check := func(err error) {
		if err != nil && errors.Is(err, pkcs11.CKR_GENERAL_ERROR) {
			t.Error(err)
		}
	}
	gcm := pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}}
	for i := range 8 {
		e := engines[i%2]
		wg.Go(func() {
			for range 30 {
				cred, err := e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
				check(err)
				if err != nil {
					continue
				}
				o, err := e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, pkcs11.Template{
					pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_TOKEN, i%3 != 0)})
				check(err)
				if err == nil {
					op, err := e.Begin(ctx, cred, hsm.OpEncrypt, gcm, o)
					check(err)
					check(e.SetAttributes(ctx, cred, o, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "x")}))
					_, err2 := e.Find(ctx, cred, nil)
					check(err2)
					check(e.Destroy(ctx, cred, o))
					if op != nil && err == nil {
						_, err = op.Finish(ctx, nil, []byte("x"))
						check(err)
						op.Close()
					}
				}
				check(e.Logout(ctx, cred))
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			fresh, err := engines[1].SetPIN(ctx, pkcs11.CKU_USER, "", userPIN, userPIN)
			check(err)
			if err == nil {
				check(engines[1].Logout(ctx, fresh))
			}
		}
	})
	wg.Wait()
}

// TestNobodyIsLeftOfAnErasedToken: who is given a PIN while the token is being erased was a user of the old one, and no
// PIN opens his record any more. The new token has no such user.
func TestNobodyIsLeftOfAnErasedToken(t *testing.T) {
	backing := mem.New()
	near := &bent{Store: backing}
	e := on(t, near)
	require.NoError(t, e.InitToken(ctx, soPIN, "old"))
	other := on(t, &bent{Store: backing})
	officer, err := other.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	late := sync.OnceFunc(func() {
		require.NoError(t, other.InitPIN(ctx, officer, userPIN))
		require.NoError(t, other.CreateUser(ctx, officer, pkcs11.CKU_USER, "late", userPIN))
	})
	near.beforeCommit = func(ops []store.Op) error {
		if ops[0].Key == "token" {
			late()
		}
		return nil
	}
	require.NoError(t, e.InitToken(ctx, soPIN, "new"))

	for _, e := range []*engine.Engine{e, other, on(t, &bent{Store: backing})} {
		info, err := e.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, "new", info.Label)
		require.Zero(t, info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED)
		_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
		rv(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, err)
		officer, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
		require.NoError(t, err)
		list, err := e.ListUsers(ctx, officer)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, e.Logout(ctx, officer))
	}
	officer, err = e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, officer, userPIN))
	require.NoError(t, e.CreateUser(ctx, officer, pkcs11.CKU_USER, "late", userPIN))
	for _, name := range []string{"", "late"} {
		_, err = e.Login(ctx, pkcs11.CKU_USER, name, userPIN)
		require.NoError(t, err)
	}
}
