package ceremonies

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
)

// TestNodeByItself: a node whose store is a file needs no others, and keeps what it has.
func TestNodeByItself(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.place(t, "alone")
	code := c.create(t, n, "--store", "file")
	n.start(t)
	n.serves(t)
	c.activate(t, n, code)
	c.coffer(t, "key", "generate", "--type", "ec:p256", "--label", "alone", "--socket", n.sock)
	k, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: 10 * time.Second})
	require.NoError(t, err)
	defer k.Close()
	value := []byte("thirty-two bytes of a key, a key")
	cred := user(t, k)
	key, err := k.Create(t.Context(), cred, secretKey("mac", value, true))
	require.NoError(t, err)
	n.kill()
	n.start(t)
	n.serves(t)
	sum, err := mac(t, k, cred, key, "after the restart")
	require.NoError(t, err)
	require.Equal(t, hmacOf(value, "after the restart"), sum)
	require.Contains(t, c.coffer(t, "key", "list", "--socket", n.sock), "alone")
	var s status
	c.answer(t, &s, "cluster", "status", "--socket", n.sock)
	require.True(t, s.Quorum)
	require.True(t, s.Activated)
	c.refused(t, "", "cluster", "invite", "--socket", n.sock)
}
