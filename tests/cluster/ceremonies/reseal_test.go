package ceremonies

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

// TestReseal puts a node's root key under another method and back: the old configuration opens it no more, the new one
// does, the keys are as they were, and what fails leaves all as it was.
func TestReseal(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.single(t, "resealed")
	value := []byte("thirty-two bytes of a key, a key")
	k, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: patience})
	require.NoError(t, err)
	_, err = k.Create(t.Context(), user(t, k), secretKey("mac", value, true))
	require.NoError(t, err)
	require.NoError(t, k.Close())

	root := filepath.Join(n.dir, "state", "root.sealed")
	sealed := func() string {
		b, err := os.ReadFile(root)
		require.NoError(t, err)
		return string(b)
	}
	old, was := n.conf, sealed()
	phrase := filepath.Join(c.dir, "phrase")
	write := func(text string) { require.NoError(t, os.WriteFile(phrase, []byte(text+"\n"), 0o600)) }
	text, err := os.ReadFile(old)
	require.NoError(t, err)
	next := n.conf + ".new"
	require.NoError(t, os.WriteFile(next, fmt.Appendf(text, "\n[unseal]\nmethod = \"passphrase\"\npassphrase_file = %q\n", phrase), 0o600))
	write("five words that nobody guesses")

	c.refused(t, "another process", "node", "reseal", "--node-config", old, "--to", next) // it runs
	n.kill()
	c.refused(t, "the new method is missing", "node", "reseal", "--node-config", old)
	require.Equal(t, 2, c.try(t, "node", "reseal", "--node-config", old).code)
	c.refused(t, "does not exist", "node", "reseal", "--node-config", old, "--to", next+".missing")
	write("short")
	c.refused(t, "sealed as it was", "node", "reseal", "--node-config", old, "--to", next)
	require.Equal(t, was, sealed())
	write("five words that nobody guesses")

	var answer struct{ Resealed, Method string }
	c.answer(t, &answer, "node", "reseal", "--node-config", old, "--to", next)
	require.Equal(t, filepath.Join(n.dir, "state"), answer.Resealed)
	require.Equal(t, "passphrase", answer.Method)
	require.NotEqual(t, was, sealed())
	n.start(t) // by the old configuration
	n.ends(t)
	require.Contains(t, n.tail(), "another method")
	n.conf = next
	serves := func() {
		n.start(t)
		n.serves(t)
		k, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: patience})
		require.NoError(t, err)
		defer k.Close()
		cred := user(t, k)
		found, err := k.Find(t.Context(), cred, ck.Template{ck.AttrString(ck.CKA_LABEL, "mac")})
		require.NoError(t, err)
		require.Len(t, found, 1)
		sum, err := mac(t, k, cred, found[0], "resealed")
		require.NoError(t, err)
		require.Equal(t, hmacOf(value, "resealed"), sum)
		n.kill()
	}
	serves()

	was = sealed()
	write("five words that are not the ones")
	c.refused(t, "sealed as it was", "node", "reseal", "--node-config", next, "--to", old)
	require.Equal(t, was, sealed())
	n.start(t)
	n.ends(t)
	write("five words that nobody guesses")
	o := c.try(t, "node", "reseal", "--node-config", next, "--to", old)
	require.Zero(t, o.code, o.err)
	require.Contains(t, o.out, "Start the node with "+old)
	n.conf = old
	serves()
	require.Empty(t, left(t, filepath.Dir(root)))
}

// left are the files of a state directory that nothing will ever read.
func left(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "root.sealed.*"))
	require.NoError(t, err)
	return list
}
