package ceremonies

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// wide is a client of all nodes.
func (c *cluster) wide(t testing.TB) *client.Client {
	t.Helper()
	var addresses []string
	for _, n := range c.nodes {
		addresses = append(addresses, n.addr)
	}
	k, err := client.New(client.Options{Nodes: addresses, TLS: c.tls(t), Timeout: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	return k
}

func stateOf(k *client.Client, address string) string {
	for _, n := range k.Nodes() {
		if n.Address == address {
			return n.State
		}
	}
	return "not there"
}

// TestDrain: clients leave a node that is drained, without a failed request, and come back.
func TestDrain(t *testing.T) {
	c := shared(t)
	b := c.nodes[1]
	k := c.wide(t)
	cred := user(t, k)
	key, err := k.Create(t.Context(), cred, secretKey("drain", make([]byte, 32), true))
	require.NoError(t, err)
	becomes := func(want string) {
		within(t, patience, func() error {
			if _, err := mac(t, k, cred, key, "x"); err != nil {
				t.Fatal(err)
			}
			if state := stateOf(k, b.addr); state != want {
				return fmt.Errorf("the client takes %s to be %s", b.name, state)
			}
			return nil
		})
	}
	becomes("ready")
	c.coffer(t, "cluster", "drain", "b")
	becomes("draining")
	var s status
	c.answer(t, &s, "cluster", "status")
	for _, m := range s.Members {
		require.True(t, m.Votes, "%s goes on voting", m.Name)
		if m.Name == "b" {
			require.Equal(t, "draining", m.State)
		}
	}
	c.coffer(t, "cluster", "drain", "b", "--undo")
	becomes("ready")
	require.NoError(t, k.Destroy(t.Context(), cred, key))
	c.refused(t, "no node", "cluster", "drain", "zebra")
}

// TestStatusAndCoverage: what programs read from the command line.
func TestStatusAndCoverage(t *testing.T) {
	c := shared(t)
	var s status
	c.answer(t, &s, "cluster", "status")
	require.Equal(t, "ceremony", s.Label)
	require.Len(t, s.Cluster, 16)
	require.True(t, s.Quorum)
	require.True(t, s.Activated)
	require.Equal(t, 3, s.Voters)
	require.Positive(t, s.Revision)
	require.Len(t, s.Members, 3)
	leaders := 0
	addresses := map[string]string{}
	for _, n := range c.nodes {
		addresses[n.name] = n.addr
	}
	for _, m := range s.Members {
		require.NotEmpty(t, m.ID)
		require.NotEmpty(t, m.Version)
		require.Equal(t, addresses[m.Name], m.Address)
		if m.Leader {
			leaders++
		}
	}
	require.Equal(t, 1, leaders)

	c.coffer(t, "key", "generate", "--type", "aes:256", "--label", "covered")
	require.Contains(t, c.coffer(t, "key", "list", "covered"), "3/3")
	var keys struct {
		Keys []struct{ Label, Coverage string }
	}
	c.answer(t, &keys, "key", "list", "covered")
	require.Len(t, keys.Keys, 1)
	require.Equal(t, "3/3", keys.Keys[0].Coverage)
	c.coffer(t, "key", "delete", "covered", "--yes")
}

// asNode asks one node with the certificate of another, which is accepted or not.
func (c *cluster) asNode(t testing.TB, who, at *node, accepted bool) {
	t.Helper()
	state := filepath.Join(who.dir, "state")
	cert, err := tls.LoadX509KeyPair(filepath.Join(state, "node.crt"), filepath.Join(state, "node.key"))
	require.NoError(t, err)
	conf := c.tls(t)
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	limit := patience
	if !accepted {
		limit = 3 * time.Second // until it gives up
	}
	k, err := client.New(client.Options{Nodes: []string{at.addr}, TLS: conf, Only: true, Timeout: limit})
	require.NoError(t, err)
	defer k.Close()
	_, err = k.Members(t.Context())
	if accepted {
		require.NoError(t, err)
		return
	}
	require.Error(t, err)
	t.Logf("the certificate of %s: %v", who.name, err)
}

// TestRemoveAndReplace: a node that was taken out is out: its daemon ends, its certificate is refused by every other, and so
// is a second start. Another takes its place, and the old one is destroyed.
func TestRemoveAndReplace(t *testing.T) {
	c := shared(t)
	a := c.nodes[0]
	k := c.wide(t)
	cred := user(t, k)
	key, err := k.Create(t.Context(), cred, secretKey("replace", make([]byte, 32), true))
	require.NoError(t, err)

	defer func() {
		for _, n := range c.nodes[3:] {
			n.kill()
		}
		c.nodes = c.nodes[:3]
		c.try(t, "cluster", "remove", "gone", "--yes", "--socket", a.sock) // where the test has not come so far
	}()
	gone := c.join(t, a, "gone")
	c.settled(t, a, 4, 3)
	c.asNode(t, gone, a, true)
	c.coffer(t, "cluster", "remove", "gone", "--yes", "--socket", a.sock)
	gone.ends(t)
	c.refused(t, "no node", "cluster", "remove", "gone", "--yes", "--socket", a.sock)
	c.asNode(t, gone, a, false)
	// Started again it reaches nothing and serves nobody.
	gone.start(t)
	k2, err := client.New(client.Options{Socket: gone.sock, Only: true, Timeout: 3 * time.Second})
	require.NoError(t, err)
	_, err = k2.Info(t.Context())
	require.Error(t, err)
	k2.Close()
	gone.kill()
	require.NotContains(t, gone.tail(), "panic")
	c.settled(t, a, 3, 3)
	c.coffer(t, "node", "zeroize", "--node-config", gone.conf, "--yes")
	left, err := os.ReadDir(filepath.Join(gone.dir, "state"))
	require.NoError(t, err)
	for _, f := range left {
		require.Equal(t, "lock", f.Name(), "what says that the directory is free is all that is left")
	}
	c.nodes = c.nodes[:3]

	// A dead voter is replaced by a node of the same name.
	dead := c.nodes[2]
	dead.kill()
	within(t, patience, func() error {
		if o := c.try(t, "cluster", "list", "--socket", a.sock); o.code != 0 {
			return fmt.Errorf("%s", o.err)
		}
		return nil
	})
	var told struct{ Node, Token string }
	c.answer(t, &told, "cluster", "replace", "c", "--yes", "--socket", a.sock)
	require.NotEmpty(t, told.Token, "programs need the token too")
	c.coffer(t, "node", "zeroize", "--node-config", dead.conf, "--yes")
	n := &node{name: "c", dir: dead.dir, conf: filepath.Join(c.dir, "c2.toml"), sock: dead.sock, addr: dead.addr}
	file := filepath.Join(c.dir, "c2.token")
	require.NoError(t, os.WriteFile(file, []byte(told.Token), 0o600))
	c.coffer(t, append([]string{"cluster", "join", "--token-file", file}, n.flags()...)...)
	n.start(t)
	n.serves(t)
	c.nodes[2] = n
	c.settled(t, a, 3, 3)
	one := c.through(t, n)
	list := found(t, one, user(t, one), "replace")
	require.Len(t, list, 1)
	require.NoError(t, k.Destroy(t.Context(), cred, key))
	c.verified(t)
	_, err = k.Find(t.Context(), cred, ck.Template{})
	require.NoError(t, err)
}
