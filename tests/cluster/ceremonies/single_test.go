package ceremonies

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// single starts a node whose store is a file, activated.
func (c *cluster) single(t *testing.T, name string) *node {
	n := c.place(t, name)
	code := c.create(t, n, "--store", "file")
	n.start(t)
	n.serves(t)
	c.activate(t, n, code)
	return n
}

// TestNodeByItself: a node whose store is a file needs no others, and keeps what it has.
func TestNodeByItself(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.single(t, "alone")
	c.coffer(t, "key", "generate", "--type", "ec:p256", "--label", "alone", "--socket", n.sock)
	k, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: patience})
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

// TestCloudHSMProgramsOverANode: the C program of tests/capi that is written as for AWS CloudHSM, over a slot whose keys are
// in a daemon; its IVs are made in the program's own process.
func TestCloudHSMProgramsOverANode(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.place(t, "cloud")
	code := c.create(t, n, "--store", "file")
	n.start(t)
	n.serves(t)
	c.activate(t, n, code)

	harness.Need(t, "gcc")
	exe, hosts := filepath.Join(c.dir, "cloudhsm"), filepath.Join(harness.Root(), "tests", "capi", "hosts")
	b, err := exec.Command("gcc", "-std=gnu11", "-pthread", "-I"+filepath.Join(harness.Root(), "include"), "-o", exe, filepath.Join(hosts, "cloudhsm.c"), "-ldl").CombinedOutput()
	require.NoError(t, err, string(b))
	for more, args := range map[string][]string{"": nil, "cloudhsm_iv = true\n": {"iv"}} {
		slot := fmt.Sprintf("[[slot]]\nid = 0\nsocket = %q\n%s", n.sock, more)
		require.NoError(t, os.WriteFile(c.slotFile(), []byte(slot), 0o600))
		cmd := exec.CommandContext(t.Context(), exe, append([]string{harness.Module(t), harness.UserPIN}, args...)...)
		cmd.Env, cmd.Dir = c.env, c.dir
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s%s", more, b)
	}
}
