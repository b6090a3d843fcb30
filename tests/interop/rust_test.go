package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// crates are the sources of Debian's packages that `make deps-test` has unpacked, each after what it needs.
var crates = []struct{ name, folder, edition string }{
	{"cfg_if", "cfg-if-*", "2018"},
	{"libloading", "libloading-*", "2015"},
	{"cryptoki_sys", "cryptoki-sys-*", "2018"},
}

// TestRust: the binding beneath the crate cryptoki, built by Debian's compiler from Debian's sources.
func TestRust(t *testing.T) {
	client(t, "rust")
	const rustc = "/usr/bin/rustc" // by its path: another one may come first
	k := harness.NewToken(t, "rust")
	built := t.TempDir()
	build := func(env string, args ...string) {
		harness.Need(t, rustc)
		cmd := k.Command(t, rustc, append([]string{"-L", built, "--out-dir", built}, args...)...)
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	var externs []string
	for _, c := range crates {
		found, err := filepath.Glob(filepath.Join(harness.Root(), "build/debian/usr/share/cargo/registry", c.folder))
		require.NoError(t, err)
		require.Len(t, found, 1, "the sources of %s: run `make deps-test`", c.name)
		build("CARGO_MANIFEST_DIR="+found[0], append([]string{"--crate-name", c.name, "--crate-type", "rlib", "--edition", c.edition,
			"--cap-lints", "allow", filepath.Join(found[0], "src/lib.rs")}, externs...)...)
		externs = append(externs, "--extern", c.name+"="+filepath.Join(built, "lib"+c.name+".rlib"))
	}
	host, err := filepath.Abs("testdata/rust/main.rs")
	require.NoError(t, err)
	build("RUST_BACKTRACE=1", append([]string{"--crate-name", "host", "--edition", "2021", "-D", "warnings", host}, externs...)...)

	require.Equal(t, "ok cryptoki-sys\n", k.Run(t, filepath.Join(built, "host"), harness.Module(t)))
	verifiedByOpenSSL(t, k)
	require.Equal(t, 3, staysInside(t, k), "ec, rsa and aes")
}
