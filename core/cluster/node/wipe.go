package node

import (
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/secret"
)

// wipeRequest overwrites what a request has brought in the clear: PINs, data, key values. No handler keeps any of it.
func wipeRequest(q *wire.Request) {
	switch b := q.Body.(type) {
	case *wire.Request_InitToken:
		secret.Wipe(b.InitToken.GetSoPin())
	case *wire.Request_Login:
		secret.Wipe(b.Login.GetPin())
	case *wire.Request_InitPin:
		secret.Wipe(b.InitPin.GetPin())
	case *wire.Request_SetPin:
		secret.Wipe(b.SetPin.GetOldPin())
		secret.Wipe(b.SetPin.GetNewPin())
	case *wire.Request_CreateUser:
		secret.Wipe(b.CreateUser.GetPin())
	case *wire.Request_ResetPin:
		secret.Wipe(b.ResetPin.GetPin())
	case *wire.Request_CreateObject:
		wipeTemplate(b.CreateObject.GetTemplate())
	case *wire.Request_CopyObject:
		wipeTemplate(b.CopyObject.GetTemplate())
	case *wire.Request_SetAttributes:
		wipeTemplate(b.SetAttributes.GetTemplate())
	case *wire.Request_FindObjects:
		wipeTemplate(b.FindObjects.GetTemplate())
	case *wire.Request_Step:
		secret.Wipe(b.Step.GetData())
		secret.Wipe(b.Step.GetDigestState())
	case *wire.Request_GenerateKey:
		secret.Wipe(b.GenerateKey.GetMechanism().GetParameter())
	case *wire.Request_DeriveKey: // what is joined to a key
		secret.Wipe(b.DeriveKey.GetMechanism().GetParameter())
	case *wire.Request_Seed:
		secret.Wipe(b.Seed.GetSeed())
	}
}

// wipeReply overwrites what a reply that has been sent told in the clear.
func wipeReply(r *wire.Reply) {
	switch b := r.Body.(type) {
	case *wire.Reply_Stepped:
		secret.Wipe(b.Stepped.GetOutput())
	case *wire.Reply_Bytes:
		secret.Wipe(b.Bytes.GetBytes())
	case *wire.Reply_Objects:
		for _, o := range b.Objects.GetObjects() {
			wipeTemplate(o.GetHead())
		}
		for _, output := range b.Objects.GetOutputs() {
			secret.Wipe(output)
		}
	case *wire.Reply_Values:
		for _, v := range b.Values.GetValues() {
			secret.Wipe(v.GetAttribute().GetBytes())
		}
	}
}

// wipeTemplate overwrites the values of a template: those of private data objects are among them.
func wipeTemplate(t *wire.Template) {
	for _, a := range t.GetAttributes() {
		secret.Wipe(a.GetBytes())
	}
}
