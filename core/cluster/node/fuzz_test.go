package node

import (
	"testing"

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
