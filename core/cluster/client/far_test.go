package client

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// far is a node's operations in the small: the state is the data that have come, in the clear; what a cipher of whole
// blocks gives is its input inverted, and what a MAC or a signature gives is a hash.
type far struct {
	what *wire.Begun
	key  []byte
}

func (x *far) answer(q *wire.Request) *wire.Reply {
	if q.GetBegin() != nil {
		return &wire.Reply{Body: &wire.Reply_Begun{Begun: x.what}}
	}
	s := q.GetStep()
	out := &wire.Stepped{}
	d, _ := wire.ToDescription(x.what)
	all := append(bytes.Clone(s.State), s.Data...)
	given := d.Shape.UpdateLen(0, len(s.State))
	switch s.Act {
	case wire.Act_ACT_UPDATE:
		out.Output = invert(all[given:d.Shape.UpdateLen(0, len(all))])
		out.State = all
		if len(all) == 0 {
			out.State = []byte{0}
		}
	case wire.Act_ACT_FINISH:
		out.Output = mac(all)
		if d.Shape.Align > 0 {
			out.Output = invert(all[given:])
		}
	case wire.Act_ACT_FINISH_DIGEST:
		out.Output = append([]byte("signed "), s.Data...)
	case wire.Act_ACT_VERIFY, wire.Act_ACT_VERIFY_DIGEST:
		want := mac(all)
		if s.Act == wire.Act_ACT_VERIFY_DIGEST {
			want = append([]byte("signed "), s.Data...)
		}
		if !bytes.Equal(s.Signature, want) {
			return failure(pkcs11.CKR_SIGNATURE_INVALID, wire.Retry_RETRY_NO)
		}
	case wire.Act_ACT_DIGEST_KEY:
		if len(s.DigestState) > 0 {
			h := sha256.New()
			if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.DigestState); err != nil {
				return failure(pkcs11.CKR_SAVED_STATE_INVALID, wire.Retry_RETRY_NO)
			}
			out.State = append([]byte(fmt.Sprintf("%x|", h.Sum(nil))), x.key...)
		} else {
			out.State = append(all, x.key...)
		}
	case wire.Act_ACT_AUTHENTICATE:
		if string(s.Data) != "1234" {
			return failure(pkcs11.CKR_PIN_INCORRECT, wire.Retry_RETRY_NO)
		}
		out.State = []byte("pin")
	}
	return &wire.Reply{Body: &wire.Reply_Stepped{Stepped: out}}
}

func invert(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

func mac(b []byte) []byte { h := sha256.Sum256(b); return h[:] }

var (
	begunHash   = &wire.Begun{Shape: &wire.Shape{Post: 39, Exact: true}, Hash: "SHA-256", Parts: true}
	begunMAC    = &wire.Begun{Shape: &wire.Shape{Post: 32, Exact: true}, Parts: true, Resumable: true}
	begunBlocks = &wire.Begun{Shape: &wire.Shape{Block: 16, Align: 16, Exact: true}, Parts: true, Resumable: true}
	begunHold   = &wire.Begun{Shape: &wire.Shape{Block: 16, Hold: true, Align: 16}, Parts: true, Resumable: true}
	begunCTR    = &wire.Begun{Shape: &wire.Shape{Block: 1, Align: 1, Exact: true}, Parts: true, Resumable: true}
	begunAEAD   = &wire.Begun{Shape: &wire.Shape{Align: 1, Post: 16, Exact: true}, Parts: true}
	begunRaw    = &wire.Begun{Shape: &wire.Shape{Post: 32, Exact: true}}
)

// with returns a client of nodes that do operations so.
func with(t *testing.T, what *wire.Begun, nodes int) (*Client, []*fake) {
	x := &far{what: what, key: []byte("the key")}
	var list []*fake
	for i := range nodes {
		list = append(list, newFake(t, fmt.Sprint("n", i), x.answer))
	}
	return connect(t, Options{}, list...), list
}

func begin(t *testing.T, c *Client, kind hsm.OpKind) hsm.Operation {
	t.Helper()
	op, err := c.Begin(ctx, nil, kind, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, tokenObject(c, "k"))
	require.NoError(t, err)
	t.Cleanup(op.Close)
	return op
}
