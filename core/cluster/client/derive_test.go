package client

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestDerivationsBelieveNoNode: an answer has a key for each place, and each output, or it is none.
func TestDerivationsBelieveNoNode(t *testing.T) {
	key := func(id string) *wire.Object { return &wire.Object{Id: id, Token: true} }
	absent := &wire.Object{}
	reply := func(outputs int, list ...*wire.Object) *wire.Reply {
		return &wire.Reply{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{Objects: list, Outputs: make([][]byte, outputs)}}}
	}
	block := pkcs11.PlacesOf(&pkcs11.TLS12KeyMatParams{Made: &pkcs11.SSL3KeyMatOut{}})
	more := pkcs11.PlacesOf(&pkcs11.SP800108KDFParams{More: make([]pkcs11.DerivedKey, 2)})
	c := &Client{}
	for name, bad := range map[string]struct {
		r  *wire.Reply
		at pkcs11.Places
	}{
		"another body":       {&wire.Reply{}, more},
		"nothing":            {reply(0), more},
		"too few keys":       {reply(0, key("a"), key("b")), more},
		"too many keys":      {reply(0, key("a"), key("b"), key("c"), key("d")), more},
		"no key of the call": {reply(0, absent, key("b"), key("c")), more},
		"a missing output":   {reply(1, key("a"), key("b"), key("c"), key("d")), block},
		"a key too many":     {reply(2, key("a"), key("b"), key("c"), key("d"), key("e")), block},
		"outputs unasked":    {reply(1, key("a"), key("b"), key("c")), more},
	} {
		_, err := c.derived(bad.r, bad.at)
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err), "%s: %v", name, err)
	}
	d, err := c.derived(reply(2, absent, absent, key("c"), key("d")), block)
	require.NoError(t, err)
	assert.Nil(t, d.Key)
	require.Len(t, d.More, 4)
	assert.Nil(t, d.More[0])
	assert.Equal(t, "d", d.More[3].ID())
	assert.Equal(t, [][]byte{nil, nil}, d.Outputs, "outputs that nobody wants")
	d, err = c.derived(reply(0, key("a"), key("b"), key("c")), more)
	require.NoError(t, err)
	assert.Equal(t, "a", d.Key.ID())
	assert.Equal(t, "c", d.More[1].ID())
}
