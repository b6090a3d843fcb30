package ceremonies

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// earlier builds the daemon of an earlier commit: the one before the newest, or the newest itself where that one has no
// daemon yet. What is newest is compared with is the working tree, which may be further.
func earlier(t testing.TB, dir string) string {
	t.Helper()
	run := func(in string, line string) ([]byte, error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = in
		return cmd.CombinedOutput()
	}
	if _, err := run(harness.Root(), "git rev-parse HEAD"); err != nil {
		t.Skip("this is no git repository: there is no earlier build to compare with")
	}
	commit := "HEAD~1"
	if _, err := run(harness.Root(), "git cat-file -e HEAD~1:cmd/cofferd/main.go"); err != nil {
		commit = "HEAD"
	}
	tree := filepath.Join(dir, "tree")
	require.NoError(t, os.Mkdir(tree, 0o700))
	out, err := run(harness.Root(), fmt.Sprintf("git archive %s | tar -x -C '%s'", commit, tree))
	require.NoError(t, err, string(out))
	bin := filepath.Join(dir, "earlier")
	out, err = run(tree, fmt.Sprintf("go build -trimpath -ldflags '-X github.com/coffer-hsm/coffer/core/release.version=earlier' -o '%s' ./cmd/cofferd", bin))
	require.NoError(t, err, string(out))
	return bin
}

// TestRollingUpgrade: daemons of two builds are one cluster, whichever of them makes a key and whichever leads, and nodes are
// taken from one build to the other and back one at a time.
func TestRollingUpgrade(t *testing.T) {
	c := shared(t)
	bin := earlier(t, t.TempDir())
	value := []byte("thirty-two bytes of a key, a key")
	exchange := func(label string) {
		views := c.views(t)
		for i, maker := range views {
			made, err := maker.Create(t.Context(), maker.cred, secretKey(fmt.Sprintf("%s-%d", label, i), value, true))
			require.NoError(t, err)
			for _, v := range views {
				list := found(t, v, v.cred, fmt.Sprintf("%s-%d", label, i))
				require.Len(t, list, 1)
				sum, err := mac(t, v, v.cred, list[0], label)
				require.NoError(t, err)
				require.Equal(t, hmacOf(value, label), sum)
			}
			require.NoError(t, views[(i+1)%3].Destroy(t.Context(), views[(i+1)%3].cred, found(t, views[(i+1)%3], views[(i+1)%3].cred, fmt.Sprintf("%s-%d", label, i))[0]))
			_, err = mac(t, maker, maker.cred, made, label)
			require.Error(t, err)
		}
	}
	// A session key that one build has sealed is opened by the other.
	across := func() {
		views := c.views(t)
		k := c.wide(t)
		cred := user(t, k)
		key, err := k.Create(t.Context(), cred, secretKey("session", value, false))
		require.NoError(t, err)
		for range 3 * len(views) {
			sum, err := mac(t, hsm.HSM(k), cred, key, "any node")
			require.NoError(t, err)
			require.Equal(t, hmacOf(value, "any node"), sum)
		}
	}
	restart := func(n *node, bin string) {
		n.kill()
		n.bin = bin
		n.start(t)
		n.serves(t)
		c.settled(t, n, 3, 3)
	}
	restart(c.nodes[1], bin)
	exchange("one-earlier")
	across()
	restart(c.nodes[0], bin)
	exchange("two-earlier")
	across()
	var s status
	c.answer(t, &s, "cluster", "status", "--socket", c.nodes[2].sock)
	t.Logf("versions: %s %s %s", s.Members[0].Version, s.Members[1].Version, s.Members[2].Version)
	restart(c.nodes[0], "")
	restart(c.nodes[1], "")
	exchange("none-earlier")
	c.verified(t)
}
