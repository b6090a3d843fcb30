package engine_test

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	ctx     = context.Background()
	soPIN   = []byte("officer")
	userPIN = []byte("user-pin")
)

// cheap makes PIN checks quick in tests.
var cheap = vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1}

func open(t *testing.T, path string) *engine.Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	e, err := engine.New(engine.Options{
		OpenStore:  func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) },
		Mechanisms: registry,
		KDF:        cheap,
		Log:        func(err error) { t.Log(err) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// ready returns a token with both PINs set, its path, and a login of the user.
func ready(t *testing.T) (*engine.Engine, string, hsm.Credential) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token.db")
	e := open(t, path)
	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	require.NoError(t, e.Logout(ctx, so))
	return e, path, login(t, e)
}

func login(t *testing.T, e *engine.Engine) hsm.Credential {
	t.Helper()
	cred, err := e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.NoError(t, err)
	return cred
}

func aesKey(t *testing.T, e *engine.Engine, cred hsm.Credential, more ...pkcs11.Attribute) hsm.Object {
	t.Helper()
	tmpl := append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)), pkcs11.Attr(pkcs11.CKA_TOKEN, true)}, more...)
	o, err := e.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, tmpl)
	require.NoError(t, err)
	return o
}

func rv(t *testing.T, want pkcs11.RV, err error) {
	t.Helper()
	require.Equal(t, want, pkcs11.RVOf(err), "%v", err)
}

func TestTokenFlagsTellTheState(t *testing.T) {
	e := open(t, filepath.Join(t.TempDir(), "token.db"))
	flags := func() pkcs11.Flags {
		info, err := e.Info(ctx)
		require.NoError(t, err)
		return info.Flags
	}
	base := pkcs11.CKF_RNG | pkcs11.CKF_LOGIN_REQUIRED
	require.Equal(t, base, flags())
	_, err := e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, err)

	require.NoError(t, e.InitToken(ctx, soPIN, "test"))
	base |= pkcs11.CKF_TOKEN_INITIALIZED
	require.Equal(t, base, flags())
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN))
	base |= pkcs11.CKF_USER_PIN_INITIALIZED
	require.Equal(t, base, flags())

	for n := 1; n <= auth.MaxFailures; n++ {
		_, err := e.Login(ctx, pkcs11.CKU_USER, "", []byte("wrong"))
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
		want := base
		switch {
		case n == auth.MaxFailures:
			want |= pkcs11.CKF_USER_PIN_LOCKED
		case n == auth.MaxFailures-1:
			want |= pkcs11.CKF_USER_PIN_COUNT_LOW | pkcs11.CKF_USER_PIN_FINAL_TRY
		case n >= auth.MaxFailures/2:
			want |= pkcs11.CKF_USER_PIN_COUNT_LOW
		}
		require.Equal(t, want, flags(), "after %d failures", n)
	}
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_PIN_LOCKED, err)
	require.NoError(t, e.InitPIN(ctx, so, userPIN), "the SO unlocks")
	require.Equal(t, base, flags())
	login(t, e)
}

func TestLockoutSurvivesARestart(t *testing.T) {
	e, path, _ := ready(t)
	for range auth.MaxFailures {
		_, err := e.Login(ctx, pkcs11.CKU_USER, "", []byte("wrong"))
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	require.NoError(t, e.Close())
	_, err := open(t, path).Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_PIN_LOCKED, err)
}

func TestARightPinForgetsTheWrongOnes(t *testing.T) {
	e, _, cred := ready(t)
	for range 3 {
		for range auth.MaxFailures - 1 {
			_, err := e.Login(ctx, pkcs11.CKU_USER, "", []byte("wrong"))
			rv(t, pkcs11.CKR_PIN_INCORRECT, err)
		}
		require.NoError(t, e.Logout(ctx, cred))
		cred = login(t, e)
	}
}

func TestPrivateObjectsAreInvisibleWithoutLogin(t *testing.T) {
	e, path, cred := ready(t)
	key := aesKey(t, e, cred, pkcs11.AttrString(pkcs11.CKA_LABEL, "k"))
	require.True(t, key.Private())
	other := open(t, path)
	for _, x := range []*engine.Engine{e, other} {
		found, err := x.Find(ctx, nil, nil)
		require.NoError(t, err)
		require.Empty(t, found)
	}
	_, err := e.Attributes(ctx, nil, key, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	found, err := e.Find(ctx, so, nil)
	require.NoError(t, err)
	require.Empty(t, found, "the SO does not see the user's objects")

	found, err = other.Find(ctx, login(t, other), pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "k")})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, key.ID(), found[0].ID())
}

func TestLogoutEndsPrivateObjects(t *testing.T) {
	e, _, cred := ready(t)
	key := aesKey(t, e, cred)
	gcm := pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}}
	op, err := e.Begin(ctx, cred, hsm.OpEncrypt, gcm, key)
	require.NoError(t, err)
	require.NoError(t, e.Logout(ctx, cred))
	_, err = e.Begin(ctx, cred, hsm.OpEncrypt, gcm, key)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)

	// A running operation is not pulled from under its caller, who is to close it.
	out, err := op.Finish(ctx, nil, []byte("data"))
	require.NoError(t, err)
	op.Close()
	cred = login(t, e)
	found, err := e.Find(ctx, cred, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
	op, err = e.Begin(ctx, cred, hsm.OpDecrypt, gcm, found[0])
	require.NoError(t, err)
	defer op.Close()
	plain, err := op.Finish(ctx, nil, out)
	require.NoError(t, err)
	require.Equal(t, "data", string(plain))
}

func TestANewPinEndsOlderLogins(t *testing.T) {
	e, path, cred := ready(t)
	key := aesKey(t, e, cred)
	other := open(t, path)
	fresh, err := other.SetPIN(ctx, pkcs11.CKU_USER, "", userPIN, []byte("another-pin"))
	require.NoError(t, err)
	_, err = e.Size(ctx, cred, key)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	found, err := other.Find(ctx, fresh, nil)
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_PIN_INCORRECT, err)
}

func TestInitTokenErasesAndNeedsTheOfficer(t *testing.T) {
	e, path, cred := ready(t)
	aesKey(t, e, cred)
	other := open(t, path)
	otherCred := login(t, other)
	rv(t, pkcs11.CKR_PIN_INCORRECT, e.InitToken(ctx, []byte("not it"), "new"))
	before, err := e.Info(ctx)
	require.NoError(t, err)
	require.NoError(t, e.InitToken(ctx, soPIN, "new"))
	after, err := e.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, "new", after.Label)
	require.NotEqual(t, before.Serial, after.Serial)
	_, err = e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	rv(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, err)
	_, err = other.Find(ctx, otherCred, nil)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
}

func TestTwoEnginesSeeEachOther(t *testing.T) {
	a, path, credA := ready(t)
	b := open(t, path)
	credB := login(t, b)
	key := aesKey(t, a, credA, pkcs11.Attr(pkcs11.CKA_ID, []byte{7}))
	byID := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, []byte{7})}
	found, err := b.Find(ctx, credB, byID)
	require.NoError(t, err)
	require.Len(t, found, 1)

	require.NoError(t, b.SetAttributes(ctx, credB, found[0], pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "renamed")}))
	values, err := a.Attributes(ctx, credA, key, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
	require.NoError(t, err)
	require.Equal(t, []byte("renamed"), values[0].Value)

	require.NoError(t, b.Destroy(ctx, credB, found[0]))
	_, err = a.Size(ctx, credA, key)
	rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

// TestSensitiveValuesNeverAppear: not by asking, finding, copying or setting.
func TestSensitiveValuesNeverAppear(t *testing.T) {
	e, _, cred := ready(t)
	value := bytes.Repeat([]byte{0x5a}, 32)
	key, err := e.Create(ctx, cred, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.Attr(pkcs11.CKA_VALUE, value), pkcs11.Attr(pkcs11.CKA_TOKEN, true), pkcs11.Attr(pkcs11.CKA_SENSITIVE, true),
	})
	require.NoError(t, err)
	get := func(o hsm.Object) hsm.Value {
		v, err := e.Attributes(ctx, cred, o, []pkcs11.AttributeType{pkcs11.CKA_VALUE})
		require.NoError(t, err)
		return v[0]
	}
	rv(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, get(key).Err)
	found, err := e.Find(ctx, cred, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)})
	require.NoError(t, err)
	require.Empty(t, found)
	require.Error(t, e.SetAttributes(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SENSITIVE, false)}))
	_, err = e.Copy(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SENSITIVE, false)})
	require.Error(t, err)
	same, err := e.Copy(ctx, cred, key, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, false)})
	require.NoError(t, err)
	rv(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, get(same).Err)
}

func TestWrapAndUnwrapEveryKeyType(t *testing.T) {
	e, _, cred := ready(t)
	kek := aesKey(t, e, cred, pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_UNWRAP, true))
	extractable := pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)
	wrap := func(o hsm.Object) []byte {
		t.Helper()
		b, err := e.WrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, kek, o)
		require.NoError(t, err)
		return b
	}
	unwrap := func(b []byte, class pkcs11.ObjectClass, kt pkcs11.KeyType) hsm.Object {
		t.Helper()
		o, err := e.UnwrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, kek, b, pkcs11.Template{
			pkcs11.AttrUlong(pkcs11.CKA_CLASS, class), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, kt), extractable})
		require.NoError(t, err)
		return o
	}
	secretKey := aesKey(t, e, cred, extractable)
	blob := wrap(secretKey)
	again := wrap(unwrap(blob, pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES))
	require.Equal(t, blob, again, "KWP is deterministic, so the same key gives the same blob")

	for _, c := range []struct {
		mech   pkcs11.MechanismType
		kt     pkcs11.KeyType
		public pkcs11.Template
	}{
		{pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.CKK_RSA, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, uint(2048))}},
		{pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})}},
		{pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, pkcs11.CKK_EC_EDWARDS, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 3, 0x2b, 0x65, 0x70})}},
		{pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, pkcs11.CKK_EC_MONTGOMERY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 3, 0x2b, 0x65, 0x6e})}},
	} {
		t.Run(c.kt.String(), func(t *testing.T) {
			_, priv, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: c.mech}, c.public, pkcs11.Template{extractable})
			require.NoError(t, err)
			blob := wrap(priv)
			back := unwrap(blob, pkcs11.CKO_PRIVATE_KEY, c.kt)
			types := []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO, pkcs11.CKA_SENSITIVE, pkcs11.CKA_LOCAL}
			was, err := e.Attributes(ctx, cred, priv, types)
			require.NoError(t, err)
			is, err := e.Attributes(ctx, cred, back, types)
			require.NoError(t, err)
			require.NotEmpty(t, was[0].Value)
			require.Equal(t, was[0], is[0])
			require.Equal(t, true, is[1].Value)
			require.Equal(t, false, is[2].Value)
		})
	}
}

// TestNoPinOpensATokenWithAnExchangedRecord: who may write the file cannot give the token another label, or another root
// for its public objects, behind the back of who logs in.
func TestNoPinOpensATokenWithAnExchangedRecord(t *testing.T) {
	e, path, _ := ready(t)
	require.NoError(t, e.Close())
	s, err := sqlite.Open(path, sqlite.Options{})
	require.NoError(t, err)
	rec, err := s.Get(ctx, "token")
	require.NoError(t, err)
	b, err := vault.Unstamp(rec.Value)
	require.NoError(t, err)
	forged := vault.Stamp(bytes.Replace(b, []byte(`"test"`), []byte(`"evil"`), 1))
	require.NotEqual(t, rec.Value, forged)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "token", Value: forged}})
	require.NoError(t, err)
	require.NoError(t, s.Close())

	e = open(t, path)
	for user, pin := range map[pkcs11.UserType][]byte{pkcs11.CKU_USER: userPIN, pkcs11.CKU_SO: soPIN} {
		_, err = e.Login(ctx, user, "", pin)
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
}

// TestKeysThatAskForThePinEachTime: sign after a context-specific login only, and neither unwrap nor derive.
func TestKeysThatAskForThePinEachTime(t *testing.T) {
	e, _, cred := ready(t)
	p256 := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})}
	always := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true), pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_DERIVE, true)}
	pub, priv, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}, p256, always)
	require.NoError(t, err)
	op, err := e.Begin(ctx, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, priv)
	require.NoError(t, err)
	defer op.Close()
	require.True(t, op.MustAuthenticate())
	_, err = op.Finish(ctx, nil, []byte("data"))
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	rv(t, pkcs11.CKR_PIN_INCORRECT, op.Authenticate(ctx, []byte("wrong")))
	require.NoError(t, op.Authenticate(ctx, userPIN))
	_, err = e.SaveOperation(ctx, op)
	rv(t, pkcs11.CKR_STATE_UNSAVEABLE, err) // or one PIN would be good for many signatures
	_, err = e.RestoreOperation(ctx, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}, priv, []byte{0})
	rv(t, pkcs11.CKR_SAVED_STATE_INVALID, err)
	_, err = op.Finish(ctx, nil, []byte("data"))
	require.NoError(t, err)

	point, err := e.Attributes(ctx, cred, pub, []pkcs11.AttributeType{pkcs11.CKA_EC_POINT})
	require.NoError(t, err)
	_, err = e.DeriveKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{
		KDF: pkcs11.CKD_NULL, PublicData: point[0].Value.([]byte)}}, priv, nil,
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET)})
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)

	// What gives such a key's secrets away without an operation gives away nothing at all.
	always = append(always[:1:1], pkcs11.Attr(pkcs11.CKA_UNWRAP, true), pkcs11.Attr(pkcs11.CKA_DECAPSULATE, true))
	without := func(t pkcs11.AttributeType) pkcs11.Template {
		return slices.DeleteFunc(slices.Clone(always), func(a pkcs11.Attribute) bool { return a.Type == t })
	}
	secret := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES)}
	_, rsa, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, 2048)}, without(pkcs11.CKA_DECAPSULATE))
	require.NoError(t, err)
	_, err = e.UnwrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS}, rsa, make([]byte, 256), secret)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, kem, err := e.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_ML_KEM_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, pkcs11.CKP_ML_KEM_512)}, without(pkcs11.CKA_UNWRAP))
	require.NoError(t, err)
	_, err = e.DecapsulateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_ML_KEM}, kem, make([]byte, 768), secret)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
}
