package client

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// desk is a node's logins and session objects in the small.
type desk struct {
	lifetime uint32
	issued   atomic.Int64
	refuse   atomic.Bool
}

func (d *desk) answer(q *wire.Request) *wire.Reply {
	if d.refuse.Load() {
		return failure(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO)
	}
	switch b := q.Body.(type) {
	case *wire.Request_Login, *wire.Request_SetPin, *wire.Request_Renew:
		return &wire.Reply{Body: &wire.Reply_Credential{Credential: &wire.Credential{
			Sealed: fmt.Appendf(nil, "credential %d", d.issued.Add(1)), LifetimeS: d.lifetime}}}
	case *wire.Request_CreateObject:
		t, _ := b.CreateObject.Template.ToTemplate()
		token, _ := t.Bool(pkcs11.CKA_TOKEN)
		o := &wire.Object{Id: "id", Token: token}
		if !token {
			o.Sealed, o.Head = []byte("sealed 0"), b.CreateObject.Template
		}
		return &wire.Reply{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: []*wire.Object{o}}}}
	case *wire.Request_SetAttributes:
		if b.SetAttributes.Object.Token {
			return done(q)
		}
		o := &wire.Object{Id: "id", Sealed: append(b.SetAttributes.Object.Sealed, '+'), Head: b.SetAttributes.Template}
		return &wire.Reply{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: []*wire.Object{o}}}}
	case *wire.Request_GetInfo:
		return &wire.Reply{Body: &wire.Reply_Info{Info: &wire.Info{Label: "token"}}}
	case *wire.Request_ListUsers:
		return &wire.Reply{Body: &wire.Reply_Users{Users: &wire.UserList{Users: []*wire.User{{Type: 1, Name: "anna", Role: "CU"}}}}}
	case *wire.Request_Coverage:
		return &wire.Reply{Body: &wire.Reply_Coverage{Coverage: &wire.CoverageReply{Nodes: make([]uint32, len(b.Coverage.Ids)), Members: 3}}}
	case *wire.Request_Random:
		return eight(q)
	case *wire.Request_Step:
		return &wire.Reply{Body: &wire.Reply_Stepped{Stepped: &wire.Stepped{Output: []byte("o")}}}
	case *wire.Request_Begin:
		return &wire.Reply{Body: &wire.Reply_Begun{Begun: begunRaw}}
	}
	return done(q)
}

func withDesk(t *testing.T, opts Options, lifetime uint32) (*Client, *fake, *desk) {
	d := &desk{lifetime: lifetime}
	a := newFake(t, "a", d.answer)
	return connect(t, opts, a), a, d
}

func TestCredentialIsRenewedWhileHeld(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 3)
	cred, err := c.Login(ctx, pkcs11.CKU_USER, "", []byte("1234"))
	require.NoError(t, err)
	assert.Equal(t, pkcs11.CKU_USER, cred.User())
	eventually(t, func() bool { return len(requests[*wire.Request_Renew](a)) == 1 })
	eventually(t, func() bool {
		_, err := c.ListUsers(ctx, cred)
		require.NoError(t, err)
		got := requests[*wire.Request_ListUsers](a)
		return string(got[len(got)-1].Credential) == "credential 2"
	})
	require.NoError(t, c.Logout(ctx, cred))
	assert.Len(t, requests[*wire.Request_Logout](a), 1)
	assert.Zero(t, held(c))
	_, err = c.ListUsers(ctx, cred)
	assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
	require.NoError(t, c.Logout(ctx, cred))
	assert.Len(t, requests[*wire.Request_Logout](a), 1)
}

func held(c *Client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}

func TestRefusedRenewalIsTheEnd(t *testing.T) {
	c, _, d := withDesk(t, Options{}, 3)
	cred, err := c.Login(ctx, pkcs11.CKU_USER, "", []byte("1234"))
	require.NoError(t, err)
	d.refuse.Store(true)
	eventually(t, func() bool { return cred.(*credential).ended.Load() && held(c) == 0 })
}

func TestCredentialOfAnotherToken(t *testing.T) {
	c, _, _ := withDesk(t, Options{}, 0)
	other, _, _ := withDesk(t, Options{}, 0)
	cred, err := other.Login(ctx, pkcs11.CKU_USER, "", nil)
	require.NoError(t, err)
	_, err = c.ListUsers(ctx, cred)
	assert.Equal(t, pkcs11.CKR_GENERAL_ERROR, pkcs11.RVOf(err))
}

func TestOperationGoesOnUnderTheNewPIN(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	old, err := c.Login(ctx, pkcs11.CKU_USER, "", nil)
	require.NoError(t, err)
	so, err := c.Login(ctx, pkcs11.CKU_SO, "", nil)
	require.NoError(t, err)
	op, err := c.Begin(ctx, old, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, tokenObject(c, "k"))
	require.NoError(t, err)
	_, err = c.SetPIN(ctx, pkcs11.CKU_USER, "", []byte("1"), []byte("2"))
	require.NoError(t, err)
	_, err = c.ListUsers(ctx, old)
	assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
	_, err = c.ListUsers(ctx, so)
	assert.NoError(t, err, "another user's login goes on")
	_, err = op.Finish(ctx, nil, []byte("x"))
	require.NoError(t, err)
	got := requests[*wire.Request_Step](a)
	assert.Equal(t, "credential 3", string(got[0].Credential))
}

func TestOperationEndsWithTheLogin(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	cred, err := c.Login(ctx, pkcs11.CKU_USER, "", nil)
	require.NoError(t, err)
	m := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}
	private, err := c.Begin(ctx, cred, hsm.OpSign, m, tokenObject(c, "k"))
	require.NoError(t, err)
	key := tokenObject(c, "p")
	key.private = false
	public, err := c.Begin(ctx, cred, hsm.OpVerify, m, key)
	require.NoError(t, err)
	require.NoError(t, c.Logout(ctx, cred))
	_, err = private.Finish(ctx, nil, nil)
	assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
	assert.NoError(t, public.Verify(ctx, nil, nil))
	got := requests[*wire.Request_Step](a)
	require.Len(t, got, 1)
	assert.Empty(t, got[0].Credential)
}

func TestSessionObject(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	o, err := c.Create(ctx, nil, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "one")})
	require.NoError(t, err)
	assert.Equal(t, "id", o.ID())
	assert.False(t, o.Token())
	label := func() string { v, _ := o.Attribute(pkcs11.CKA_LABEL); b, _ := v.([]byte); return string(b) }
	assert.Equal(t, "one", label())
	require.NoError(t, c.SetAttributes(ctx, nil, o, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "two")}))
	assert.Equal(t, "two", label())

	var callers sync.WaitGroup
	for range 6 {
		callers.Go(func() {
			assert.NoError(t, c.SetAttributes(ctx, nil, o, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "more")}))
		})
	}
	callers.Wait()
	assert.Equal(t, "sealed 0+++++++", string(o.(*object).form.Load().wire.Sealed), "no change is lost")

	_, err = c.Begin(ctx, nil, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, o)
	require.NoError(t, err)
	got := requests[*wire.Request_Begin](a)
	assert.Equal(t, "sealed 0+++++++", string(got[0].GetBegin().Key.Sealed))
	assert.Nil(t, got[0].GetBegin().Key.Head)

	require.NoError(t, c.Destroy(ctx, nil, o))
	assert.Len(t, requests[*wire.Request_DestroyObject](a), 1, "the node is asked whether it may be")
	assert.Equal(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.RVOf(c.Destroy(ctx, nil, o)))
	_, ok := o.Attribute(pkcs11.CKA_LABEL)
	assert.False(t, ok)

	o, err = c.Create(ctx, nil, nil)
	require.NoError(t, err)
	before := a.count()
	c.Discard(o)
	assert.Equal(t, before, a.count())
	assert.Equal(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.RVOf(c.SetAttributes(ctx, nil, o, nil)))
}

func TestDestroyThatIsRefusedLeavesTheObject(t *testing.T) {
	c, a, d := withDesk(t, Options{}, 0)
	o, err := c.Create(ctx, nil, nil)
	require.NoError(t, err)
	d.refuse.Store(true)
	assert.Error(t, c.Destroy(ctx, nil, o))
	d.refuse.Store(false)
	assert.NoError(t, c.SetAttributes(ctx, nil, o, nil))
	assert.Positive(t, a.count())
}

func TestInfoIsKeptForAWhile(t *testing.T) {
	c, a, d := withDesk(t, Options{}, 0)
	asked := func() int { return len(requests[*wire.Request_GetInfo](a)) }
	ask := func() { _, err := c.Info(ctx); require.NoError(t, err) }
	ask()
	ask()
	assert.Equal(t, 1, asked())
	a.revision.Add(1)
	require.NoError(t, random(c))
	ask()
	assert.Equal(t, 2, asked(), "something has changed")
	d.refuse.Store(true)
	_, err := c.Login(ctx, pkcs11.CKU_USER, "", nil)
	require.Error(t, err)
	d.refuse.Store(false)
	ask()
	assert.Equal(t, 3, asked(), "a wrong PIN shows in the flags")
	i := infoCache{}
	_, _, n := i.get(1, 0)
	i.drop()
	i.put(pkcs11.TokenInfo{}, 1, 0, n)
	_, ok, _ := i.get(1, 0)
	assert.False(t, ok, "what was asked for before the drop is old")
}

func TestReadOnly(t *testing.T) {
	c, a, _ := withDesk(t, Options{ReadOnly: true}, 0)
	info, err := c.Info(ctx)
	require.NoError(t, err)
	assert.NotZero(t, info.Flags&pkcs11.CKF_WRITE_PROTECTED)
	token := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true)}
	o := tokenObject(c, "x")
	m := pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}
	before := a.count()
	for name, f := range map[string]func() error{
		"InitToken": func() error { return c.InitToken(ctx, nil, "") },
		"InitPIN":   func() error { return c.InitPIN(ctx, nil, nil) },
		"SetPIN":    func() error { _, err := c.SetPIN(ctx, pkcs11.CKU_USER, "", nil, nil); return err },
		"Create":    func() error { _, err := c.Create(ctx, nil, token); return err },
		"Generate":  func() error { _, err := c.GenerateKey(ctx, nil, m, token); return err },
		"Pair":      func() error { _, _, err := c.GenerateKeyPair(ctx, nil, m, nil, token); return err },
		"Unwrap":    func() error { _, err := c.UnwrapKey(ctx, nil, m, o, nil, token); return err },
		"Derive":    func() error { _, err := c.DeriveKey(ctx, nil, m, o, nil, token); return err },
		"Encaps":    func() error { _, err := c.EncapsulateKey(ctx, nil, m, o, token, 9); return err },
		"Decaps":    func() error { _, err := c.DecapsulateKey(ctx, nil, m, o, nil, token); return err },
		"Copy":      func() error { _, err := c.Copy(ctx, nil, o, nil); return err },
		"Destroy":   func() error { return c.Destroy(ctx, nil, o) },
		"Set":       func() error { return c.SetAttributes(ctx, nil, o, nil) },
		"User":      func() error { return c.CreateUser(ctx, nil, pkcs11.CKU_USER, "x", nil) },
		"Delete":    func() error { return c.DeleteUser(ctx, nil, pkcs11.CKU_USER, "x") },
		"Reset":     func() error { return c.ResetPIN(ctx, nil, pkcs11.CKU_USER, "x", nil) },
		"Invite":    func() error { _, err := c.Invite(ctx, nil, time.Hour); return err },
		"Remove":    func() error { return c.RemoveMember(ctx, nil, "x") },
		"Drain":     func() error { return c.DrainMember(ctx, nil, "x", true) },
	} {
		assert.Equal(t, pkcs11.CKR_TOKEN_WRITE_PROTECTED, pkcs11.RVOf(f()), name)
	}
	assert.Equal(t, before, a.count(), "nothing was sent")
	_, err = c.Create(ctx, nil, nil)
	require.NoError(t, err, "a session object changes nothing")
	sent, err := requests[*wire.Request_CreateObject](a)[0].GetCreateObject().Template.ToTemplate()
	require.NoError(t, err)
	isToken, said := sent.Bool(pkcs11.CKA_TOKEN)
	assert.True(t, said && !isToken)
}

func TestTextThatCannotBeSent(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	bad := string([]byte{0xff})
	assert.Equal(t, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.RVOf(c.InitToken(ctx, nil, bad)))
	_, err := c.Login(ctx, pkcs11.CKU_USER, bad, nil)
	assert.Equal(t, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.RVOf(err))
	assert.Zero(t, a.count())
}

func TestCoverageOfManyKeys(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	list := make([]hsm.Object, maxCoverage+10)
	for i := range list {
		list[i] = tokenObject(c, fmt.Sprint(i))
	}
	nodes, members, err := c.Coverage(ctx, nil, list)
	require.NoError(t, err)
	assert.Len(t, nodes, len(list))
	assert.EqualValues(t, 3, members)
	assert.Len(t, requests[*wire.Request_Coverage](a), 2)
}

func TestUsers(t *testing.T) {
	c, a, _ := withDesk(t, Options{}, 0)
	users, err := c.ListUsers(ctx, nil)
	require.NoError(t, err)
	assert.Equal(t, []hsm.User{{Type: pkcs11.CKU_USER, Name: "anna", Role: "CU"}}, users)
	require.NoError(t, c.CreateUser(ctx, nil, pkcs11.CKU_USER, "bert", []byte("pin")))
	got := requests[*wire.Request_CreateUser](a)[0]
	assert.Equal(t, "bert", got.GetCreateUser().Name)
	assert.Len(t, got.Operation, 16)
}
