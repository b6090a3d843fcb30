package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const serial = "0123456789ABCDEF"

var bg = context.Background()

// group is some nodes over one store, with one root and one clock.
type group struct {
	t     testing.TB
	store store.Store
	root  *secret.Bytes
	now   atomic.Int64
}

func newGroup(t testing.TB) *group {
	t.Helper()
	root, err := vault.NewRoot()
	require.NoError(t, err)
	g := &group{t: t, store: mem.New(), root: root}
	g.now.Store(1_800_000_000)
	return g
}

func (g *group) node() *Engine {
	g.t.Helper()
	e, err := g.open(serial)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { e.Close() })
	return e
}

func (g *group) open(serial string) (*Engine, error) {
	registry, err := all.Registry()
	require.NoError(g.t, err)
	return New(Options{
		OpenStore:  func(bool) (store.Store, error) { return shared{g.store}, nil },
		Mechanisms: registry,
		Policy:     policy.Policy{WrapAndDecrypt: true},
		KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
		Log:        func(err error) { g.t.Log(err) },
		Node: &NodeOptions{Root: g.root, Serial: serial, CredentialLifetime: time.Hour,
			Now: func() time.Time { return time.Unix(g.now.Load(), 0) }},
	})
}

// ready returns two nodes of a token with both PINs, and logins of both of its own users at the first.
func (g *group) ready() (a, b *Engine, so, user hsm.Credential) {
	g.t.Helper()
	a, b = g.node(), g.node()
	require.NoError(g.t, a.InitToken(bg, officerPIN, "tell-no-label"))
	so, err := a.Login(bg, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(g.t, err)
	require.NoError(g.t, a.InitPIN(bg, so, pin))
	user, err = a.Login(bg, pkcs11.CKU_USER, "", pin)
	require.NoError(g.t, err)
	return a, b, so, user
}

// carry takes a credential from one node to another.
func carry(t testing.TB, from, to *Engine, cred hsm.Credential) hsm.Credential {
	t.Helper()
	sealed, err := from.SealCredential(cred)
	require.NoError(t, err)
	there, err := to.OpenCredential(sealed, "")
	require.NoError(t, err)
	return there
}

func wantRV(t testing.TB, want pkcs11.RV, err error) {
	t.Helper()
	require.Equal(t, want, pkcs11.RVOf(err), "%v", err)
}

var (
	aesGen  = pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}
	ecGen   = pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}
	onP256  = pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	onToken = pkcs11.Attr(pkcs11.CKA_TOKEN, true)
	labelOf = []pkcs11.AttributeType{pkcs11.CKA_LABEL}
)

func newKey(t testing.TB, e *Engine, ctx context.Context, cred hsm.Credential, more ...pkcs11.Attribute) hsm.Object {
	t.Helper()
	o, err := e.GenerateKey(ctx, cred, aesGen, append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.Attr(pkcs11.CKA_ENCRYPT, true), pkcs11.Attr(pkcs11.CKA_DECRYPT, true)}, more...))
	require.NoError(t, err)
	return o
}

func flagsOf(t testing.TB, e *Engine) pkcs11.Flags {
	t.Helper()
	info, err := e.Info(bg)
	require.NoError(t, err)
	require.Equal(t, serial, info.Serial)
	return info.Flags
}

func TestANodesTokenHasItsSerialForEver(t *testing.T) {
	g := newGroup(t)
	a, b := g.node(), g.node()
	require.Zero(t, flagsOf(t, b)&pkcs11.CKF_TOKEN_INITIALIZED)
	_, err := a.Login(bg, pkcs11.CKU_SO, "", officerPIN)
	wantRV(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, err)
	require.NoError(t, a.InitToken(bg, officerPIN, "one"))
	require.NotZero(t, flagsOf(t, b)&pkcs11.CKF_TOKEN_INITIALIZED)
	wantRV(t, pkcs11.CKR_PIN_INCORRECT, b.InitToken(bg, otherPIN, "two"))
	require.NoError(t, b.InitToken(bg, officerPIN, "two"))
	info, err := a.Info(bg)
	require.NoError(t, err)
	require.Equal(t, "two", info.Label)
	require.Equal(t, serial, info.Serial)
}

func TestAnotherRootOrSerialIsRefused(t *testing.T) {
	g := newGroup(t)
	g.ready()
	_, err := g.open("FEDCBA9876543210")
	wantRV(t, pkcs11.CKR_DEVICE_ERROR, err)
	other := newGroup(t)
	other.store = g.store
	_, err = other.open(serial)
	wantRV(t, pkcs11.CKR_DEVICE_ERROR, err)
	_, err = g.open("0123")
	require.Error(t, err)
}

func TestPrivateObjectsAreOpenOnEveryNodeButNotToEverybody(t *testing.T) {
	a, b, so, user := newGroup(t).ready()
	key := newKey(t, a, bg, user, onToken, pkcs11.AttrString(pkcs11.CKA_LABEL, "k"))
	require.True(t, key.Private())
	there := carry(t, a, b, user)
	found, err := b.Find(bg, there, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
	for _, cred := range []hsm.Credential{nil, carry(t, a, b, so)} {
		found, err := b.Find(bg, cred, nil)
		require.NoError(t, err)
		require.Empty(t, found)
		_, err = b.Size(bg, cred, b.TokenObject(key.ID(), true))
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		_, err = b.Size(bg, cred, b.TokenObject(key.ID(), false))
		wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	}
	_, err = b.Size(bg, there, b.TokenObject(key.ID(), true))
	require.NoError(t, err)
	_, err = b.Size(bg, there, b.TokenObject(strings.Repeat("0", 32), true))
	wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

// TestInitTokenEndsEverythingEverywhere: objects do not open again even if their records are put back.
func TestInitTokenEndsEverythingEverywhere(t *testing.T) {
	g := newGroup(t)
	a, b, so, user := g.ready()
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
	key := newKey(t, a, bg, user, onToken)
	local := newKey(t, a, bg, user)
	blob, _, err := a.SealObject(local)
	require.NoError(t, err)
	sealed, err := a.SealCredential(user)
	require.NoError(t, err)
	there, err := b.OpenCredential(sealed, "")
	require.NoError(t, err)
	before, _, err := g.store.List(bg, "")
	require.NoError(t, err)

	require.NoError(t, a.InitToken(bg, officerPIN, "new"))
	_, err = b.OpenCredential(sealed, "")
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, err = b.Find(bg, there, nil)
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, err = b.OpenObject(blob)
	wantRV(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
	after, _, err := g.store.List(bg, "")
	require.NoError(t, err)
	require.Len(t, after, 3, "the token, its SO, and what is known of its certificates")

	var ops []store.Op
	for _, r := range before {
		if r.Key != tokenKey && r.Key != "user/so" && r.Key != certificatesKey {
			ops = append(ops, store.Op{Key: r.Key, Value: r.Value})
		}
	}
	require.Len(t, ops, 3)
	_, err = g.store.Commit(bg, nil, ops)
	require.NoError(t, err)
	for _, e := range []*Engine{a, b, g.node()} {
		_, err = e.Login(bg, pkcs11.CKU_USER, "", pin)
		wantRV(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, err)
		_, err = e.Login(bg, pkcs11.CKU_USER, "alice", pin)
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
		require.Equal(t, []bool{false}, e.Holds([]string{key.ID()}))
	}
	// What was put back stands in nobody's way.
	so, err = b.Login(bg, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	require.NoError(t, b.InitPIN(bg, so, otherPIN))
	require.NoError(t, b.CreateUser(bg, so, pkcs11.CKU_USER, "alice", otherPIN))
	_, err = a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
	require.NoError(t, err)
}

// TestTheStoreTellsNothing looks for all that a caller has said, in every key and value, in every usual form.
func TestTheStoreTellsNothing(t *testing.T) {
	g := newGroup(t)
	a, _, so, user := g.ready()
	value := []byte("a value nobody shall see")
	told := [][]byte{[]byte("tell-no-label"), []byte("tellnoname"), []byte("object-label-told"), []byte("application-told"), value, pin, officerPIN,
		[]byte("activated"), []byte("epoch"), []byte(serial), g.root.Expose(), []byte("0123456789abcdef-operation")[:16]}
	ctx := hsm.WithCaller(bg, hsm.Caller{Holder: "holder-told", Operation: "0123456789abcdef"})
	told = append(told, []byte("holder-told"))
	require.NoError(t, a.CreateUser(ctx, so, pkcs11.CKU_USER, "tellnoname", pin))
	for _, private := range []bool{true, false} {
		_, err := a.Create(bg, user, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), onToken,
			pkcs11.Attr(pkcs11.CKA_PRIVATE, private), pkcs11.AttrString(pkcs11.CKA_LABEL, "object-label-told"),
			pkcs11.AttrString(pkcs11.CKA_APPLICATION, "application-told"), pkcs11.Attr(pkcs11.CKA_VALUE, value)})
		require.NoError(t, err)
	}
	recs, _, err := g.store.List(bg, "")
	require.NoError(t, err)
	require.Len(t, recs, 8)
	for _, r := range recs {
		all := append([]byte(r.Key+"\x00"), r.Value...)
		for _, s := range told {
			for _, form := range [][]byte{s, []byte(hex.EncodeToString(s)), bytes.ToUpper([]byte(hex.EncodeToString(s))), []byte(base64.StdEncoding.EncodeToString(s))} {
				require.False(t, bytes.Contains(all, form), "%s holds %q", r.Key, form)
			}
		}
		if strings.HasPrefix(r.Key, objectPrefix) {
			require.Equal(t, []byte{1, flagNode}, r.Value[:2], "private or not is not said")
		}
	}
}

func TestLockoutCountsOnceForAll(t *testing.T) {
	a, b, so, _ := newGroup(t).ready()
	for i := range auth.MaxFailures {
		e := []*Engine{a, b}[i%2]
		_, err := e.Login(bg, pkcs11.CKU_USER, "", otherPIN)
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	for _, e := range []*Engine{a, b} {
		_, err := e.Login(bg, pkcs11.CKU_USER, "", pin)
		wantRV(t, pkcs11.CKR_PIN_LOCKED, err)
		require.NotZero(t, flagsOf(t, e)&pkcs11.CKF_USER_PIN_LOCKED)
	}
	require.NoError(t, b.ResetPIN(bg, carry(t, a, b, so), pkcs11.CKU_USER, "", otherPIN))
	_, err := a.Login(bg, pkcs11.CKU_USER, "", otherPIN)
	require.NoError(t, err)
}

func TestALoginWaitsItsTurnNoLongerThanItsCaller(t *testing.T) {
	a, _, _, _ := newGroup(t).ready()
	for range loginsAtOnce {
		done, err := a.turn(bg)
		require.NoError(t, err)
		defer done()
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, err := a.Login(ctx, pkcs11.CKU_USER, "", pin)
	wantRV(t, pkcs11.CKR_FUNCTION_CANCELED, err)
}

func TestActivation(t *testing.T) {
	g := newGroup(t)
	code := []byte("activation-code")
	require.NoError(t, Bootstrap(bg, g.store, g.root, serial, "fresh", code))
	wantRV(t, pkcs11.CKR_ACTION_PROHIBITED, Bootstrap(bg, g.store, g.root, serial, "fresh", code))
	a, b := g.node(), g.node()
	require.Zero(t, flagsOf(t, a)&pkcs11.CKF_TOKEN_INITIALIZED)
	wantRV(t, pkcs11.CKR_ACTION_PROHIBITED, a.InitToken(bg, code, "taken"))
	data := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), onToken}

	preco, err := a.Login(bg, pkcs11.CKU_SO, "", code)
	require.NoError(t, err)
	for _, cred := range []hsm.Credential{preco, nil} {
		_, err = a.Create(bg, cred, data)
		require.Error(t, err, "nothing is made before the activation")
		_, err = a.GenerateKey(bg, cred, aesGen, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), pkcs11.Attr(pkcs11.CKA_PRIVATE, false)})
		require.Error(t, err)
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, a.InitPIN(bg, cred, pin))
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, a.CreateUser(bg, cred, pkcs11.CKU_SO, "bob", pin))
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, a.May(cred, hsm.ManageCluster))
		_, err = a.ListUsers(bg, cred)
		wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	}
	_, err = b.SetPIN(bg, pkcs11.CKU_SO, "", otherPIN, officerPIN)
	wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	so, err := b.SetPIN(bg, pkcs11.CKU_SO, "", code, officerPIN)
	require.NoError(t, err)
	require.NotZero(t, flagsOf(t, a)&pkcs11.CKF_TOKEN_INITIALIZED)
	_, err = a.Find(bg, preco, nil)
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	so = carry(t, b, a, so)
	require.NoError(t, a.May(so, hsm.ManageCluster))
	require.NoError(t, a.InitPIN(bg, so, pin))
	users, err := b.ListUsers(bg, carry(t, a, b, so))
	require.NoError(t, err)
	require.Equal(t, []hsm.User{{Type: pkcs11.CKU_SO, Role: "CO"}, {Type: pkcs11.CKU_USER, Role: "CU"}}, users)
	_, err = b.Create(bg, nil, append(data, pkcs11.Attr(pkcs11.CKA_PRIVATE, false)))
	require.NoError(t, err)
	require.NoError(t, b.InitToken(bg, officerPIN, "again"))
}
