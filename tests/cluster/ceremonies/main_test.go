package ceremonies

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, c := range all {
		c.end()
	}
	os.Exit(code)
}

var three *cluster

// shared is the cluster of three nodes that most tests have in common: a test leaves it whole.
func shared(t testing.TB) *cluster {
	t.Helper()
	if three == nil {
		began := time.Now()
		c := newCluster(t)
		a := c.place(t, "a")
		code := c.create(t, a)
		a.start(t)
		a.serves(t)
		c.activate(t, a, code)
		c.join(t, a, "b")
		c.join(t, a, "c")
		c.certify(t, c.nodes, "expose_nodes = true")
		three = c
		t.Logf("the cluster was made in %v", time.Since(began))
	}
	for _, n := range three.nodes {
		if n.cmd == nil { // a test that failed has left it so
			n.start(t)
		}
		require.True(t, n.runs(), "node %s has ended:\n%s", n.name, n.tail())
	}
	three.nodes[0].serves(t)
	three.settled(t, three.nodes[0], 3, 3)
	return three
}
