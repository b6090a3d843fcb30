package ceremonies

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// secretKey is the template of an HMAC key.
func secretKey(label string, value []byte, token bool) ck.Template {
	return ck.Template{
		ck.AttrUlong(ck.CKA_CLASS, ck.CKO_SECRET_KEY), ck.AttrUlong(ck.CKA_KEY_TYPE, ck.CKK_GENERIC_SECRET),
		ck.AttrString(ck.CKA_LABEL, label), ck.Attr(ck.CKA_VALUE, value), ck.Attr(ck.CKA_TOKEN, token),
		ck.Attr(ck.CKA_SIGN, true),
	}
}

func hmacOf(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// mac computes an HMAC in the token.
func mac(t testing.TB, h hsm.HSM, cred hsm.Credential, key hsm.Object, data string) ([]byte, error) {
	return macIn(t.Context(), h, cred, key, data)
}

func macIn(ctx context.Context, h hsm.HSM, cred hsm.Credential, key hsm.Object, data string) ([]byte, error) {
	op, err := h.Begin(ctx, cred, hsm.OpSign, ck.Mechanism{Type: ck.CKM_SHA256_HMAC}, key)
	if err != nil {
		return nil, err
	}
	return op.Finish(ctx, nil, []byte(data))
}

// found returns the objects with a label.
func found(t testing.TB, h hsm.HSM, cred hsm.Credential, label string) []hsm.Object {
	t.Helper()
	list, err := h.Find(t.Context(), cred, ck.Template{ck.AttrString(ck.CKA_LABEL, label)})
	require.NoError(t, err)
	return list
}

// view is one node's own view of the token, with the crypto user logged in.
type view struct {
	*client.Client
	cred hsm.Credential
	node *node
}

func (c *cluster) views(t testing.TB) (list []view) {
	t.Helper()
	for _, n := range c.nodes {
		k := c.through(t, n)
		list = append(list, view{k, user(t, k), n})
	}
	return list
}

// TestSameThroughEachNode: one token, whichever node shows it: its serial number, its label and the identity of its objects.
func TestSameThroughEachNode(t *testing.T) {
	c := shared(t)
	views := c.views(t)
	made, err := views[1].Create(t.Context(), views[1].cred, secretKey("same", make([]byte, 32), true))
	require.NoError(t, err)
	defer views[0].Destroy(t.Context(), views[0].cred, made)
	first, err := views[0].Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ceremony", first.Label)
	for _, v := range views {
		info, err := v.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, first.Serial, info.Serial)
		require.Equal(t, first.Label, info.Label)
		list := found(t, v, v.cred, "same")
		require.Len(t, list, 1)
		require.Equal(t, made.ID(), list[0].ID())
		values, err := v.Attributes(t.Context(), v.cred, list[0], []ck.AttributeType{ck.CKA_UNIQUE_ID})
		require.NoError(t, err)
		require.Equal(t, made.ID(), string(values[0].Value.([]byte)))
	}
}

// TestReadYourWrites: what one node has acknowledged is there through each other, and what one has destroyed is gone from
// every one, without waiting: clients that have never heard of each other share no revision to wait for.
func TestReadYourWrites(t *testing.T) {
	c := shared(t)
	views := c.views(t)
	for i := range 50 {
		maker, breaker := views[i%3], views[(i/3)%3]
		label, value := fmt.Sprintf("ryw-%d", i), []byte(fmt.Sprintf("a secret of thirty-two bytes %03d", i))
		_, err := maker.Create(t.Context(), maker.cred, secretKey(label, value, true))
		require.NoError(t, err)
		mine := make([]hsm.Object, 3)
		for j, v := range views {
			list := found(t, v, v.cred, label)
			require.Len(t, list, 1, "made through %s, looked for through %s", maker.node.name, v.node.name)
			mine[j] = list[0]
			sum, err := mac(t, v, v.cred, mine[j], label)
			require.NoError(t, err)
			require.Equal(t, hmacOf(value, label), sum)
		}
		require.NoError(t, breaker.Destroy(t.Context(), breaker.cred, mine[(i/3)%3]))
		for j, v := range views {
			_, err := mac(t, v, v.cred, mine[j], label)
			answers(t, ck.CKR_KEY_HANDLE_INVALID, err)
			require.Empty(t, found(t, v, v.cred, label))
		}
	}
	c.verified(t)
}

// verified compares the nodes' copies.
func (c *cluster) verified(t testing.TB) {
	t.Helper()
	var v struct {
		Same  bool
		Nodes []struct {
			Node, Sum, Error string
			Objects          int
		}
	}
	c.answer(t, &v, "cluster", "verify")
	require.True(t, v.Same)
	require.Len(t, v.Nodes, len(c.nodes))
	for _, n := range v.Nodes {
		require.Empty(t, n.Error)
		require.Equal(t, v.Nodes[0].Objects, n.Objects)
		require.NotEmpty(t, n.Sum)
	}
}
