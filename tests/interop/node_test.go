package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestNode installs the three packages as the lock file has them, builds pkcs11js with the headers of the machine's Node, and
// runs a program over each.
func TestNode(t *testing.T) {
	client(t, "node")
	long(t)
	k := harness.NewToken(t, "node")
	files, err := filepath.Glob("testdata/node/*")
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(k.Dir, filepath.Base(f)), b, 0o600))
	}
	harness.Need(t, "npm")
	install := k.Command(t, "npm", "ci", "--no-audit", "--no-fund", "--foreground-scripts")
	install.Env = append(os.Environ(), "npm_config_nodedir=/usr") // the user's own npm configuration says where packages are
	out, err := install.CombinedOutput()
	require.NoError(t, err, string(out))

	require.Contains(t, k.Run(t, "node", "binding.js", harness.Module(t)), "ok binding\n")
	require.Contains(t, k.Run(t, "node", "graphene.js", harness.Module(t)), "ok graphene\n")
	shown := k.Run(t, "node", "webcrypto.js", harness.Module(t))
	for _, what := range []string{"ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "RSASSA-PKCS1-v1_5 SHA-256", "RSA-PSS SHA-512", "AES-GCM", "AES-CBC",
		"RSA-OAEP", "ECDH", "HMAC", "SHA-512", "worker_threads"} {
		require.Contains(t, shown, "ok "+what+"\n")
	}
	made := map[string]bool{}
	for _, o := range tokenKeys(t, k) {
		made[o.Label+" "+o.Class] = true
	}
	for _, kept := range []string{"binding secret", "graphene private", "graphene public", "webcrypto private"} {
		require.True(t, made[kept], "%s: %v", kept, made)
	}
	require.Equal(t, 3, staysInside(t, k))
}
