package engine

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// fill puts n AES keys and the halves of n EC pairs into the store, without an index following each.
func fill(t testing.TB, g *group, n int) {
	t.Helper()
	e, _, _, user := g.ready()
	keep := func(f fresh, err error) store.Op {
		require.NoError(t, err)
		op, err := e.sealNew(f)
		require.NoError(t, err)
		return op
	}
	var ops []store.Op
	for i := range n {
		own := []pkcs11.Attribute{onToken, pkcs11.AttrString(pkcs11.CKA_LABEL, fmt.Sprintf("application key %d", i)), pkcs11.AttrString(pkcs11.CKA_ID, fmt.Sprint(i))}
		row := e.opts.Mechanisms.Mechanism(pkcs11.CKM_AES_KEY_GEN)
		draft, err := e.draft(user, row, pkcs11.CKO_SECRET_KEY, append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)}, own...))
		require.NoError(t, err)
		material, err := row.Generate(nil, draft.Template())
		require.NoError(t, err)
		ops = append(ops, keep(e.finish(nil, draft, material, ownMaterial)))

		row = e.opts.Mechanisms.Mechanism(pkcs11.CKM_EC_KEY_PAIR_GEN)
		pub, err := e.draft(user, row, pkcs11.CKO_PUBLIC_KEY, append(pkcs11.Template{onP256}, own...))
		require.NoError(t, err)
		priv, err := e.draft(user, row, pkcs11.CKO_PRIVATE_KEY, own)
		require.NoError(t, err)
		pubMaterial, privMaterial, err := row.GeneratePair(nil, pub.Template(), priv.Template())
		require.NoError(t, err)
		ops = append(ops, keep(e.finish(nil, pub, pubMaterial, ownMaterial)), keep(e.finish(nil, priv, privMaterial, ownMaterial)))
		if len(ops) > 120 || i == n-1 {
			_, err := g.store.Commit(bg, nil, ops)
			require.NoError(t, err)
			ops = ops[:0]
		}
	}
}

// BenchmarkStart measures how long a node takes to read its objects, and what they take in memory: a third of them AES keys, the
// others EC pairs.
func BenchmarkStart(b *testing.B) {
	const objects = 99_999
	g := newGroup(b)
	fill(b, g, objects/3)
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		e := g.node()
		b.ReportMetric((heap()-before)/objects, "B/object")
		require.Equal(b, objects, e.objects.Len())
		require.NoError(b, e.Close())
	}
}

// TestANodeOpensSecretsAtTheirFirstUse: not all of them when it starts.
func TestANodeOpensSecretsAtTheirFirstUse(t *testing.T) {
	g := newGroup(t)
	fill(t, g, 1)
	e := g.node()
	found := e.objects.Candidates(nil)
	require.Len(t, found, 3)
	for _, n := range found {
		v := n.current.Load()
		require.Equal(t, v.head.Class() == pkcs11.CKO_PUBLIC_KEY, v.opened.Load())
		require.Nil(t, v.secret)
	}
}
