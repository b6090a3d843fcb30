package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// register prepares a shell line in which p11-kit knows the library as a registered module and no other. A user's own
// configuration does that; for root, who has none, a mount of the system's folder that nobody else sees.
func register(t *testing.T, k *harness.Token, line string) *exec.Cmd {
	t.Helper()
	harness.Need(t, "p11-kit")
	entry := "module: " + harness.Module(t) + "\n"
	if os.Getuid() == 0 {
		return k.Command(t, "unshare", "-m", "sh", "-ec",
			`mount -t tmpfs none /usr/share/p11-kit/modules; printf %s "$1" > /usr/share/p11-kit/modules/coffer.module; `+line, "sh", entry)
	}
	dir := filepath.Join(k.Dir, ".config", "pkcs11", "modules")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "coffer.module"), []byte(entry), 0o600))
	cmd := k.Command(t, "sh", "-ec", line)
	cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+filepath.Join(k.Dir, ".config"))
	return cmd
}

// TestP11Kit: p11-kit loads the library as a registered module, and programs find its token without naming it.
func TestP11Kit(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "p11kit")
	b, err := register(t, k, "p11-kit list-modules").CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "token: p11kit")

	cmd := register(t, k, "p11tool --batch --login --generate-privkey=ecdsa --curve=secp256r1 --label=web --outfile=web.pub pkcs11:token=p11kit; "+
		"p11tool --batch --login --list-all-privkeys pkcs11:token=p11kit")
	cmd.Env = append(cmd.Env, "GNUTLS_PIN="+harness.UserPIN)
	b, err = cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "Label: web")
}

// TestP11KitServer: the library behind p11-kit's remoting: the server loads it and forks for each client.
func TestP11KitServer(t *testing.T) {
	client(t, "p11-kit")
	k := harness.NewToken(t, "remote")
	line := `p11-kit server --provider "$2" -n "$PWD/socket" "pkcs11:token=remote" > server.env; . ./server.env; ` +
		`trap 'kill $P11_KIT_SERVER_PID' EXIT; client=$(find /usr/lib -name p11-kit-client.so | head -n 1); ` +
		`pkcs11-tool --module "$client" --login --pin "$3" --keypairgen --key-type EC:prime256v1 --label far --id 01; ` +
		`pkcs11-tool --module "$client" --login --pin "$3" --list-objects`
	b, err := k.Command(t, "sh", "-ec", line, "sh", "", harness.Module(t), harness.UserPIN).CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "far")
}
