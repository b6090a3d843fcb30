package engine_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func openUnder(t *testing.T, path string, p policy.Policy) *engine.Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	e, err := engine.New(engine.Options{
		OpenStore:  func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) },
		Mechanisms: registry, KDF: cheap, Policy: p,
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// certAndKey are a certificate and its private key as token objects without CKA_ID.
func certAndKey(t *testing.T) (cert, key pkcs11.Template) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	require.NoError(t, err)
	value, err := k.Bytes()
	require.NoError(t, err)
	params, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	require.NoError(t, err)
	token := pkcs11.Attr(pkcs11.CKA_TOKEN, true)
	return pkcs11.Template{token, pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.AttrUlong(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
			pkcs11.Attr(pkcs11.CKA_VALUE, der)},
		pkcs11.Template{token, pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
			pkcs11.Attr(pkcs11.CKA_EC_PARAMS, params), pkcs11.Attr(pkcs11.CKA_VALUE, value)}
}

func withID(t pkcs11.Template, id byte) pkcs11.Template {
	return append(t.Clone(), pkcs11.Attr(pkcs11.CKA_ID, []byte{id}))
}

func claimed(t *testing.T, e *engine.Engine) bool {
	t.Helper()
	found, err := e.Find(ctx, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE),
		pkcs11.AttrUlong(pkcs11.CKA_PROFILE_ID, pkcs11.CKP_PUBLIC_CERTIFICATES_TOKEN)})
	require.NoError(t, err)
	return len(found) == 1
}

var public = policy.Policy{PublicCertificates: true}

// TestTwoProcessesBreakNoPromiseTogether: one takes in a certificate and the other its key under another id, at the same
// time. Each alone is well; under the policy one of them is refused, and without it the profile of who has it ends.
func TestTwoProcessesBreakNoPromiseTogether(t *testing.T) {
	for _, kept := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "token.db")
		var engines [2]*engine.Engine
		var logins [2]hsm.Credential
		for i := range engines {
			engines[i] = openUnder(t, path, policy.Policy{PublicCertificates: kept})
			if i == 0 {
				require.NoError(t, engines[0].InitToken(ctx, soPIN, "test"))
				so, err := engines[0].Login(ctx, pkcs11.CKU_SO, "", soPIN)
				require.NoError(t, err)
				require.NoError(t, engines[0].InitPIN(ctx, so, userPIN))
			}
			logins[i] = login(t, engines[i])
		}
		for range 20 {
			cert, key := certAndKey(t)
			var errs [2]error
			var both sync.WaitGroup
			for i, template := range []pkcs11.Template{withID(cert, 1), withID(key, 2)} {
				both.Go(func() { _, errs[i] = engines[i].Create(ctx, logins[i], template) })
			}
			both.Wait()
			if kept {
				require.NotEqual(t, errs[0] == nil, errs[1] == nil, "%v, %v", errs[0], errs[1])
			} else {
				require.NoError(t, errs[0])
				require.NoError(t, errs[1])
			}
			require.Equal(t, kept, claimed(t, engines[0]))
			require.Equal(t, kept, claimed(t, openUnder(t, path, public)))
		}
	}
}

// TestAnOlderTokenIsLookedAtWhenItsUserLogsIn: one without the record of its certificates.
func TestAnOlderTokenIsLookedAtWhenItsUserLogsIn(t *testing.T) {
	_, path, _ := ready(t)
	s, err := sqlite.Open(path, sqlite.Options{})
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "certificates", Delete: true}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	e := openUnder(t, path, public)
	require.False(t, claimed(t, e))
	login(t, e)
	require.True(t, claimed(t, e))
	require.True(t, claimed(t, openUnder(t, path, public)), "for who has not logged in")
	require.False(t, claimed(t, open(t, path)), "without the policy")
}

// TestWhoLogsInAtTheSameTimeIsNoFault: many logins look at the certificates together, and one of them writes down what all
// have found. The log hears of a store that fails, not of the others.
func TestWhoLogsInAtTheSameTimeIsNoFault(t *testing.T) {
	s := &bent{Store: mem.New()}
	readyOn(t, s)
	_, err := s.Store.Commit(ctx, nil, []store.Op{{Key: "certificates", Delete: true}})
	require.NoError(t, err)
	registry, err := all.Registry()
	require.NoError(t, err)
	var told []error
	e, err := engine.New(engine.Options{OpenStore: func(bool) (store.Store, error) { return s, nil }, Mechanisms: registry, KDF: cheap,
		Policy: public, Log: func(err error) { told = append(told, err) }})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	answers := func(answer error) {
		s.beforeCommit = func(ops []store.Op) error {
			if len(ops) > 0 && ops[0].Key == "certificates" {
				return answer
			}
			return nil
		}
	}
	answers(store.ErrConflict)
	login(t, e)
	require.Empty(t, told)
	answers(errBroken)
	login(t, e)
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], errBroken)
	answers(nil)
	login(t, e)
	require.True(t, claimed(t, e))
}

// TestADamagedRecordOfCertificatesClaimsNothing, and is written anew.
func TestADamagedRecordOfCertificatesClaimsNothing(t *testing.T) {
	_, path, _ := ready(t)
	s, err := sqlite.Open(path, sqlite.Options{})
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "certificates", Value: []byte("damaged")}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	e := openUnder(t, path, public)
	require.False(t, claimed(t, e))
	login(t, e)
	require.True(t, claimed(t, e))
}

// TestWhoHasNotThePolicyEndsTheProfile, and a login of who has it finds when all is well again.
func TestWhoHasNotThePolicyEndsTheProfile(t *testing.T) {
	_, path, _ := ready(t)
	free, strict := open(t, path), openUnder(t, path, public)
	user := login(t, free)
	login(t, strict)
	require.True(t, claimed(t, strict))
	again := func() bool {
		cred := login(t, strict)
		require.NoError(t, strict.Logout(ctx, cred))
		return claimed(t, strict)
	}
	cert, key := certAndKey(t)
	mended := func(o hsm.Object) {
		require.False(t, claimed(t, strict))
		require.False(t, again())
		require.NoError(t, free.Destroy(ctx, user, o))
		require.True(t, again())
	}
	made, err := free.Create(ctx, user, append(cert.Clone(), pkcs11.Attr(pkcs11.CKA_PRIVATE, true)))
	require.NoError(t, err)
	mended(made)

	pair, err := free.Create(ctx, user, withID(cert, 1))
	require.NoError(t, err)
	require.False(t, claimed(t, strict), "nobody has looked")
	require.True(t, again())
	made, err = free.Create(ctx, user, withID(key, 2))
	require.NoError(t, err)
	mended(made)
	made, err = free.Create(ctx, user, withID(key, 1))
	require.NoError(t, err)
	mended(made) // the public key is not there
	require.NoError(t, free.SetAttributes(ctx, user, pair, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, []byte{3})}))
	require.False(t, claimed(t, strict))
	require.True(t, again())
}

// slowList is a store whose list of objects takes as long as a test wants.
type slowList struct {
	store.Store
	during func()
}

func (s *slowList) List(ctx context.Context, prefix string) ([]store.Record, int64, error) {
	if s.during != nil && prefix == "object/" {
		s.during()
	}
	return s.Store.List(ctx, prefix)
}

// TestACertificateComesWhileItsUserLogsIn: at a time when the private objects are unlocked and not yet read. Its private key,
// which has another id, is seen all the same.
func TestACertificateComesWhileItsUserLogsIn(t *testing.T) {
	registry, err := all.Registry()
	require.NoError(t, err)
	s := &slowList{Store: mem.New()}
	e, err := engine.New(engine.Options{OpenStore: func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry, KDF: cheap, Policy: policy.Policy{PublicCertificates: true}})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	require.NoError(t, e.Logout(ctx, so))
	cert, key := certAndKey(t)
	user := login(t, e)
	_, err = e.Create(ctx, user, withID(key, 2))
	require.NoError(t, err)
	require.NoError(t, e.Logout(ctx, user))
	require.True(t, claimed(t, e))

	done := make(chan error, 1)
	s.during = func() {
		s.during = nil
		go func() {
			_, err := e.Create(ctx, nil, withID(cert, 1))
			done <- err
		}()
		time.Sleep(50 * time.Millisecond)
	}
	login(t, e)
	err = <-done
	require.Equal(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.RVOf(err), "%v", err)
	require.True(t, claimed(t, e))
}

// TestTheKeyByWhichACertificateIsFoundGoes: a private key that is no private object stands for the public one.
func TestTheKeyByWhichACertificateIsFoundGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	e := openUnder(t, path, policy.Policy{PublicCertificates: true})
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	user := login(t, e)
	cert, key := certAndKey(t)
	_, err = e.Create(ctx, user, withID(cert, 1))
	require.NoError(t, err)
	open, err := e.Create(ctx, user, append(withID(key, 1), pkcs11.Attr(pkcs11.CKA_PRIVATE, false)))
	require.NoError(t, err)
	_, err = e.Create(ctx, user, append(withID(key, 1), pkcs11.Attr(pkcs11.CKA_PRIVATE, true)))
	require.NoError(t, err)
	require.True(t, claimed(t, e))
	err = e.Destroy(ctx, user, open)
	require.Equal(t, pkcs11.CKR_ACTION_PROHIBITED, pkcs11.RVOf(err), "%v", err)
	require.True(t, claimed(t, e))
}

// TestTheProfileIsGoneForWhoHasFoundIt: when the token's promise has ended, nobody reads it from a handle of before.
func TestTheProfileIsGoneForWhoHasFoundIt(t *testing.T) {
	_, path, _ := ready(t)
	e := openUnder(t, path, public)
	login(t, e)
	found, err := e.Find(ctx, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PROFILE),
		pkcs11.AttrUlong(pkcs11.CKA_PROFILE_ID, pkcs11.CKP_PUBLIC_CERTIFICATES_TOKEN)})
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = e.Size(ctx, nil, found[0])
	require.NoError(t, err)

	other := open(t, path) // without the policy
	cred := login(t, other)
	cert, key := certAndKey(t)
	for i, template := range []pkcs11.Template{cert, key} {
		_, err := other.Create(ctx, cred, withID(template, byte(i)))
		require.NoError(t, err)
	}
	require.False(t, claimed(t, e))
	_, err = e.Size(ctx, nil, found[0])
	rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

// TestWhoHasNotThePolicyDoesNotOvertakeAReview: a login under the policy finds that all is well just before a certificate is
// written without it.
func TestWhoHasNotThePolicyDoesNotOvertakeAReview(t *testing.T) {
	backing := mem.New()
	registry, err := all.Registry()
	require.NoError(t, err)
	near := &bent{Store: backing}
	free, cred := readyOn(t, near)
	strict, err := engine.New(engine.Options{OpenStore: func(bool) (store.Store, error) { return &bent{Store: backing}, nil },
		Mechanisms: registry, KDF: cheap, Policy: policy.Policy{PublicCertificates: true}})
	require.NoError(t, err)
	t.Cleanup(func() { strict.Close() })
	cert, key := certAndKey(t)
	_, err = free.Create(ctx, cred, withID(key, 2))
	require.NoError(t, err)
	require.False(t, claimed(t, strict))
	near.beforeCommit = func([]store.Op) error {
		near.beforeCommit = nil
		login(t, strict)
		require.True(t, claimed(t, strict))
		return nil
	}
	_, err = free.Create(ctx, cred, withID(cert, 1))
	require.NoError(t, err)
	require.False(t, claimed(t, strict))
}

// countingCommits is a store that counts commits, which take a while.
type countingCommits struct {
	store.Store
	n atomic.Int64
}

func (s *countingCommits) Commit(ctx context.Context, cmps []store.Compare, ops []store.Op) (int64, error) {
	s.n.Add(1)
	time.Sleep(time.Millisecond)
	return s.Store.Commit(ctx, cmps, ops)
}

// TestManyBringCertificatesAtOnce: each has to write the record, and few try in vain.
func TestManyBringCertificatesAtOnce(t *testing.T) {
	const many = 32
	registry, err := all.Registry()
	require.NoError(t, err)
	s := &countingCommits{Store: mem.New()}
	e, err := engine.New(engine.Options{OpenStore: func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry, KDF: cheap, Policy: policy.Policy{PublicCertificates: true}})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	cert, _ := certAndKey(t)
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	user := login(t, e)
	s.n.Store(0)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			_, err := e.Create(ctx, user, withID(cert, 1))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.n.Load(); n > 4*many {
		t.Errorf("%d commits for %d certificates", n, many)
	}
	require.True(t, claimed(t, e))
}
