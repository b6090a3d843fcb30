package client

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var ctx = context.Background()

func random(c *Client) error { return c.Random(ctx, make([]byte, 8)) }

// eight answers a request for random bytes.
func eight(*wire.Request) *wire.Reply {
	return &wire.Reply{Body: &wire.Reply_Bytes{Bytes: &wire.Bytes{Bytes: make([]byte, 8)}}}
}

// first makes the first request that comes to any of the nodes end as bad does; the others get good's answer.
func first(bad func(f *fake) *wire.Reply, good func(*wire.Request) *wire.Reply, nodes ...*fake) {
	var once sync.Once
	for _, f := range nodes {
		f.mu.Lock()
		f.answer = func(q *wire.Request) (r *wire.Reply) {
			hit := false
			once.Do(func() { hit = true })
			if hit {
				return bad(f)
			}
			return good(q)
		}
		f.mu.Unlock()
	}
}

func all(nodes ...*fake) (list []*wire.Request) {
	for _, f := range nodes {
		f.mu.Lock()
		list = append(list, f.got...)
		f.mu.Unlock()
	}
	return list
}

func TestFailover(t *testing.T) {
	bad := map[string]func(f *fake) *wire.Reply{
		"stream dies": func(f *fake) *wire.Reply { go f.stop(); return nil },
		"elsewhere":   func(*fake) *wire.Reply { return failure(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE) },
		"unknown":     func(*fake) *wire.Reply { return failure(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_UNKNOWN) },
		"expired":     func(*fake) *wire.Reply { return failure(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_ELSEWHERE) },
		"silence":     func(f *fake) *wire.Reply { f.silent.Store(true); return nil },
	}
	for name, bad := range bad {
		t.Run(name, func(t *testing.T) {
			t.Run("pure", func(t *testing.T) {
				a, b := newFake(t, "a", nil), newFake(t, "b", nil)
				first(bad, eight, a, b)
				c := connect(t, Options{}, a, b)
				require.NoError(t, random(c))
				got := all(a, b)
				require.Len(t, got, 2)
				for _, q := range got {
					assert.Empty(t, q.Operation)
				}
				assert.Equal(t, 1, a.count())
				assert.Equal(t, 1, b.count())
			})
			t.Run("changing", func(t *testing.T) {
				a, b := newFake(t, "a", nil), newFake(t, "b", nil)
				first(bad, done, a, b)
				c := connect(t, Options{}, a, b)
				require.NoError(t, c.InitToken(ctx, []byte("12345678"), "label"))
				got := all(a, b)
				require.Len(t, got, 2)
				assert.Len(t, got[0].Operation, 16)
				assert.Equal(t, got[0].Operation, got[1].Operation, "the same operation under another name is done twice")
				assert.NotEqual(t, make([]byte, 16), got[0].Operation)
			})
		})
	}
}

func TestEachChangeHasItsOwnName(t *testing.T) {
	a := newFake(t, "a", done)
	c := connect(t, Options{}, a)
	require.NoError(t, c.InitToken(ctx, nil, ""))
	require.NoError(t, c.InitToken(ctx, nil, ""))
	got := all(a)
	assert.NotEqual(t, got[0].Operation, got[1].Operation)
}

func TestFinalFailureIsNotTriedAgain(t *testing.T) {
	a := newFake(t, "a", func(*wire.Request) *wire.Reply { return failure(pkcs11.CKR_PIN_INCORRECT, wire.Retry_RETRY_NO) })
	c := connect(t, Options{}, a)
	_, err := c.Login(ctx, pkcs11.CKU_USER, "", []byte("x"))
	assert.Equal(t, pkcs11.CKR_PIN_INCORRECT, pkcs11.RVOf(err))
	assert.Equal(t, 1, a.count())
}

func TestExpiredEverywhereStands(t *testing.T) {
	expired := func(*wire.Request) *wire.Reply {
		return failure(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_ELSEWHERE)
	}
	a, b := newFake(t, "a", expired), newFake(t, "b", expired)
	c := connect(t, Options{}, a, b)
	assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(random(c)))
	assert.Equal(t, 1, a.count())
	assert.Equal(t, 1, b.count())
}

func TestNoQuorumAnywhereStandsAfterAWhile(t *testing.T) {
	a := newFake(t, "a", func(*wire.Request) *wire.Reply { return failure(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE) })
	c := connect(t, Options{}, a)
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(c.InitToken(ctx, nil, "")))
	assert.Greater(t, a.count(), 3, "a new leader may be found any moment")
}

func TestSameNodeAfterRestart(t *testing.T) {
	a := newFake(t, "a", eight)
	c := connect(t, Options{}, a)
	require.NoError(t, random(c))
	a.stop()
	again := time.AfterFunc(300*time.Millisecond, a.start)
	defer again.Stop()
	assert.NoError(t, random(c), "the call waits for the node")
}

func TestSilentNodeComesBack(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	c := connect(t, Options{}, a, b)
	a.silent.Store(true)
	for range 8 {
		require.NoError(t, random(c))
	}
	a.silent.Store(false)
	eventually(t, func() bool { return ready(c) == 2 })
}

func TestLoneSilentNodeIsWaitedFor(t *testing.T) {
	a := newFake(t, "a", nil)
	c := connect(t, Options{}, a)
	first(func(f *fake) *wire.Reply {
		f.silent.Store(true)
		time.Sleep(1200 * time.Millisecond)
		f.silent.Store(false)
		return eight(nil)
	}, eight, a)
	require.NoError(t, random(c))
	assert.Equal(t, 1, a.count(), "there was no other node to go to")
}

func TestDeadline(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		var l logs
		c, err := New(Options{Nodes: []string{"unix:" + socketDir(t) + "/none"}, Timeout: time.Second, Log: l.add})
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)))
		assert.Contains(t, l.String(), "none is connecting")
	})
	t.Run("no answer", func(t *testing.T) {
		a := newFake(t, "a", func(*wire.Request) *wire.Reply { return nil })
		c := connect(t, Options{Timeout: time.Second}, a)
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)))
		q := all(a)
		require.Len(t, q, 1)
		assert.InDelta(t, 1000, q[0].TimeoutMs, 900) // what is left of it when the request is sent
		eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.cancels) == 1 && a.cancels[0] == q[0].Id })
	})
	t.Run("always unknown", func(t *testing.T) {
		a := newFake(t, "a", func(*wire.Request) *wire.Reply { return failure(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_UNKNOWN) })
		c := connect(t, Options{Timeout: time.Second}, a)
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)))
	})
}

func TestCancel(t *testing.T) {
	a := newFake(t, "a", func(*wire.Request) *wire.Reply { return nil })
	c := connect(t, Options{}, a)
	cancelable, cancel := context.WithCancel(ctx)
	result := make(chan error)
	go func() { result <- c.Random(cancelable, make([]byte, 8)) }()
	eventually(t, func() bool { return a.count() == 1 })
	cancel()
	err := <-result
	assert.Equal(t, pkcs11.CKR_FUNCTION_CANCELED, pkcs11.RVOf(err))
	assert.ErrorIs(t, err, context.Canceled)
	id := all(a)[0].Id
	eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.cancels) == 1 && a.cancels[0] == id })
}

func TestCloseEndsCalls(t *testing.T) {
	a := newFake(t, "a", func(*wire.Request) *wire.Reply { return nil })
	c := connect(t, Options{}, a)
	result := make(chan error)
	go func() { result <- random(c) }()
	eventually(t, func() bool { return a.count() == 1 })
	require.NoError(t, c.Close())
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(<-result))
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)))
}

func TestGarbageNeverPanics(t *testing.T) {
	wrong := []*wire.Reply{
		{}, {Body: &wire.Reply_Done{}}, {Body: &wire.Reply_Bytes{}}, {Body: &wire.Reply_Objects{}}, {Body: &wire.Reply_Stepped{}},
		{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: []*wire.Object{nil, {}, {Token: true}, {Id: "x"}}}}},
		{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: []*wire.Object{{Id: "x", Sealed: []byte{1}, Head: &wire.Template{Attributes: []*wire.Attribute{nil}}}}}}},
		{Body: &wire.Reply_Credential{}}, {Body: &wire.Reply_Begun{Begun: &wire.Begun{Shape: &wire.Shape{Align: -7}}}},
		{Body: &wire.Reply_Coverage{Coverage: &wire.CoverageReply{}}}, {Body: &wire.Reply_MembersList{}}, {Body: &wire.Reply_Hello{}},
		{Failure: &wire.Failure{}}, {Failure: &wire.Failure{Rv: 1 << 63, Retry: 77}},
		{Body: &wire.Reply_Values{Values: &wire.Values{Values: []*wire.Value{nil}}}},
	}
	// What an answer of that form does answer.
	fits := map[int][]string{1: {"Destroy", "InitPIN", "Seed"}, 2: {"Wrap"}, 3: {"Find"}, 6: {"Create", "Generate"}}
	for i, r := range wrong {
		a := newFake(t, "a", func(*wire.Request) *wire.Reply {
			return &wire.Reply{Body: r.Body, Failure: r.Failure, Revision: -5}
		})
		c := connect(t, Options{Timeout: 2 * time.Second}, a)
		for name, f := range everything(c) {
			if err := f(); !slices.Contains(fits[i], name) {
				assert.Error(t, err, "reply %d is no answer for %s", i, name)
			}
		}
	}
}

func TestRepliesThatNobodyAskedFor(t *testing.T) {
	a := newFake(t, "a", nil)
	first(func(f *fake) *wire.Reply { r := eight(nil); r.Id = 1 << 60; return r }, eight, a)
	c := connect(t, Options{Timeout: time.Second}, a)
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)), "the reply names another request")
	assert.NoError(t, random(c))
}

// everything is one call of each kind.
func everything(c *Client) map[string]func() error {
	o := &object{client: c, id: "x", token: true}
	o.form.Store(&form{wire: &wire.Object{Id: "x", Token: true}})
	session := &object{client: c, id: "y"}
	session.form.Store(&form{wire: &wire.Object{Id: "y", Sealed: []byte{1}}})
	m := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}
	return map[string]func() error{
		"Info":    func() error { _, err := c.Info(ctx); return err },
		"Login":   func() error { _, err := c.Login(ctx, pkcs11.CKU_USER, "", nil); return err },
		"SetPIN":  func() error { _, err := c.SetPIN(ctx, pkcs11.CKU_USER, "", nil, nil); return err },
		"InitPIN": func() error { return c.InitPIN(ctx, nil, nil) },
		"Users":   func() error { _, err := c.ListUsers(ctx, nil); return err },
		"Create":  func() error { _, err := c.Create(ctx, nil, nil); return err },
		"Destroy": func() error { return c.Destroy(ctx, nil, o) },
		"Size":    func() error { _, err := c.Size(ctx, nil, o); return err },
		"Get": func() error {
			_, err := c.Attributes(ctx, nil, o, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
			return err
		},
		"Set":      func() error { return c.SetAttributes(ctx, nil, session, nil) },
		"Find":     func() error { _, err := c.Find(ctx, nil, nil); return err },
		"Generate": func() error { _, err := c.GenerateKey(ctx, nil, m, nil); return err },
		"Pair":     func() error { _, _, err := c.GenerateKeyPair(ctx, nil, m, nil, nil); return err },
		"Wrap":     func() error { _, err := c.WrapKey(ctx, nil, m, o, o); return err },
		"Random":   func() error { return random(c) },
		"Seed":     func() error { return c.Seed(ctx, []byte{1}) },
		"Status":   func() error { _, err := c.Status(ctx, nil); return err },
		"Invite":   func() error { _, err := c.Invite(ctx, nil, time.Hour); return err },
		"Digest":   func() error { _, _, _, err := c.Digest(ctx); return err },
		"Begin": func() error {
			op, err := c.Begin(ctx, nil, 3, m, o)
			if err == nil {
				op.UpdateLen(5)
				op.FinishLen(5)
				_, err = op.Finish(ctx, nil, []byte("x"))
				op.Close()
			}
			return err
		},
	}
}
