package client

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestBeginIsRemembered(t *testing.T) {
	c, nodes := with(t, begunHash, 1)
	a := nodes[0]
	key := tokenObject(c, "k")
	ask := func(kind hsm.OpKind, m pkcs11.Mechanism, o hsm.Object) int {
		before := len(requests[*wire.Request_Begin](a))
		op, err := c.Begin(ctx, nil, kind, m, o)
		require.NoError(t, err)
		op.Close()
		return len(requests[*wire.Request_Begin](a)) - before
	}
	m := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA_SHA256}
	assert.Equal(t, 1, ask(hsm.OpSign, m, key))
	assert.Equal(t, 0, ask(hsm.OpSign, m, key))
	assert.Equal(t, 0, ask(hsm.OpSign, m, tokenObject(c, "k")), "the same object by another handle")
	assert.Equal(t, 1, ask(hsm.OpVerify, m, key))
	assert.Equal(t, 1, ask(hsm.OpSign, m, tokenObject(c, "other")))
	assert.Equal(t, 1, ask(hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{TagBits: 128}}, key))
	assert.Equal(t, 1, ask(hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{TagBits: 96}}, key))
	message := func(iv, aad string, tag uint) pkcs11.Mechanism {
		return pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte(iv), AAD: []byte(aad), TagBits: tag}}
	}
	assert.Equal(t, 1, ask(hsm.OpEncrypt, message("one", "a", 128), key))
	assert.Equal(t, 0, ask(hsm.OpEncrypt, message("two", "b", 128), key), "messages that differ in their vectors")
	assert.Equal(t, 1, ask(hsm.OpEncrypt, message("two", "b", 64), key))
	assert.Equal(t, 1, ask(hsm.OpEncrypt, message("", "b", 64), key), "no vector is another matter")
	a.revision.Add(1)
	a.answers(func(q *wire.Request) *wire.Reply {
		if q.GetRandom() != nil {
			return eight(q)
		}
		return failure(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, wire.Retry_RETRY_NO)
	})
	require.NoError(t, random(c)) // its reply tells that something has changed
	for range 2 {
		_, err := c.Begin(ctx, nil, hsm.OpSign, m, key)
		assert.Equal(t, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.RVOf(err), "a refusal is not remembered")
	}
	for i := range 2 * maxBegun {
		c.begins.put(beginKey{id: fmt.Sprint(i)}, begun{at: c.now()})
	}
	assert.LessOrEqual(t, len(c.begins.said), maxBegun)
}

func TestBeginForgetsAfterASecond(t *testing.T) {
	var b beginCache
	b.put(beginKey{id: "k"}, begun{at: 1, revision: 5})
	_, ok := b.get(beginKey{id: "k"}, cacheTime, 5)
	assert.True(t, ok)
	_, ok = b.get(beginKey{id: "k"}, cacheTime+1, 5)
	assert.False(t, ok)
	_, ok = b.get(beginKey{id: "k"}, 2, 6)
	assert.False(t, ok)
}

func TestBeginNeedsAKeyOfThisToken(t *testing.T) {
	c, _ := with(t, begunRaw, 1)
	m := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}
	_, err := c.Begin(ctx, nil, hsm.OpSign, m, nil)
	assert.Equal(t, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.RVOf(err))
	_, err = c.Begin(ctx, nil, hsm.OpSign, m, tokenObject(&Client{}, "k"))
	assert.Equal(t, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.RVOf(err))
	_, err = c.Begin(ctx, nil, hsm.NumOpKinds, m, tokenObject(c, "k"))
	assert.Error(t, err)
}
