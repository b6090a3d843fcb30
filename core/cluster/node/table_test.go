package node

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// bodies returns a request with each body that the protocol has, by name.
func bodies() map[string]*wire.Request {
	list := map[string]*wire.Request{}
	fields := (&wire.Request{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	for i := range fields.Len() {
		q := &wire.Request{}
		q.ProtoReflect().Set(fields.Get(i), protoreflect.ValueOfMessage(q.ProtoReflect().NewField(fields.Get(i)).Message()))
		list[string(fields.Get(i).Message().Name())] = q
	}
	return list
}

var ofTheReader = map[string]bool{"Hello": true, "Ping": true, "Cancel": true}

func TestEveryRequestHasARow(t *testing.T) {
	all := bodies()
	for name, q := range all {
		row, has := rows[reflect.TypeOf(q.Body)]
		require.NotEqual(t, ofTheReader[name], has, name)
		if has {
			require.Equal(t, name, row.name)
		}
	}
	require.Len(t, rows, len(all)-len(ofTheReader))
}

// TestWhatTakesLongHasItsLane: what may keep a processor for seconds is never among what waits for the store, and only a PIN is
// counted.
func TestWhatTakesLongHasItsLane(t *testing.T) {
	generate := func(m pkcs11.MechanismType) any {
		return &wire.Request_GenerateKey{GenerateKey: &wire.GenerateKey{Mechanism: &wire.Mechanism{Type: uint64(m)}}}
	}
	step := func(a wire.Act) any { return &wire.Request_Step{Step: &wire.Step{Act: a}} }
	for _, c := range []struct {
		body   any
		lane   int
		effect effect
	}{
		{generate(pkcs11.CKM_AES_KEY_GEN), storing, none},
		{generate(pkcs11.CKM_PKCS5_PBKD2), heavy, none},
		{generate(pkcs11.CKM_DSA_PARAMETER_GEN), heavy, none},
		{&wire.Request_GenerateKeyPair{}, heavy, none},
		{step(wire.Act_ACT_FINISH), quick, none},
		{step(wire.Act_ACT_AUTHENTICATE), heavy, counts},
		{&wire.Request_Login{}, heavy, counts},
	} {
		r := rows[reflect.TypeOf(c.body)]
		require.Equal(t, c.lane, r.laneOf(c.body), "%v", c.body)
		require.Equal(t, c.effect, r.effectOf(c.body), "%v", c.body)
	}
}

// TestEveryRequestIsAnswered sends each body empty: whatever it comes to, the node answers, and lives.
func TestEveryRequestIsAnswered(t *testing.T) {
	for _, state := range []string{"without a token", "logged in"} {
		var book logbook
		_, path := onSocket(t, Options{HSM: newEngine(t), Log: book.add})
		c := connected(t, path)
		if state == "logged in" {
			c.withUser()
		}
		for name, q := range bodies() {
			if name == "Cancel" || name == "Hello" {
				continue
			}
			r := c.ask(q)
			require.NotEqual(t, pkcs11.CKR_GENERAL_ERROR, pkcs11.RV(r.GetFailure().GetRv()), "%s %s: %v %v", name, state, r.Failure, book.all())
			require.True(t, (r.Failure == nil) != (r.Body == nil), name)
		}
	}
}

func TestOneWhoAsksTooMuchIsTold(t *testing.T) {
	_, path := onSocket(t, Options{HSM: newEngine(t)})
	c := connected(t, path)
	for rv, q := range map[pkcs11.RV]*wire.Request{
		pkcs11.CKR_ARGUMENTS_BAD:          {Operation: []byte("short"), Body: randomQ().Body},
		pkcs11.CKR_FUNCTION_NOT_SUPPORTED: {},
		pkcs11.CKR_USER_NOT_LOGGED_IN:     {Body: &wire.Request_Invite{Invite: &wire.Invite{}}},
	} {
		c.refused(rv, wire.Retry_RETRY_NO, q)
	}
	c.refused(pkcs11.CKR_ARGUMENTS_BAD, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Random{Random: &wire.Random{Bytes: 1 << 31}}})
	c.refused(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, &wire.Request{Credential: make([]byte, 1<<20), Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}})
	c.refused(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Await{Await: &wire.Await{}}})
	c.refused(pkcs11.CKR_USER_NOT_LOGGED_IN, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Coverage{Coverage: &wire.Coverage{Ids: []string{"x"}}}})
	c.refused(pkcs11.CKR_KEY_HANDLE_INVALID, wire.Retry_RETRY_NO, &wire.Request{Body: &wire.Request_Begin{Begin: &wire.Begin{Kind: 3, Mechanism: &wire.Mechanism{Type: uint64(pkcs11.CKM_ECDSA)}}}})
}
