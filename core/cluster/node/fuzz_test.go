package node

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// FuzzRequest: no request, however mangled, makes the node panic, hang or end the stream. Those who begin are logged in
// and have a key to work with.
func FuzzRequest(f *testing.F) {
	var book logbook
	_, path := onSocket(f, Options{HSM: newEngine(f), Log: book.add})
	c := connected(f, path).withUser()
	key := c.aesKey()
	for _, q := range bodies() {
		add(f, q)
	}
	iv := make([]byte, 16)
	for act := range acts {
		add(f, &wire.Request{Body: &wire.Request_Step{Step: &wire.Step{Act: act, Mechanism: cbc(iv), Key: key, Data: iv}}})
	}
	add(f, &wire.Request{Body: &wire.Request_Begin{Begin: &wire.Begin{Mechanism: cbc(iv), Key: key}}})
	add(f, &wire.Request{Body: &wire.Request_GetAttributes{GetAttributes: &wire.GetAttributes{Object: key, Types: []uint64{0, 3, 0x102}}}})
	add(f, &wire.Request{Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{Template: template(
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.AttrString(pkcs11.CKA_VALUE, "x"))}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		q := &wire.Request{}
		if proto.Unmarshal(b, q) != nil {
			return
		}
		switch q.Body.(type) {
		case *wire.Request_Hello, *wire.Request_Cancel, *wire.Request_InitToken, *wire.Request_Logout:
			return // no answer, or all would be gone
		}
		q.Id, q.Credential, q.MinRevision, q.TimeoutMs = 0, nil, 0, 0
		on := *c
		on.t = t
		r := on.ask(q)
		c.last = on.last
		if pkcs11.RV(r.GetFailure().GetRv()) == pkcs11.CKR_GENERAL_ERROR {
			t.Fatalf("%v: %v\n%v", q, r.Failure, book.all())
		}
	})
}

func add(f *testing.F, q *wire.Request) {
	b, err := proto.Marshal(q)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

// FuzzFrames: whatever comes over a connection with frames, it ends, and nothing else does.
func FuzzFrames(f *testing.F) {
	var book logbook
	_, path := onSocket(f, Options{HSM: newEngine(f), Log: book.add})
	bystander := connectedByFrames(f, path)
	hello := frameOf(f, &wire.Request{Id: 1, Body: helloQ().Body})
	f.Add([]byte{})
	f.Add([]byte(hello))
	f.Add([]byte(hello + frameOf(f, &wire.Request{Id: 2, Body: randomQ().Body}) + "\x00\x00\x00\x09half"))
	f.Add([]byte(hello + "\xff\xff\xff\xff"))
	for _, q := range bodies() {
		q.Id = 3
		f.Add([]byte(hello + frameOf(f, q) + frameOf(f, q)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer conn.Close()
		_, _ = conn.Write(append([]byte(wire.FramesPreface), b...)) // it may be ended in the middle
		_ = conn.(*net.UnixConn).CloseWrite()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.Copy(io.Discard, conn)
		require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "the node does not end the connection")
		on := *bystander
		on.t = t
		on.must(pingQ())
		bystander.last = on.last
		for _, line := range book.all() {
			require.NotContains(t, line, "panic")
		}
	})
}
