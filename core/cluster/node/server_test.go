package node

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func template(attrs ...pkcs11.Attribute) *wire.Template { return wire.FromTemplate(attrs) }

// aesKey makes a session key.
func (c *client) aesKey() *wire.Object {
	c.t.Helper()
	r := c.must(&wire.Request{Body: &wire.Request_GenerateKey{GenerateKey: &wire.GenerateKey{
		Mechanism: &wire.Mechanism{Type: uint64(pkcs11.CKM_AES_KEY_GEN)},
		Template: template(pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)),
			pkcs11.Attr(pkcs11.CKA_ENCRYPT, true), pkcs11.Attr(pkcs11.CKA_DECRYPT, true)),
	}}})
	require.Len(c.t, r.GetObjects().GetObjects(), 1)
	o := r.GetObjects().Objects[0]
	require.NotEmpty(c.t, o.Sealed)
	require.NotEmpty(c.t, o.Head.GetAttributes())
	return o
}

func cbc(iv []byte) *wire.Mechanism {
	return &wire.Mechanism{Type: uint64(pkcs11.CKM_AES_CBC_PAD), Kind: "IV", Parameter: iv}
}

// TestAnOperationGoesFromStreamToStream: nothing of it stays on the node, and what it took comes back.
func TestAnOperationGoesFromStreamToStream(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connected(t, path).withUser()
	key, iv := c.aesKey(), make([]byte, 16)
	plain := []byte("forty bytes of text that nobody may read")
	crypt := func(kind hsm.OpKind, in []byte) (out []byte) {
		var state []byte
		for i, part := range [][]byte{in[:5], in[5:33], in[33:]} {
			on := connected(t, path)
			on.cred = c.cred
			s := &wire.Step{Kind: uint32(kind), Mechanism: cbc(iv), Key: key, State: state, Data: part}
			if i == 2 {
				s.Act = wire.Act_ACT_FINISH
			}
			r := on.must(&wire.Request{Body: &wire.Request_Step{Step: s}}).GetStepped()
			out, state = append(out, r.Output...), r.State
			require.Equal(t, i < 2, len(state) > 0)
		}
		return out
	}
	sealed := crypt(hsm.OpEncrypt, plain)
	require.Len(t, sealed, 48)
	require.Equal(t, plain, crypt(hsm.OpDecrypt, sealed))

	c.refused(pkcs11.CKR_SAVED_STATE_INVALID, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{
		Mechanism: cbc(iv), Key: key, State: []byte("not a state, but long enough to be taken for one"), Data: plain}}})
	c.refused(pkcs11.CKR_KEY_HANDLE_INVALID, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{
		Mechanism: cbc(iv), Key: &wire.Object{Sealed: []byte("no key")}, Data: plain}}})
}

// TestOneOperationIsDoneOnce: sent again, it has the same result.
func TestOneOperationIsDoneOnce(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connected(t, path).withUser()
	operation := make([]byte, 16)
	rand.Read(operation)
	create := func() string {
		r := c.must(&wire.Request{Operation: operation, Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{
			Template: template(pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, true),
				pkcs11.AttrString(pkcs11.CKA_VALUE, "x")),
		}}})
		return r.GetObjects().Objects[0].Id
	}
	require.Equal(t, create(), create())
	found := c.must(&wire.Request{Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{}}})
	require.Len(t, found.GetObjects().Objects, 1)
	require.Positive(t, found.Revision)
}

func TestRevisionsAreWaitedFor(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t), Limits: Limits{CatchUp: 50 * time.Millisecond}})
	c := connected(t, path)
	r := c.must(initTokenRequest())
	info := &wire.Request{MinRevision: r.Revision, Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}}
	require.Equal(t, "token", c.must(info).GetInfo().Label)
	info.Id, info.MinRevision = 0, r.Revision+1000
	c.refused(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, info)
}

func TestWithoutAQuorum(t *testing.T) {
	g := newGroup("")
	_, path := onSocket(t, Options{HSM: newEngine(t), Cluster: g})
	c := connected(t, path).withUser()
	isolated := func(context.Context) (bool, error) { return true, nil }
	g.current.Store(&isolated)
	require.True(t, c.must(&wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}}).Isolated)
	c.aesKey() // a session object changes nothing
	for _, token := range []bool{false, true} {
		q := &wire.Request{Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{Template: template(
			pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_TOKEN, token))}}}
		if token {
			c.refused(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, q)
		} else {
			c.must(q)
		}
	}
	lost := func(context.Context) (bool, error) { return false, errors.New("no lease") }
	g.current.Store(&lost)
	c.refused(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, &wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}})
	c.must(randomQ())
}

// TestASlowLookHoldsUpNobody: while this node catches up, requests that do not depend on it are answered.
func TestASlowLookHoldsUpNobody(t *testing.T) {
	g := newGroup("")
	_, path := onSocket(t, Options{HSM: newEngine(t), Cluster: g, Limits: Limits{CatchUp: time.Hour}})
	c := connected(t, path)
	wait := make(chan struct{})
	slow := func(ctx context.Context) (bool, error) {
		select {
		case <-wait:
		case <-ctx.Done():
		}
		return false, ctx.Err()
	}
	g.current.Store(&slow)
	const many = 300
	for range many {
		c.send(&wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}})
	}
	require.NoError(t, c.stream.Send(&wire.Request{Id: 9999, Body: pingQ().Body}))
	require.EqualValues(t, 9999, c.receive().Id)
	close(wait)
	for range many {
		require.NoError(t, c.receive().Failure.Err())
	}
}

// TestSlowRequestsHoldUpNobody: key pairs are being made, as many as may be; all else goes on.
func TestSlowRequestsHoldUpNobody(t *testing.T) {
	wait := make(chan struct{})
	h := &hooked{Portable: newEngine(t), generate: func(context.Context) error { <-wait; return pkcs11.CKR_FUNCTION_CANCELED }}
	_, path := onSocket(t, Options{HSM: h})
	c := connected(t, path)
	const many = 40
	for range many {
		c.send(pairQ())
	}
	for range 3 {
		c.must(pingQ())
		c.must(randomQ())
	}
	connected(t, path).must(randomQ())
	close(wait)
	for range many {
		failed(t, pkcs11.CKR_FUNCTION_CANCELED, wire.Retry_RETRY_NO, c.receive())
	}
}

func TestCancelAndDeadline(t *testing.T) {
	begun := make(chan struct{}, 1)
	h := &hooked{Portable: newEngine(t)}
	h.generate = func(ctx context.Context) error { begun <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	h.random = h.generate
	s, path := onSocket(t, Options{HSM: h})
	c := connected(t, path)

	changing := pairQ()
	changing.GetGenerateKeyPair().Private = template(pkcs11.Attr(pkcs11.CKA_TOKEN, true))
	id := c.send(changing)
	<-begun
	require.NoError(t, c.stream.Send(&wire.Request{Id: 1000, Body: &wire.Request_Cancel{Cancel: &wire.Cancel{Id: id}}}))
	r := c.receive()
	require.Equal(t, id, r.Id)
	failed(t, pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_UNKNOWN, r)

	q := randomQ()
	q.TimeoutMs = 1
	id = c.send(q)
	r = c.receive() // it has begun, or was too late to: both are failures
	require.Equal(t, id, r.Id)
	require.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RV(r.GetFailure().GetRv()))

	// The end of a stream cancels what it has asked for.
	select {
	case <-begun:
	default:
	}
	c.send(randomQ())
	<-begun
	require.NoError(t, c.conn.Close())
	require.Eventually(t, func() bool { return s.running.Load() == 0 && s.streams.Load() == 0 }, patience, time.Millisecond)
	require.Equal(t, s.limits.Bytes, s.bytes.free)
}

func TestAPanicIsOneRequestsFailure(t *testing.T) {
	var book logbook
	h := &hooked{Portable: newEngine(t), random: func(context.Context) error { panic("the value is a secret") }}
	s, path := onSocket(t, Options{HSM: h, Log: book.add})
	c := connected(t, path)
	for range 3 {
		c.refused(pkcs11.CKR_GENERAL_ERROR, wire.Retry_RETRY_NO, randomQ())
	}
	c.must(pingQ())
	log := strings.Join(book.all(), "\n")
	require.Contains(t, log, "Random: panic of type string")
	require.Contains(t, log, "server_test.go")
	require.NotContains(t, log, "secret")
	require.NoError(t, s.Shutdown(context.Background())) // what it had taken was given back
}

func TestNumbersOfRequests(t *testing.T) {
	wait := make(chan struct{})
	h := &hooked{Portable: newEngine(t), random: func(context.Context) error { <-wait; return nil }}
	_, path := onSocket(t, Options{HSM: h})
	c := connected(t, path)
	q := randomQ()
	q.Id = 77
	c.send(q)
	c.refused(pkcs11.CKR_ARGUMENTS_BAD, wire.Retry_RETRY_NO, &wire.Request{Id: 77, Body: randomQ().Body})
	require.NoError(t, c.stream.Send(&wire.Request{Body: randomQ().Body}))
	failed(t, pkcs11.CKR_ARGUMENTS_BAD, wire.Retry_RETRY_NO, c.receive())
	close(wait)
	require.NoError(t, c.receive().Failure.Err())
	c.must(&wire.Request{Id: 77, Body: randomQ().Body}) // it may be used again
}

func TestGreeting(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t), Cluster: newGroup(""), Version: "1.2"})
	cc := dial(t, path, nil)
	for name, c := range map[string]struct {
		first *wire.Request
		code  codes.Code
	}{
		"of a later protocol": {&wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{Protocol: wire.Protocol + 7}}}, codes.OK},
		"of none":             {&wire.Request{Id: 1, Body: &wire.Request_Hello{Hello: &wire.Hello{}}}, codes.FailedPrecondition},
		"left out":            {pingQ(), codes.FailedPrecondition},
		"empty":               {&wire.Request{}, codes.FailedPrecondition},
	} {
		t.Run(name, func(t *testing.T) {
			on := opening(t, cc)
			require.NoError(t, on.stream.Send(c.first))
			r, err := on.stream.Recv()
			require.Equal(t, c.code, status.Code(err), "%v", err)
			if c.code == codes.OK {
				require.EqualValues(t, wire.Protocol, r.GetHello().Protocol)
				require.Equal(t, "cluster", r.GetHello().Cluster)
				require.Equal(t, "1.2", r.GetHello().Version)
				require.NotEmpty(t, r.GetHello().Mechanisms)
			}
		})
	}
}

func TestDraining(t *testing.T) {
	wait, begun := make(chan struct{}), make(chan struct{}, 1)
	h := &hooked{Portable: newEngine(t), random: func(context.Context) error { begun <- struct{}{}; <-wait; return nil }}
	g := newGroup("cluster")
	s, path := onSocket(t, Options{HSM: h, Cluster: g})
	c := connected(t, path)
	info := func() *wire.Request { return &wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}} }
	c.send(randomQ())
	<-begun
	s.Drain(true)
	c.refused(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, info())
	c.must(pingQ())
	list := c.must(&wire.Request{Body: &wire.Request_Members{Members: &wire.Members{}}}).GetMembersList()
	require.True(t, list.Members[0].Draining)
	require.False(t, g.Members().Members[0].Draining)
	s.Drain(false)
	c.must(info())
	g.draining.Store(true)
	c.refused(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, info())

	// What runs is still answered, and then the stream ends.
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	close(wait)
	require.NoError(t, c.receive().Failure.Err())
	why, err := c.stream.Recv()
	if overFrames {
		require.NoError(t, err)
		require.Zero(t, why.Id)
		failed(t, pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_ELSEWHERE, why)
	} else {
		require.Equal(t, codes.Unavailable, status.Code(err))
	}
	require.NoError(t, c.conn.Close())
	require.NoError(t, <-ended)
	s.Close()
}

func TestShutdownHasAnEnd(t *testing.T) {
	begun := make(chan struct{}, 1)
	h := &hooked{Portable: newEngine(t), random: func(ctx context.Context) error { begun <- struct{}{}; <-ctx.Done(); return ctx.Err() }}
	s, path := onSocket(t, Options{HSM: h})
	connected(t, path).send(randomQ())
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
}

// TestAClientMayStopAsking: it gets the rest of its answers. Frames have no such end.
func TestAClientMayStopAsking(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := greeted(t, dial(t, path, nil))
	for range 50 {
		c.send(randomQ())
	}
	require.NoError(t, c.stream.CloseSend())
	for range 50 {
		require.Len(t, c.receive().GetBytes().Bytes, 16)
	}
	_, err := c.stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestLogout(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connected(t, path).withUser()
	c.must(&wire.Request{Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}})
	renewed := c.must(&wire.Request{Body: &wire.Request_Renew{Renew: &wire.Renew{}}}).GetCredential()
	require.NotEqual(t, c.cred, renewed.Sealed)
	c.must(&wire.Request{Body: &wire.Request_Logout{Logout: &wire.Logout{}}})
	c.cred = renewed.Sealed
	c.must(&wire.Request{Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}})
	c.cred = append([]byte{}, renewed.Sealed...)
	c.cred[20] ^= 1
	c.refused(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}})
}
