package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	officerPIN = []byte("officer")
	pin        = []byte("user-pin")
	otherPIN   = []byte("another-pin")
)

// shared is a store that several engines may close.
type shared struct{ store.Store }

func (shared) Close() error { return nil }

// inside returns an engine over a store, to be looked into.
func inside(t *testing.T, s store.Store) *Engine {
	t.Helper()
	if _, closes := s.(*mem.Store); closes {
		s = shared{s}
	}
	registry, err := all.Registry()
	require.NoError(t, err)
	e, err := New(Options{
		OpenStore:  func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry,
		KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// withPINs returns a token with both PINs, and a login of the user.
func withPINs(t *testing.T, s store.Store) (*Engine, hsm.Credential) {
	t.Helper()
	ctx := context.Background()
	e := inside(t, s)
	require.NoError(t, e.InitToken(ctx, officerPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, pin))
	require.NoError(t, e.Logout(ctx, so))
	cred, err := e.Login(ctx, pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
	return e, cred
}

// locked fails the test unless nothing of the private objects is left, nor a root key.
func locked(t *testing.T, e *Engine, creds ...hsm.Credential) {
	t.Helper()
	require.Nil(t, e.private.Load(), "the barrier of the private objects")
	require.Empty(t, e.holders)
	for _, c := range creds {
		require.Zero(t, c.(*credential).root.Len(), "the root of a credential that has ended")
	}
	for _, n := range e.objects.Candidates(nil) {
		require.False(t, n.private)
	}
}

func privateKey(t *testing.T, e *Engine, cred hsm.Credential) hsm.Object {
	t.Helper()
	o, err := e.GenerateKey(context.Background(), cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN},
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_TOKEN, true)})
	require.NoError(t, err)
	return o
}

// TestLogoutAfterANewPINLocks: the credential that C_SetPIN replaced keeps nothing open.
func TestLogoutAfterANewPINLocks(t *testing.T) {
	ctx := context.Background()
	e, old := withPINs(t, mem.New())
	key := privateKey(t, e, old)
	fresh, err := e.SetPIN(ctx, pkcs11.CKU_USER, "", pin, otherPIN)
	require.NoError(t, err)
	require.Zero(t, old.(*credential).root.Len())
	_, err = e.Size(ctx, old, key)
	require.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
	_, err = e.Size(ctx, fresh, key)
	require.NoError(t, err)
	require.NoError(t, e.Logout(ctx, fresh))
	locked(t, e, old, fresh)
}

// TestANewPINElsewhereLocks: as soon as this process learns of it, although nobody uses the credential again.
func TestANewPINElsewhereLocks(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	privateKey(t, e, cred)
	other := inside(t, s)
	_, err := other.SetPIN(ctx, pkcs11.CKU_USER, "", pin, otherPIN)
	require.NoError(t, err)
	_, err = e.Info(ctx)
	require.NoError(t, err)
	locked(t, e, cred)
}

// TestAnErasedTokenLocks: the same for C_InitToken in another process.
func TestAnErasedTokenLocks(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	privateKey(t, e, cred)
	require.NoError(t, inside(t, s).InitToken(ctx, officerPIN, "new"))
	_, err := e.Info(ctx)
	require.NoError(t, err)
	locked(t, e, cred)
}

// TestACredentialIsOfOneToken: of two tokens, one made in the other's place, users can have the same epoch. Whoever looks after
// both changes sees nothing else that differs.
func TestACredentialIsOfOneToken(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	before := e.view.Load()
	_, other := withPINs(t, s)
	_, err := e.Find(ctx, cred, nil)
	require.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err), "%v", err)
	require.NotEqual(t, before.header.life, e.view.Load().header.life)
	require.Equal(t, cred.(*credential).epoch, other.(*credential).epoch)
	locked(t, e, cred)
}

// TestOnlyTheOfficerGivesPINs: the near side asks for his session; a node is not to rely on that.
func TestOnlyTheOfficerGivesPINs(t *testing.T) {
	e, user := withPINs(t, mem.New())
	a, _, _, onNode := newGroup(t).ready()
	for _, c := range []struct {
		e    *Engine
		cred hsm.Credential
	}{{e, user}, {e, nil}, {a, onNode}, {a, nil}} {
		err := c.e.InitPIN(context.Background(), c.cred, otherPIN)
		require.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err), "%v", err)
	}
	_, err := e.Login(context.Background(), pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
}

// TestACredentialIsOfOneEngine: another engine neither takes it nor ends it.
func TestACredentialIsOfOneEngine(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	key := privateKey(t, e, cred)
	_, err := inside(t, s).Find(ctx, cred, nil)
	require.Error(t, err)
	_, err = e.Size(ctx, cred, key)
	require.NoError(t, err)
}

// TestSecretsOfWhatIsNotKeptAreWiped: keeping fails after the key was made.
func TestSecretsOfWhatIsNotKeptAreWiped(t *testing.T) {
	e, cred := withPINs(t, mem.New())
	var seen [][]byte
	for _, token := range []bool{false, true} {
		r, err := e.caller(cred, newKeyRequest)
		require.NoError(t, err)
		f := newFresh(draftOf(t, r, token), pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, []byte("0123456789abcdef"))})
		seen = append(seen, f.secret.Bytes(pkcs11.CKA_VALUE))
		pair := []fresh{f, newFresh(draftOf(t, r, true), pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, store.MaxValue))})}
		_, err = e.keep(context.Background(), nil, pair...)
		require.Equal(t, pkcs11.CKR_DEVICE_MEMORY, pkcs11.RVOf(err), "%v", err)
	}
	for _, b := range seen {
		require.Equal(t, make([]byte, 16), b)
	}
}

// gated is a store with a gate.
type gated struct {
	shared
	let          func() // called while somebody is between Alone and done
	inside       bool
	beforeCommit func()
}

func (g *gated) Alone(context.Context) (done func(), err error) {
	g.inside = true
	if g.let != nil {
		g.let()
	}
	return func() { g.inside = false }, nil
}

func (g *gated) Commit(ctx context.Context, cmps []store.Compare, ops []store.Op) (int64, error) {
	if g.beforeCommit != nil {
		g.beforeCommit()
	}
	return g.shared.Commit(ctx, cmps, ops)
}

// TestTheGateIsHeldForCountedAttemptsOnly: one right PIN lets all that wait at the gate through at once.
func TestTheGateIsHeldForCountedAttemptsOnly(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	_, _ = withPINs(t, s)
	g := &gated{shared: shared{s}}
	e, other := inside(t, g), inside(t, s)
	wrong := func(e *Engine) {
		t.Helper()
		_, err := e.Login(ctx, pkcs11.CKU_USER, "", otherPIN)
		require.Equal(t, pkcs11.CKR_PIN_INCORRECT, pkcs11.RVOf(err))
	}
	commits := []bool{}
	g.beforeCommit = func() { commits = append(commits, g.inside) }
	wrong(e) // nothing to wait for
	wrong(e) // counted first, alone
	g.let = func() {
		_, err := other.Login(ctx, pkcs11.CKU_USER, "", pin)
		require.NoError(t, err)
	}
	wrong(e) // somebody has been right meanwhile
	require.Equal(t, []bool{false, true, false}, commits)
	require.False(t, g.inside)
}

// TestTheOfficersPINWins: C_InitPIN while the user replaces his own.
func TestTheOfficersPINWins(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	_, _ = withPINs(t, s)
	g := &gated{shared: shared{s}}
	e, other := inside(t, g), inside(t, s)
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	g.beforeCommit = func() {
		g.beforeCommit = nil
		_, err := other.SetPIN(ctx, pkcs11.CKU_USER, "", pin, otherPIN)
		require.NoError(t, err)
	}
	require.NoError(t, e.InitPIN(ctx, so, []byte("third-pin")))
	_, err = other.Login(ctx, pkcs11.CKU_USER, "", []byte("third-pin"))
	require.NoError(t, err)

	// But not that of an officer whose own PIN is another by then.
	g.beforeCommit = func() {
		g.beforeCommit = nil
		_, err := other.SetPIN(ctx, pkcs11.CKU_USER, "", []byte("third-pin"), pin)
		require.NoError(t, err)
		_, err = other.SetPIN(ctx, pkcs11.CKU_SO, "", officerPIN, otherPIN)
		require.NoError(t, err)
	}
	err = e.InitPIN(ctx, so, []byte("third-pin"))
	require.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
}

// TestErasingNeedsThePINOfNow: it is not enough that it was the PIN when it was checked.
func TestErasingNeedsThePINOfNow(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	_, _ = withPINs(t, s)
	g := &gated{shared: shared{s}}
	e, other := inside(t, g), inside(t, s)
	g.beforeCommit = func() {
		g.beforeCommit = nil
		_, err := other.SetPIN(ctx, pkcs11.CKU_SO, "", officerPIN, otherPIN)
		require.NoError(t, err)
	}
	err := e.InitToken(ctx, officerPIN, "new")
	require.Equal(t, pkcs11.CKR_PIN_INCORRECT, pkcs11.RVOf(err))
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
}

// TestWhoWasReplacedIsNobody: what was found out about a user's PIN says nothing about the one who has a new PIN, about the
// user of a new token, nor about one who was made meanwhile.
func TestWhoWasReplacedIsNobody(t *testing.T) {
	ctx := context.Background()
	user, err := auth.AccountOf(pkcs11.CKU_USER)
	require.NoError(t, err)
	e := inside(t, mem.New())
	require.NoError(t, e.InitToken(ctx, officerPIN, "first"))
	var before []*view
	remember := func() { before = append(before, e.view.Load()) }
	remember()
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, e.InitPIN(ctx, so, pin))
		remember()
	}
	require.NoError(t, e.InitToken(ctx, officerPIN, "second"))
	remember()
	so, err = e.Login(ctx, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, pin)) // the first epoch again, of another token
	for i, was := range before {
		_, _, err := e.sameUser(user, was)
		require.ErrorIs(t, err, errReplaced, "%d", i)
	}
	now, _, err := e.sameUser(user, e.view.Load())
	require.NoError(t, err)

	hold := func(epoch uint64, life string) (hsm.Credential, *secret.Bytes, error) {
		root, err := vault.NewRoot()
		require.NoError(t, err)
		c, err := e.hold(ctx, user, epoch, life, root)
		return c, root, err
	}
	for _, old := range []struct {
		epoch uint64
		life  string
	}{{now.epoch(user) - 1, now.header.life}, {now.epoch(user), before[0].header.life}} {
		_, root, err := hold(old.epoch, old.life)
		require.ErrorIs(t, err, errReplaced)
		require.Zero(t, root.Len(), "a root that nobody will wipe")
	}
	require.Nil(t, e.private.Load(), "private objects were opened for nobody")
}

// TestAnErasedObjectDoesNotComeBack: not by a change that began before the token was erased.
func TestAnErasedObjectDoesNotComeBack(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, _ := withPINs(t, s)
	o, err := e.Create(ctx, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, true)})
	require.NoError(t, err)
	n, v, err := e.use(nil, o, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	require.NoError(t, err)
	defer v.release()
	// The new token, before anybody has swept up.
	ops, err := newToken(officerPIN, "new", officer(t), e.opts.KDF)
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, ops)
	require.NoError(t, err)
	err = e.set(ctx, nil, nil, n, v, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "back")})
	require.Equal(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.RVOf(err))
	found, err := e.Find(ctx, nil, nil)
	require.NoError(t, err)
	require.Empty(t, found)
}

// TestADamagedSecretPartHasItsAnswer: each attribute's error names a return value, like a whole call's.
func TestADamagedSecretPartHasItsAnswer(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	key, err := e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_TOKEN, true),
		pkcs11.Attr(pkcs11.CKA_SENSITIVE, false), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)})
	require.NoError(t, err)
	rec, err := s.Get(ctx, objectPrefix+key.ID())
	require.NoError(t, err)
	rec.Value[len(rec.Value)-1] ^= 1
	_, err = s.Commit(ctx, nil, []store.Op{{Key: rec.Key, Value: rec.Value}})
	require.NoError(t, err)
	values, err := e.Attributes(ctx, cred, key, []pkcs11.AttributeType{pkcs11.CKA_VALUE, pkcs11.CKA_VALUE_LEN})
	require.NoError(t, err)
	require.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(values[0].Err))
	require.Equal(t, uint(32), values[1].Value)
}

// TestAForgedRecordGainsNothing: the key of public objects is no secret, so a head under it proves nothing.
func TestAForgedRecordGainsNothing(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	e, cred := withPINs(t, s)
	key := privateKey(t, e, cred)
	rec, err := s.Get(ctx, objectPrefix+key.ID())
	require.NoError(t, err)
	put := func(value []byte) {
		t.Helper()
		_, err := s.Commit(ctx, nil, []store.Op{{Key: rec.Key, Value: value}})
		require.NoError(t, err)
	}
	// In the private key's place, a public object; and then the key again.
	n := key.(*entry)
	o, err := object.Build(object.Request{}, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, true)})
	require.NoError(t, err)
	head, _, err := o.Finish(key.ID(), nil)
	require.NoError(t, err)
	op, err := e.sealRecord(e.public.Load(), head, nil, 1)
	require.NoError(t, err)
	put(op.Value)
	found, err := e.Find(ctx, nil, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
	put(rec.Value)
	for _, o := range []hsm.Object{found[0], n} {
		_, err = e.Size(ctx, nil, o)
		require.Error(t, err)
	}
	_, err = e.Size(ctx, cred, key)
	require.NoError(t, err)

	// A head that names another object, or says that it is private, or a session's.
	for _, forged := range []struct {
		id             string
		private, token bool
	}{{newID(), false, true}, {key.ID(), true, true}, {key.ID(), false, false}} {
		o, err := object.Build(object.Request{User: true}, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
			pkcs11.Attr(pkcs11.CKA_TOKEN, forged.token), pkcs11.Attr(pkcs11.CKA_PRIVATE, forged.private)})
		require.NoError(t, err)
		head, _, err := o.Finish(forged.id, nil)
		require.NoError(t, err)
		plain, err := object.Marshal(head.Attributes())
		require.NoError(t, err)
		sealed, err := e.public.Load().Seal(headLabel(key.ID(), 9), plain)
		require.NoError(t, err)
		value, err := record{counter: 9, head: sealed}.marshal()
		require.NoError(t, err)
		put(value)
		found, err := e.Find(ctx, nil, nil)
		require.NoError(t, err)
		require.Empty(t, found)
	}
}

func officer(t *testing.T) auth.Account {
	t.Helper()
	a, err := auth.AccountOf(pkcs11.CKU_SO)
	require.NoError(t, err)
	return a
}

var newKeyRequest = object.Request{Op: object.OpCreate}

// draftOf returns the head of a new AES key.
func draftOf(t *testing.T, r object.Request, token bool) *object.Object {
	t.Helper()
	d, err := object.Build(r, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, 16)), pkcs11.Attr(pkcs11.CKA_TOKEN, token)})
	require.NoError(t, err)
	head, _, err := d.Finish(newID(), nil)
	require.NoError(t, err)
	return head
}
