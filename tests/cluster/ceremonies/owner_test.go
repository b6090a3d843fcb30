package ceremonies

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// serviceUID is a user who is nobody else.
const serviceUID = 61417

// TestRootLooksAfterAnotherUsersNode: the daemon runs as a user of its own without any privilege, as the service of
// `make install` does, and root calls the commands about it. What they write the daemon can read.
func TestRootLooksAfterAnotherUsersNode(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user wants root")
	}
	harness.Need(t, "setpriv")
	c := newCluster(t)
	defer c.end()
	require.NoError(t, os.Chmod(c.dir, 0o711))
	program := filepath.Join(c.dir, "cofferd")
	b, err := os.ReadFile(harness.Cofferd(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, b, 0o755))
	service := filepath.Join(c.dir, "service")
	require.NoError(t, os.WriteFile(service, fmt.Appendf(nil, "#!/bin/sh\nexec setpriv --reuid %[1]d --regid %[1]d --clear-groups "+
		"--no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all %[2]s \"$@\"\n", serviceUID, program), 0o755))
	place := func(name string) *node {
		n := c.place(t, name)
		n.bin = service
		require.NoError(t, os.Chown(n.dir, serviceUID, serviceUID)) // the state directory itself is yet to be made
		return n
	}
	a := place("a")
	code := c.create(t, a)
	owned(t, a)
	a.start(t)
	a.serves(t)
	c.activate(t, a, code)
	c.coffer(t, "key", "generate", "--type", "ec:p256", "--label", "kept", "--socket", a.sock)

	b2 := place("b")
	c.coffer(t, append([]string{"cluster", "join", "--token-file", c.invite(t, a, "b")}, b2.flags()...)...) // root's token file
	owned(t, b2)
	b2.start(t)
	b2.serves(t)
	c.settled(t, a, 2, 2)
	b2.kill()

	c.coffer(t, "node", "reseal", "--node-config", b2.conf, "--to", b2.conf)
	owned(t, b2)
	c.coffer(t, "node", "zeroize", "--node-config", b2.conf, "--yes")
	owned(t, b2)

	a.kill()
	c.coffer(t, "cluster", "recover", "--node-config", a.conf, "--yes")
	owned(t, a)
	a.start(t)
	a.serves(t)
	require.Contains(t, c.coffer(t, "key", "list", "--socket", a.sock), "kept")
}

// owned checks that the service's user owns all that a node has.
func owned(t *testing.T, n *node) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		require.EqualValues(t, serviceUID, info.Sys().(*syscall.Stat_t).Uid, path)
		return nil
	}))
	require.Greater(t, files, 2)
}
