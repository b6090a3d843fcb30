package client

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func tokenObject(c *Client, id string) *object {
	o := &object{client: c, id: id, token: true, private: true}
	o.form.Store(&form{wire: &wire.Object{Id: id, Token: true, Private: true}})
	return o
}

func steps(nodes ...*fake) (out []*wire.Step) {
	for _, q := range all(nodes...) {
		if q.GetStep() != nil {
			out = append(out, q.GetStep())
		}
	}
	return out
}

func TestHashIsMadeHere(t *testing.T) {
	c, nodes := with(t, begunHash, 1)
	data := make([]byte, 100_000)
	rand.New(rand.NewSource(1)).Read(data)
	sum := sha256.Sum256(data)

	op := begin(t, c, hsm.OpSign)
	for part := range chunks(data, 999) {
		_, err := op.Update(ctx, nil, part)
		require.NoError(t, err)
	}
	size, exact := op.FinishLen(0)
	assert.Equal(t, 39, size)
	assert.True(t, exact)
	signature, err := op.Finish(ctx, []byte("before "), nil)
	require.NoError(t, err)
	assert.Equal(t, append([]byte("before signed "), sum[:]...), signature)

	op = begin(t, c, hsm.OpVerify)
	require.NoError(t, op.Verify(ctx, data, signature[7:]))
	op = begin(t, c, hsm.OpVerify)
	assert.Equal(t, pkcs11.CKR_SIGNATURE_INVALID, pkcs11.RVOf(op.Verify(ctx, data, []byte("x"))))
	for _, s := range steps(nodes...) {
		assert.Equal(t, sum[:], s.Data, "the data stay here")
	}
	assert.Len(t, steps(nodes...), 3)
}

func TestEveryHash(t *testing.T) {
	for name := range hashes {
		h := newHash(name)
		assert.Positive(t, h.Size(), name)
		_, ok := h.(encoding.BinaryMarshaler)
		assert.True(t, ok, "%s can go on at a node", name)
	}
	assert.Nil(t, newHash("MD5"))
	assert.Len(t, hashes, 11)
}

func TestDigest(t *testing.T) {
	c, nodes := with(t, begunHash, 2)
	begin := func() hsm.Operation {
		op, err := c.Begin(ctx, nil, hsm.OpDigest, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256}, nil)
		require.NoError(t, err)
		return op
	}
	op := begin()
	size, exact := op.FinishLen(5)
	assert.Equal(t, 32, size)
	assert.True(t, exact)
	_, err := op.Update(ctx, nil, []byte("ab"))
	require.NoError(t, err)
	got, err := op.Finish(ctx, nil, []byte("c"))
	require.NoError(t, err)
	assert.Equal(t, mac([]byte("abc")), got)
	assert.Empty(t, steps(nodes...))

	op = begin()
	_, err = op.Update(ctx, nil, []byte("ab"))
	require.NoError(t, err)
	require.NoError(t, op.DigestKey(ctx, nil, tokenObject(c, "k")))
	_, err = op.Update(ctx, nil, []byte("c"))
	require.NoError(t, err)
	require.NoError(t, op.DigestKey(ctx, nil, tokenObject(c, "k")))
	got, err = op.Finish(ctx, nil, []byte("d"))
	require.NoError(t, err)
	want := fmt.Sprintf("%x|the keycthe keyd", mac([]byte("ab")))
	assert.Equal(t, mac([]byte(want)), got)
	assert.Error(t, op.DigestKey(ctx, nil, tokenObject(c, "k")), "it is over")
}

// TestEverySplit: whatever the parts, the result is that of one part, and Update gives what UpdateLen has announced.
func TestEverySplit(t *testing.T) {
	for name, what := range map[string]*wire.Begun{"blocks": begunBlocks, "hold": begunHold, "ctr": begunCTR, "mac": begunMAC, "gathered": begunAEAD} {
		t.Run(name, func(t *testing.T) {
			c, _ := with(t, what, 2)
			data := make([]byte, 160)
			rand.New(rand.NewSource(2)).Read(data)
			whole, err := begin(t, c, hsm.OpEncrypt).Finish(ctx, nil, data)
			require.NoError(t, err)
			for _, size := range []int{1, 7, 15, 16, 17, 32, 160} {
				op := begin(t, c, hsm.OpEncrypt)
				var out []byte
				for part := range chunks(data, size) {
					n := op.UpdateLen(len(part))
					before := len(out)
					out, err = op.Update(ctx, out, part)
					require.NoError(t, err)
					require.Len(t, out, before+n)
				}
				bound, exact := op.FinishLen(0)
				before := len(out)
				out, err = op.Finish(ctx, out, nil)
				require.NoError(t, err)
				assert.Equal(t, whole, out)
				if exact && what != begunAEAD {
					assert.Equal(t, bound, len(out)-before)
				}
			}
		})
	}
}

func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func TestLargeDataGoInPieces(t *testing.T) {
	data := make([]byte, 2*wire.MaxPart+5)
	rand.New(rand.NewSource(3)).Read(data)
	t.Run("mac", func(t *testing.T) {
		c, nodes := with(t, &wire.Begun{Shape: begunMAC.Shape, Parts: true, Resumable: true}, 1)
		got, err := begin(t, c, hsm.OpSign).Finish(ctx, nil, data)
		require.NoError(t, err)
		assert.Equal(t, mac(data), got)
		assert.Len(t, steps(nodes...), 3)
	})
	t.Run("mac in parts", func(t *testing.T) {
		c, nodes := with(t, begunMAC, 1)
		op := begin(t, c, hsm.OpVerify)
		for part := range chunks(data, 300_001) {
			_, err := op.Update(ctx, nil, part)
			require.NoError(t, err)
		}
		require.NoError(t, op.Verify(ctx, nil, mac(data)))
		assert.Len(t, steps(nodes...), 3, "parts are gathered to full pieces")
		for _, s := range steps(nodes...) {
			assert.LessOrEqual(t, len(s.Data), wire.MaxPart)
		}
	})
	t.Run("cipher", func(t *testing.T) {
		c, nodes := with(t, begunCTR, 1)
		op := begin(t, c, hsm.OpEncrypt)
		out, err := op.Update(ctx, nil, data)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(invert(data), out))
		assert.Len(t, steps(nodes...), 3)
	})
}

func TestGatheringHasALimit(t *testing.T) {
	c, nodes := with(t, begunAEAD, 1)
	for kind, rv := range map[hsm.OpKind]pkcs11.RV{hsm.OpEncrypt: pkcs11.CKR_DATA_LEN_RANGE, hsm.OpDecrypt: pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE} {
		op := begin(t, c, kind)
		part := make([]byte, wire.MaxGathered/2)
		for range 2 {
			_, err := op.Update(ctx, nil, part)
			require.NoError(t, err)
		}
		_, err := op.Update(ctx, nil, []byte{1})
		assert.Equal(t, rv, pkcs11.RVOf(err))
		op.Close()
	}
	op := begin(t, c, hsm.OpEncrypt)
	_, err := op.Finish(ctx, nil, make([]byte, wire.MaxGathered+1))
	assert.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
	assert.Empty(t, steps(nodes...))
}

func TestKeptDataAreWiped(t *testing.T) {
	c, _ := with(t, begunAEAD, 1)
	op := begin(t, c, hsm.OpEncrypt).(*atOnce)
	_, err := op.Update(ctx, nil, []byte("plaintext"))
	require.NoError(t, err)
	b := op.data.b
	op.Close()
	assert.Equal(t, make([]byte, 9), b)
}

func TestOnePart(t *testing.T) {
	c, _ := with(t, begunRaw, 1)
	op := begin(t, c, hsm.OpSign)
	_, err := op.Update(ctx, nil, []byte("x"))
	assert.Equal(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, pkcs11.RVOf(err))
	out, err := begin(t, c, hsm.OpSign).Finish(ctx, nil, []byte("x"))
	require.NoError(t, err)
	assert.Equal(t, mac([]byte("x")), out)
	require.NoError(t, begin(t, c, hsm.OpVerify).Verify(ctx, []byte("x"), out))
}

func TestOversizedRequestIsAnsweredHere(t *testing.T) {
	c, nodes := with(t, begunRaw, 1)
	_, err := c.Create(ctx, nil, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, make([]byte, wire.MaxMessage))})
	assert.Equal(t, pkcs11.CKR_DEVICE_MEMORY, pkcs11.RVOf(err))
	err = begin(t, c, hsm.OpVerify).Verify(ctx, []byte("x"), make([]byte, wire.MaxMessage))
	assert.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
	nodes[0].mu.Lock()
	assert.Equal(t, 1, nodes[0].streams, "the stream lives")
	nodes[0].mu.Unlock()
	assert.Empty(t, steps(nodes...))
}

func TestAuthenticate(t *testing.T) {
	for name, what := range map[string]*wire.Begun{"hash": begunHash, "mac": begunMAC, "once": begunRaw} {
		t.Run(name, func(t *testing.T) {
			what := &wire.Begun{Shape: what.Shape, Hash: what.Hash, Parts: what.Parts, Resumable: what.Resumable, MustAuthenticate: true}
			c, nodes := with(t, what, 1)
			op := begin(t, c, hsm.OpSign)
			require.True(t, op.MustAuthenticate())
			_, err := op.Finish(ctx, nil, []byte("x"))
			assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
			assert.Equal(t, pkcs11.CKR_PIN_INCORRECT, pkcs11.RVOf(op.Authenticate(ctx, []byte("4321"))))
			assert.True(t, op.MustAuthenticate(), "a wrong PIN leaves the operation as it was")
			require.NoError(t, op.Authenticate(ctx, []byte("1234")))
			assert.False(t, op.MustAuthenticate())
			_, err = op.Finish(ctx, nil, []byte("x"))
			require.NoError(t, err)
			s := steps(nodes...)
			assert.Equal(t, []byte("pin"), s[2].State)
			for _, q := range all(nodes...) {
				assert.Equal(t, q.GetStep().GetAct() == wire.Act_ACT_AUTHENTICATE && q.GetStep() != nil, len(q.Operation) == 16)
			}
		})
	}
}

func TestOperationOutlivesANode(t *testing.T) {
	c, nodes := with(t, begunCTR, 2)
	op := begin(t, c, hsm.OpEncrypt)
	out, err := op.Update(ctx, nil, []byte("abc"))
	require.NoError(t, err)
	for i, f := range nodes {
		if i == 1 {
			nodes[0].start()
			eventually(t, func() bool { return state(c, nodes[0]) == "ready" })
		}
		f.stop()
		out, err = op.Update(ctx, out, []byte("def"))
		require.NoError(t, err)
	}
	out, err = op.Finish(ctx, out, []byte("g"))
	require.NoError(t, err)
	assert.Equal(t, invert([]byte("abcdefdefg")), out)
}

func TestWrongAmountOfOutputIsNotPassedOn(t *testing.T) {
	c, nodes := with(t, begunCTR, 1)
	op := begin(t, c, hsm.OpEncrypt)
	nodes[0].answers(func(*wire.Request) *wire.Reply {
		return &wire.Reply{Body: &wire.Reply_Stepped{Stepped: &wire.Stepped{Output: []byte("too much"), State: []byte{1}}}}
	})
	_, err := op.Update(ctx, nil, []byte("abc"))
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err))
	_, err = op.Finish(ctx, nil, nil)
	assert.Equal(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, pkcs11.RVOf(err))
}
