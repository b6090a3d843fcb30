package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestOracleTDE: the calls that Oracle's database is documented to make, from where it looks for a library: set the master key,
// open the keystore after a restart, from many processes at once, and change the key. Oracle's own program is not run.
func TestOracleTDE(t *testing.T) {
	client(t, "oracle-tde")
	t.Run("file", func(t *testing.T) { keyCeremony(t, harness.NewToken(t, "tde")) })
	if whole() {
		t.Run("node", func(t *testing.T) { keyCeremony(t, nodeToken(t, "tde")) })
	}
}

func keyCeremony(t *testing.T, k *harness.Token) {
	harness.Need(t, "gcc")
	host := filepath.Join(k.Dir, "tde")
	out, err := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"+filepath.Join(harness.Root(), "include"),
		"-o", host, "testdata/oracle/tde.c", "-ldl").CombinedOutput()
	require.NoError(t, err, string(out))

	// the folders of /opt/oracle; a test does not write there
	folder := filepath.Join(k.Dir, "opt", "oracle", "extapi", "64", "hsm", "coffer", "1.0.0")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	library := filepath.Join(folder, "libcoffer_pkcs11.so")
	module, err := os.ReadFile(harness.Module(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(library, module, 0o755))

	// the keystore's password is that of a crypto user, as name:PIN
	pin := filepath.Join(k.Dir, "oracle.pin")
	require.NoError(t, os.WriteFile(pin, []byte("tde-pin-1234\n"), 0o600))
	k.Run(t, harness.Coffer(t), "user", "create", "oracle", "--new-pin-file", pin)
	for _, password := range []string{"oracle:tde-pin-1234", harness.UserPIN} {
		first := k.Run(t, host, library, password, "set-key")
		require.Contains(t, first, "ok set-key 06")
		require.Equal(t, strings.Replace(first, "set-key", "open", 1), k.Run(t, host, library, password, "open"))
		second := k.Run(t, host, library, password, "rekey")
		require.NotEqual(t, strings.Fields(first)[2], strings.Fields(second)[2])

		var sessions sync.WaitGroup
		for range 6 {
			sessions.Go(func() {
				out, err := k.Command(t, host, library, password, "open").CombinedOutput()
				assert.NoError(t, err, string(out))
				assert.Equal(t, strings.Replace(second, "rekey", "open", 1), string(out))
			})
		}
		sessions.Wait()
	}
	require.Equal(t, 4, staysInside(t, k), "the old master keys stay, for older backups")
	for _, o := range tokenKeys(t, k) {
		require.True(t, strings.HasPrefix(o.Label, "ORACLE.TDE.HSM.MK.06"), o.Label)
	}
	out, err = k.Command(t, host, library, "oracle:wrong", "open").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "0xa0", "CKR_PIN_INCORRECT")
}
