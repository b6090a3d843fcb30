package ceremonies

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
)

const (
	manyKeys  = 100
	manyLimit = 3 * time.Minute // for what all nodes take part in, on a machine that they share
)

// TestManyNodes: as many nodes as COFFER_NODES says, on one machine: they join, five vote, keys are made and destroyed, some
// are killed and removed, and all that are left hold the same.
func TestManyNodes(t *testing.T) {
	s := os.Getenv("COFFER_NODES")
	if s == "" {
		t.Skip("a large cluster takes minutes and gigabytes; COFFER_NODES=28 is the largest")
	}
	count, err := strconv.Atoi(s)
	require.NoError(t, err, "COFFER_NODES")
	require.GreaterOrEqual(t, count, 8, "COFFER_NODES")
	c := newCluster(t)
	defer c.end()
	a := c.place(t, "n01")
	code := c.create(t, a)
	a.start(t)
	a.serves(t)
	c.activate(t, a, code)
	began := time.Now()
	var joins []time.Duration
	for i := 2; i <= count; i++ {
		at := time.Now()
		c.join(t, a, fmt.Sprintf("n%02d", i))
		joins = append(joins, time.Since(at))
	}
	t.Logf("%d nodes have joined in %v: each in %s", count-1, time.Since(began).Round(time.Millisecond), spread(joins))
	c.settledIn(t, manyLimit, a, count, 5)
	t.Logf("all are ready and five vote after %v", time.Since(began).Round(time.Millisecond))

	c.certify(t, c.nodes, "timeout = \"30s\"")
	k := c.wide(t)
	cred := user(t, k)
	var made []hsm.Object
	create := func(n int) (took []time.Duration) {
		for range n {
			at := time.Now()
			o, err := k.Create(t.Context(), cred, secretKey(fmt.Sprint("many-", len(made)), make([]byte, 32), true))
			require.NoError(t, err)
			took, made = append(took, time.Since(at)), append(made, o)
		}
		return took
	}
	t.Logf("a key is made in %s", spread(create(manyKeys)))
	nodes, members, err := k.Coverage(t.Context(), cred, made)
	require.NoError(t, err)
	require.EqualValues(t, count, members)
	for _, n := range nodes {
		require.EqualValues(t, count, n, "a key that was made is on every node")
	}
	var took []time.Duration
	for _, o := range made[:manyKeys/2] {
		at := time.Now()
		require.NoError(t, k.Destroy(t.Context(), cred, o))
		took = append(took, time.Since(at))
	}
	made = made[manyKeys/2:]
	t.Logf("a key is destroyed in %s", spread(took))
	c.verified(t)
	for _, n := range []*node{a, c.nodes[count-1]} {
		t.Logf("node %s takes %d MiB", n.name, n.memory(t, "VmRSS")>>20)
	}

	// Two voters and a standby die.
	var dead []*node
	var voting, standing int
	for _, m := range c.settledIn(t, manyLimit, a, count, 5).Members {
		i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == m.Name })
		switch {
		case c.nodes[i] == a:
		case m.Votes && voting < 2:
			voting++
			dead = append(dead, c.nodes[i])
		case !m.Votes && standing < 1:
			standing++
			dead = append(dead, c.nodes[i])
		}
	}
	require.Len(t, dead, 3)
	for _, n := range dead {
		n.kill()
	}
	t.Logf("with three that were just killed, a key is made in %s", spread(create(20)))
	for _, n := range dead {
		at := time.Now()
		c.coffer(t, "cluster", "remove", n.name, "--yes", "--socket", a.sock)
		t.Logf("%s was removed in %v", n.name, time.Since(at).Round(time.Millisecond))
		c.nodes = slices.DeleteFunc(c.nodes, func(x *node) bool { return x == n })
	}
	at := time.Now()
	c.settledIn(t, manyLimit, a, count-3, 5)
	t.Logf("five vote again %v later", time.Since(at).Round(time.Millisecond))
	c.certify(t, c.nodes, "timeout = \"30s\"")
	t.Logf("then a key is made in %s", spread(create(20)))
	for _, o := range made {
		_, err := mac(t, k, cred, o, "x")
		require.NoError(t, err)
	}
	c.verified(t)
}

// spread tells the median and the longest.
func spread(took []time.Duration) string {
	took = slices.Sorted(slices.Values(took))
	return fmt.Sprintf("%v at the median and %v at most", took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}
