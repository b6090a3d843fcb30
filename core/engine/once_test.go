package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// named returns a context for one request, which may be sent more than once.
func named() context.Context {
	op := make([]byte, operationSize)
	rand.Read(op)
	return hsm.WithCaller(bg, hsm.Caller{Holder: "web-1", Operation: string(op)})
}

// lossy is a store whose commits are made, but the answers may get lost.
type lossy struct {
	store.Store
	lose int // how many more answers
}

func (s *lossy) Commit(ctx context.Context, cmps []store.Compare, ops []store.Op) (int64, error) {
	revision, err := s.Store.Commit(ctx, cmps, ops)
	if err == nil && len(ops) > 0 && s.lose > 0 {
		s.lose--
		return 0, store.ErrUnavailable
	}
	return revision, err
}

// changing are all calls that change something, each made from nothing: what they answer tells that they were done once.
var changing = []struct {
	name string
	do   func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error)
	user pkcs11.UserType
}{
	{"Create", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return idOf(e.Create(ctx, cred, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), onToken}))
	}, pkcs11.CKU_USER},
	{"Copy", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return idOf(e.Copy(ctx, cred, e.TokenObject(p.key, true), nil))
	}, pkcs11.CKU_USER},
	{"GenerateKey", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return idOf(e.GenerateKey(ctx, cred, aesGen, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), onToken}))
	}, pkcs11.CKU_USER},
	{"GenerateKeyPair", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		pub, priv, err := e.GenerateKeyPair(ctx, cred, ecGen, pkcs11.Template{onP256, onToken}, pkcs11.Template{onToken})
		if err != nil {
			return nil, err
		}
		return pub.ID() + priv.ID(), nil
	}, pkcs11.CKU_USER},
	{"GenerateKeyPair, the public one of the session", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		pub, priv, err := e.GenerateKeyPair(ctx, cred, ecGen, pkcs11.Template{onP256}, pkcs11.Template{onToken})
		if err != nil {
			return nil, err
		}
		point, err := e.Attributes(ctx, cred, pub, []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO})
		if err != nil {
			return nil, err
		}
		same, err := e.Attributes(ctx, cred, priv, []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO})
		if err == nil && !pkcs11.EqualValue(point[0].Value, same[0].Value) {
			err = errors.New("two halves of different pairs")
		}
		return pub.ID() + priv.ID(), err
	}, pkcs11.CKU_USER},
	{"UnwrapKey", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return idOf(e.UnwrapKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, e.TokenObject(p.key, true), p.wrapped,
			pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), onToken}))
	}, pkcs11.CKU_USER},
	{"DeriveKey", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		m := pkcs11.Mechanism{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: make([]byte, 32)}}
		if e.opts.Mechanisms.Mechanism(m.Type) == nil {
			m = pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_KEY_DERIVATION}
		}
		d, err := e.DeriveKey(ctx, cred, m, e.TokenObject(p.key, true), nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), onToken})
		return idOf(d.Key, err)
	}, pkcs11.CKU_USER},
	{"EncapsulateKey", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		template := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), onToken}
		made, err := e.EncapsulateKey(ctx, cred, kemECDH, e.TokenObject(p.kem[0], false), template, 65)
		if err != nil {
			return nil, err
		}
		same, err := e.DecapsulateKey(bg, cred, kemECDH, e.TokenObject(p.kem[1], true), made.Ciphertext, template[:1])
		if err != nil {
			return nil, err
		}
		var check [2]any
		for i, o := range []hsm.Object{made.Key, same} {
			v, err := e.Attributes(bg, cred, o, []pkcs11.AttributeType{pkcs11.CKA_CHECK_VALUE})
			if err != nil {
				return nil, err
			}
			check[i] = v[0].Value
		}
		if !pkcs11.EqualValue(check[0], check[1]) {
			err = errors.New("the ciphertext of another key")
		}
		return made.Key.ID(), err
	}, pkcs11.CKU_USER},
	{"DeriveKey of several", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		long := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), onToken}
		m := pkcs11.Mechanism{Type: pkcs11.CKM_SP800_108_COUNTER_KDF, Params: &pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_AES_CMAC,
			Data: []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE, Counter: &pkcs11.SP800108Counter{Bits: 16}},
				{Type: pkcs11.CK_SP800_108_KEY_HANDLE, Key: 7}},
			More: []pkcs11.DerivedKey{{Template: long}, {Template: long[:1]}}}}
		key := e.TokenObject(p.key, true)
		d, err := e.DeriveKey(ctx, cred, m, key, []hsm.Named{{Handle: 7, Key: key}}, long)
		if err != nil {
			return nil, err
		}
		return d.Key.ID() + d.More[0].ID() + d.More[1].ID(), nil
	}, pkcs11.CKU_USER},
	{"Destroy", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.Destroy(ctx, cred, e.TokenObject(p.key, true))
	}, pkcs11.CKU_USER},
	{"SetAttributes, for the last time", func(p *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.SetAttributes(ctx, cred, e.TokenObject(p.key, true), pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.AttrString(pkcs11.CKA_LABEL, "x")})
	}, pkcs11.CKU_USER},
	{"InitPIN", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.InitPIN(ctx, cred, otherPIN)
	}, pkcs11.CKU_SO},
	{"CreateUser", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.CreateUser(ctx, cred, pkcs11.CKU_USER, "bob", otherPIN)
	}, pkcs11.CKU_SO},
	{"DeleteUser", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.DeleteUser(ctx, cred, pkcs11.CKU_USER, "alice")
	}, pkcs11.CKU_SO},
	{"ResetPIN", func(_ *pair, ctx context.Context, e *Engine, cred hsm.Credential) (any, error) {
		return nil, e.ResetPIN(ctx, cred, pkcs11.CKU_USER, "alice", otherPIN)
	}, pkcs11.CKU_SO},
	{"SetPIN", func(_ *pair, ctx context.Context, e *Engine, _ hsm.Credential) (any, error) {
		cred, err := e.SetPIN(ctx, pkcs11.CKU_USER, "alice", pin, otherPIN)
		if err != nil {
			return nil, err
		}
		_, err = e.Find(bg, cred, nil)
		return nil, err
	}, pkcs11.CKU_SO},
	{"InitToken", func(_ *pair, ctx context.Context, e *Engine, _ hsm.Credential) (any, error) {
		return nil, e.InitToken(ctx, officerPIN, "again")
	}, pkcs11.CKU_SO},
	{"a login with a wrong PIN", func(_ *pair, ctx context.Context, e *Engine, _ hsm.Credential) (any, error) {
		_, err := e.Login(ctx, pkcs11.CKU_USER, "alice", otherPIN)
		if pkcs11.RVOf(err) == pkcs11.CKR_PIN_INCORRECT {
			err = nil
		}
		return nil, err
	}, pkcs11.CKU_SO},
}

// pair is two nodes with a key that wraps, a key that it has wrapped, a pair that encapsulates, and alice.
type pair struct {
	*group
	a, b    *Engine
	creds   map[pkcs11.UserType]hsm.Credential
	key     string
	wrapped []byte
	kem     [2]string // a pair that encapsulates: public, private
}

var kemECDH = pkcs11.Mechanism{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_SHA256_KDF}}

func newPair(t *testing.T) *pair {
	p := &pair{group: newGroup(t)}
	a, b, so, user := p.ready()
	p.a, p.b = a, b
	p.creds = map[pkcs11.UserType]hsm.Credential{pkcs11.CKU_SO: so, pkcs11.CKU_USER: user}
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
	_, err := a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN) // a failure to count from
	wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	yes := func(types ...pkcs11.AttributeType) (t pkcs11.Template) {
		for _, a := range types {
			t = append(t, pkcs11.Attr(a, true))
		}
		return t
	}
	key := newKey(t, a, bg, user, yes(pkcs11.CKA_TOKEN, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE, pkcs11.CKA_EXTRACTABLE)...)
	p.key = key.ID()
	p.wrapped, err = a.WrapKey(bg, user, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, key, newKey(t, a, bg, user, pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)))
	require.NoError(t, err)
	pub, priv, err := a.GenerateKeyPair(bg, user, ecGen, append(yes(pkcs11.CKA_TOKEN, pkcs11.CKA_ENCAPSULATE), onP256),
		yes(pkcs11.CKA_TOKEN, pkcs11.CKA_DECAPSULATE))
	require.NoError(t, err)
	p.kem = [2]string{pub.ID(), priv.ID()}
	return p
}

// state is all records but those of operations, with their revisions.
func (p *pair) state() map[string]int64 {
	p.t.Helper()
	recs, _, err := p.store.List(bg, "")
	require.NoError(p.t, err)
	m := map[string]int64{}
	for _, r := range recs {
		if !strings.HasPrefix(r.Key, operationPrefix) {
			m[r.Key] = r.Modified
		}
	}
	return m
}

// TestARequestSentAgainIsDoneOnce, at another node, with the same answer.
func TestARequestSentAgainIsDoneOnce(t *testing.T) {
	for _, c := range changing {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			there := carry(t, p.a, p.b, p.creds[c.user])
			before := p.state()
			ctx := named()
			first, err := c.do(p, ctx, p.a, p.creds[c.user])
			require.NoError(t, err)
			done := p.state()
			require.NotEqual(t, before, done)
			again, err := c.do(p, ctx, p.b, there)
			require.NoError(t, err)
			require.Equal(t, first, again)
			require.Equal(t, done, p.state(), "nothing has changed the second time")
		})
	}
}

// TestARequestWhoseAnswerWasLostIsDoneOnce: the node was told that its commit may or may not have been made.
func TestARequestWhoseAnswerWasLostIsDoneOnce(t *testing.T) {
	for _, c := range changing {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			s := &lossy{Store: p.store, lose: 1}
			p.a.open.Store(&opened{shared{s}})
			there := carry(t, p.a, p.b, p.creds[c.user])
			ctx := named()
			first, err := c.do(p, ctx, p.a, p.creds[c.user])
			require.NoError(t, err, "the node asks whether it was done")
			require.Zero(t, s.lose)
			done := p.state()
			again, err := c.do(p, ctx, p.b, there)
			require.NoError(t, err)
			require.Equal(t, first, again)
			require.Equal(t, done, p.state())
		})
	}
}

func idOf(o hsm.Object, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return o.ID(), nil
}

func failures(t *testing.T, p *pair, name string) int {
	t.Helper()
	list, err := p.b.ListUsers(bg, carry(t, p.a, p.b, p.creds[pkcs11.CKU_SO]))
	require.NoError(t, err)
	for _, u := range list {
		if u.Type == pkcs11.CKU_USER && u.Name == name {
			return u.Failures
		}
	}
	t.Fatalf("no user %q", name)
	return 0
}

// TestAnOperationIsNoWayAroundTheLockout: one name for many guesses is as many requests.
func TestAnOperationIsNoWayAroundTheLockout(t *testing.T) {
	p := newPair(t)
	ctx := named()
	for i := range auth.MaxFailures - 1 {
		_, err := p.a.Login(ctx, pkcs11.CKU_USER, "alice", []byte{'g', 'u', 'e', 's', 's', byte('0' + i)})
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
		require.Equal(t, i+2, failures(t, p, "alice"))
	}
	_, err := p.b.Login(ctx, pkcs11.CKU_USER, "alice", pin)
	wantRV(t, pkcs11.CKR_PIN_LOCKED, err)
}

// TestTheLastAttemptSentAgainIsNotOneTooMany: right or wrong.
func TestTheLastAttemptSentAgainIsNotOneTooMany(t *testing.T) {
	p := newPair(t)
	for range auth.MaxFailures - 2 {
		_, err := p.a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	require.Equal(t, auth.MaxFailures-1, failures(t, p, "alice"))
	// The node that counts the attempt does not live to take the count back.
	ctx := named()
	account, err := p.a.named(auth.Accounts()[1], "alice")
	require.NoError(t, err)
	c, err := p.a.call(ctx, "Login", []byte{byte(pkcs11.CKU_USER)}, []byte("alice"), pin)
	require.NoError(t, err)
	v, err := p.a.now()
	require.NoError(t, err)
	require.NoError(t, p.a.count(ctx, c, countAttempt, account, v, attempt))
	require.Equal(t, auth.MaxFailures, failures(t, p, "alice"))
	_, err = p.b.Login(named(), pkcs11.CKU_USER, "alice", pin)
	wantRV(t, pkcs11.CKR_PIN_LOCKED, err)
	_, err = p.b.Login(ctx, pkcs11.CKU_USER, "alice", pin)
	require.NoError(t, err)
	require.Zero(t, failures(t, p, "alice"))
}

func TestOperationsAreSweptByAge(t *testing.T) {
	p := newPair(t)
	user := p.creds[pkcs11.CKU_USER]
	count := func() int {
		recs, _, err := p.store.List(bg, operationPrefix)
		require.NoError(t, err)
		return len(recs)
	}
	revision := func() int64 {
		_, now, err := p.store.List(bg, operationPrefix)
		require.NoError(t, err)
		return now
	}
	before := revision()
	for range 2 * sweepBatch {
		_, err := p.a.Create(named(), user, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), onToken})
		require.NoError(t, err)
	}
	done := revision()
	p.now.Add(-3600) // whatever the clocks say
	kept := named()
	o := newKey(t, p.a, kept, user, onToken)
	require.Equal(t, 2*sweepBatch+1, count())
	require.NoError(t, p.b.SweepOperations(bg, before))
	require.Equal(t, 2*sweepBatch+1, count())
	require.NoError(t, p.b.SweepOperations(bg, done))
	require.Equal(t, 1, count())
	require.Equal(t, o.ID(), newKey(t, p.a, kept, user, onToken).ID())
	_, err := p.a.Create(hsm.WithCaller(bg, hsm.Caller{Operation: "short"}), user, nil)
	wantRV(t, pkcs11.CKR_ARGUMENTS_BAD, err)
}
