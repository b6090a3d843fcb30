package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// nodeToken is a token behind a cofferd of its own, which ends with the test.
func nodeToken(t *testing.T, label string) *harness.Token {
	t.Helper()
	k := harness.NewSlot(t)
	k.Run(t, harness.Coffer(t), "cluster", "create", "--label", label, "--activation", "open", "--store", "file",
		"--node-config", "node.toml", "--name", "a", "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--state-dir", "n/state")
	daemon := serve(t, k.Command(t, harness.Cofferd(t), "--config", "node.toml"))
	socket := filepath.Join(k.Dir, "n", "cofferd.sock")
	daemon.until(t, "there is "+socket, func() bool { _, err := os.Stat(socket); return err == nil })
	require.NoError(t, os.WriteFile(k.Conf, fmt.Appendf(nil, "[[slot]]\nid = 0\nsocket = %q\n", socket), 0o600))
	k.Run(t, harness.Coffer(t), "token", "init", "--label", label)
	return k
}
