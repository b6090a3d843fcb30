package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWhatIsSecretOfMessagesIsWiped: values of objects, wherever they come, and what a derivation joins to a key.
func TestWhatIsSecretOfMessagesIsWiped(t *testing.T) {
	value := func() ([]byte, *wire.Template) {
		b := []byte("a secret")
		return b, wire.FromTemplate(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.Attr(pkcs11.CKA_VALUE, b)})
	}
	for name, f := range map[string]func() []byte{
		"create": func() []byte {
			b, v := value()
			wipeRequest(&wire.Request{Body: &wire.Request_CreateObject{CreateObject: &wire.CreateObject{Template: v}}})
			return b
		},
		"copy": func() []byte {
			b, v := value()
			wipeRequest(&wire.Request{Body: &wire.Request_CopyObject{CopyObject: &wire.CopyObject{Template: v}}})
			return b
		},
		"set": func() []byte {
			b, v := value()
			wipeRequest(&wire.Request{Body: &wire.Request_SetAttributes{SetAttributes: &wire.SetAttributes{Template: v}}})
			return b
		},
		"find": func() []byte {
			b, v := value()
			wipeRequest(&wire.Request{Body: &wire.Request_FindObjects{FindObjects: &wire.FindObjects{Template: v}}})
			return b
		},
		"derive": func() []byte {
			b, _ := value()
			wipeRequest(&wire.Request{Body: &wire.Request_DeriveKey{DeriveKey: &wire.DeriveKey{Mechanism: &wire.Mechanism{Parameter: b}}}})
			return b
		},
		"an object's head": func() []byte {
			b, v := value()
			wipeReply(&wire.Reply{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: []*wire.Object{{Head: v}}}}})
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := f()
			require.Equal(t, make([]byte, len(b)), b)
		})
	}
}
