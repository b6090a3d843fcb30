package node

import (
	"context"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// of is what was counted of one kind.
func (n Stats) of(t testing.TB, name string) Kind {
	t.Helper()
	i := slices.IndexFunc(n.Kinds, func(k Kind) bool { return k.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return n.Kinds[i]
}

func TestEveryKindHasANameOfItsOwn(t *testing.T) {
	names := KindNames()
	require.Len(t, names, len(rows)+int(hsm.NumOpKinds)+3)
	require.NotContains(t, names, "")
	slices.Sort(names)
	require.Len(t, slices.Compact(names), len(names))
	require.Len(t, AnswerNames(), len(pkcs11.RVs())+2)
}

// TestRequestsAreCountedByKindAndAnswer: a reply that a client has is counted.
func TestRequestsAreCountedByKindAndAnswer(t *testing.T) {
	h := &hooked{Portable: newEngine(t)}
	s, path := onSocket(t, Options{HSM: h})
	c := connected(t, path).withUser()
	key := c.aesKey()
	step := func(kind hsm.OpKind, act wire.Act, data string) *wire.Request {
		return &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{Kind: uint32(kind), Act: act, Mechanism: cbc(make([]byte, 16)), Key: key, Data: []byte(data)}}}
	}
	wrongPIN := func() *wire.Request {
		return &wire.Request{Body: &wire.Request_Login{Login: &wire.Login{User: uint64(pkcs11.CKU_SO), Pin: []byte("a wrong PIN")}}}
	}
	before := s.Stats()
	for range 3 {
		c.must(randomQ())
	}
	c.must(step(hsm.OpEncrypt, wire.Act_ACT_FINISH, "whole"))
	c.must(step(hsm.OpEncrypt, wire.Act_ACT_UPDATE, "a part"))
	c.refused(pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, wire.Retry_RETRY_NO, step(hsm.OpDecrypt, wire.Act_ACT_FINISH, "no block"))
	c.refused(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, wire.Retry_RETRY_NO, step(hsm.NumOpKinds, wire.Act_ACT_FINISH, ""))
	c.refused(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, wire.Retry_RETRY_NO, &wire.Request{})
	c.refused(pkcs11.CKR_PIN_INCORRECT, wire.Retry_RETRY_NO, wrongPIN())
	h.random = func(context.Context) error { return pkcs11.RV(0x80004711) }
	c.refused(pkcs11.RV(0x80004711), wire.Retry_RETRY_NO, randomQ())
	after := s.Stats()

	for _, w := range []struct {
		kind, answer string
		n            uint64
	}{
		{"Random", "CKR_OK", 3}, {"Random", "other", 1}, {"Encrypt", "CKR_OK", 1}, {"Update", "CKR_OK", 1},
		{"Decrypt", "CKR_ENCRYPTED_DATA_LEN_RANGE", 1}, {"Decrypt", "CKR_OK", 0}, {"Step", "CKR_FUNCTION_NOT_SUPPORTED", 1},
		{"Unknown", "CKR_FUNCTION_NOT_SUPPORTED", 1}, {"Login", "CKR_PIN_INCORRECT", 1}, {"Login", "CKR_OK", 0},
	} {
		require.Equal(t, w.n, after.of(t, w.kind).Answers[w.answer]-before.of(t, w.kind).Answers[w.answer], "%s %s", w.kind, w.answer)
	}
	for _, k := range after.Kinds {
		var n uint64
		for answer, m := range k.Answers {
			require.Contains(t, AnswerNames(), answer)
			n += m
		}
		require.Equal(t, n, k.Took.Count, k.Name)
		require.Equal(t, n > 0, k.Took.Sum > 0, k.Name)
	}
}

// TestWhatRunsAndWaitsIsTold, and what nobody waits for any more is counted once it has ended.
func TestWhatRunsAndWaitsIsTold(t *testing.T) {
	atOnce := max(2, runtime.GOMAXPROCS(0)) // of the heavy lane
	ended, wait := make(chan struct{}, atOnce), make(chan struct{})
	h := &hooked{Portable: newEngine(t), generate: func(ctx context.Context) error {
		<-ctx.Done()
		ended <- struct{}{}
		<-wait
		return pkcs11.CKR_FUNCTION_CANCELED
	}}
	s, path := onSocket(t, Options{HSM: h, Limits: Limits{Patience: 10 * time.Millisecond, Running: 100}})
	c := connected(t, path)
	for range atOnce + 3 {
		c.send(pairQ())
	}
	var now Stats
	require.Eventually(t, func() bool { now = s.Stats(); return now.Running == atOnce && now.Waiting == 3 }, patience, time.Millisecond)
	require.Equal(t, 1, now.Streams)
	require.EqualValues(t, 1, now.Opened)
	require.Positive(t, now.Bytes)
	require.Equal(t, defaultLimits.Bytes, now.BytesMost)
	require.NoError(t, c.conn.Close())
	for range atOnce { // the node knows that the client has gone
		<-ended
	}
	require.Zero(t, s.Stats().of(t, "GenerateKeyPair").Took.Count)
	close(wait)
	require.Eventually(t, func() bool { now = s.Stats(); return now.Streams == 0 && now.Running == 0 }, patience, time.Millisecond)
	require.EqualValues(t, atOnce+3, now.of(t, "GenerateKeyPair").Took.Count)
	require.EqualValues(t, 3, now.of(t, "GenerateKeyPair").Answers["none"], "those that were not begun")
	require.Zero(t, now.Bytes)
	require.Zero(t, now.Waiting)
}

func TestRefusalsAreCountedByWhy(t *testing.T) {
	s, path := onSocket(t, Options{HSM: newEngine(t), Limits: Limits{Streams: 1, Running: 1, Patience: time.Millisecond}})
	require.Equal(t, map[string]uint64{"too-many": 0, "not-allowed": 0, "no-tls": 0, "old-protocol": 0}, s.Stats().Refused)
	connected(t, path)
	_, err := opening(t, dial(t, path, nil)).stream.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.EqualValues(t, 1, s.Stats().Refused["too-many"])

	a := newOffice(t)
	onTLSToo, address := onTLS(t, a, Options{HSM: newEngine(t), Cluster: newGroup("n1")})
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return onTLSToo.Stats().Refused["no-tls"] > 0 }, patience, time.Millisecond)
}

// TestCountingCostsNextToNothing: no memory, whatever the answer.
func TestCountingCostsNextToNothing(t *testing.T) {
	n, failed := newLedger(), &wire.Reply{Failure: &wire.Failure{Rv: uint64(pkcs11.CKR_PIN_INCORRECT)}}
	q := &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{Kind: uint32(hsm.OpSign), Act: wire.Act_ACT_FINISH}}}
	for _, r := range []*wire.Reply{{}, failed, nil} {
		require.Zero(t, testing.AllocsPerRun(100, func() { n.answered(kindOf(&row{}, q.Body), time.Now(), r) }))
	}
}

func BenchmarkCounting(b *testing.B) {
	n := newLedger()
	q := &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{Kind: uint32(hsm.OpSign), Act: wire.Act_ACT_FINISH}}}
	r := &wire.Reply{}
	for b.Loop() {
		n.answered(kindOf(&row{}, q.Body), time.Now(), r)
	}
}
