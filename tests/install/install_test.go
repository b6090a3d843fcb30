// Package install tests what `make install` leaves on a machine, and that nothing of it stays after `make uninstall`.
package install

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// places are the files, below PREFIX, and what they may be.
var places = map[string]fs.FileMode{
	"bin/coffer":       0o755,
	"bin/coffer-bench": 0o755,
	"bin/cofferd":      0o755,
	"include/coffer/cloudhsm_pkcs11_vendor_defs.h": 0o644,
	"include/coffer/coffer.h":                      0o644,
	"include/coffer/pkcs11.h":                      0o644,
	"lib/libcoffer_pkcs11.so":                      0o644,
	"lib/pkcs11/libcoffer_pkcs11.so":               fs.ModeSymlink,
	"lib/systemd/system/cofferd.service":           0o644,
	"lib/sysusers.d/coffer.conf":                   0o644,
	"lib/tmpfiles.d/coffer.conf":                   0o644,
	"share/bash-completion/completions/coffer":     0o644,
	"share/coffer/prometheus-alerts.yml":           0o644,
	"share/fish/vendor_completions.d/coffer.fish":  0o644,
	"share/man/man1/coffer.1":                      0o644,
	"share/man/man8/cofferd.8":                     0o644,
	"share/p11-kit/modules/coffer.module":          0o644,
	"share/zsh/site-functions/_coffer":             0o644,
}

// built is a directory with what make builds.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, path := range map[string]string{"libcoffer_pkcs11.so": harness.Module(t), "coffer": harness.Coffer(t),
		"cofferd": harness.Cofferd(t), "coffer-bench": harness.Bench(t)} {
		require.NoError(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	return dir
}

// run runs make in the sources.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	harness.Need(t, "make")
	cmd := exec.Command("make", append([]string{"--no-print-directory"}, args...)...)
	cmd.Dir = harness.Root()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "MAKE") || strings.HasPrefix(e, "MFLAGS") })
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, args...)
	require.NoError(t, err, out)
	return out
}

// found are the files below a directory, and what they may be.
func found(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	files := map[string]fs.FileMode{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(dir, path)
		if files[name] = info.Mode(); info.Mode().Type() == fs.ModeSymlink {
			files[name] = fs.ModeSymlink
		}
		return err
	}))
	return files
}

func content(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(b)
}

// TestInstalled: all that is installed is there, works, and can be taken away; what was not installed stays.
func TestInstalled(t *testing.T) {
	from, prefix := built(t), t.TempDir()
	own := filepath.Join(prefix, "share", "p11-kit", "modules", "other.module")
	require.NoError(t, os.MkdirAll(filepath.Dir(own), 0o755))
	require.NoError(t, os.WriteFile(own, []byte("module: other.so\n"), 0o644))
	for range 2 { // the second time over the first, as an upgrade does
		must(t, "install", "PREFIX="+prefix, "FROM="+from)
	}
	files := found(t, prefix)
	delete(files, "share/p11-kit/modules/other.module")
	require.Equal(t, places, files)

	coffer, library := filepath.Join(prefix, "bin", "coffer"), filepath.Join(prefix, "lib", "pkcs11", "libcoffer_pkcs11.so")
	k := harness.NewSlot(t)
	k.Run(t, coffer, "token", "init", "--label", "installed")
	require.Contains(t, k.Run(t, coffer, "doctor"), "library: "+filepath.Join(prefix, "lib", "libcoffer_pkcs11.so"))
	require.Contains(t, k.Run(t, "pkcs11-tool", "--module", library, "--list-token-slots"), "installed")
	require.Contains(t, k.Run(t, filepath.Join(prefix, "bin", "cofferd"), "--version"), "cofferd version")
	require.Contains(t, k.Run(t, coffer, "bench", "--quick", "--operations", "random-32"), prefix+"/lib/libcoffer_pkcs11.so")
	require.Contains(t, content(t, prefix, "share/p11-kit/modules/coffer.module"), "module: "+prefix+"/lib/libcoffer_pkcs11.so\n")

	source := filepath.Join(k.Dir, "program.c")
	require.NoError(t, os.WriteFile(source, []byte("#include <pkcs11.h>\n#include <coffer.h>\nint main(void) { return CKR_OK; }\n"), 0o600))
	k.Run(t, "gcc", "-I"+prefix+"/include/coffer", "-o", filepath.Join(k.Dir, "program"), source)

	out := must(t, "uninstall", "PREFIX="+prefix, "FROM="+from)
	require.Contains(t, out, "are left")
	require.Equal(t, map[string]fs.FileMode{"share/p11-kit/modules/other.module": 0o644}, found(t, prefix))
	require.NoDirExists(t, filepath.Join(prefix, "include", "coffer"))
	require.NoDirExists(t, filepath.Join(prefix, "share", "coffer"))
}

// TestPackaged: a package is made in another place than it is for, and nothing in it names that place.
func TestPackaged(t *testing.T) {
	from, dest := built(t), t.TempDir()
	places := []string{"PREFIX=/usr", "LIBDIR=/usr/lib/x86_64-linux-gnu", "DESTDIR=" + dest, "FROM=" + from}
	must(t, append(places, "install")...)
	require.FileExists(t, filepath.Join(dest, "usr/lib/x86_64-linux-gnu/libcoffer_pkcs11.so"))
	require.FileExists(t, filepath.Join(dest, "usr/lib/x86_64-linux-gnu/pkcs11/libcoffer_pkcs11.so"))
	require.Contains(t, content(t, dest, "usr/share/p11-kit/modules/coffer.module"), "module: /usr/lib/x86_64-linux-gnu/libcoffer_pkcs11.so\n")
	require.Contains(t, content(t, dest, "usr/lib/systemd/system/cofferd.service"), "ExecStart=/usr/bin/cofferd\n")
	for name, mode := range found(t, dest) {
		if mode.IsRegular() && !strings.Contains(name, "/bin/") && !strings.HasSuffix(name, ".so") {
			require.NotContains(t, content(t, dest, name), dest, name)
			require.NotRegexp(t, "@[A-Z]+@", content(t, dest, name), name)
		}
	}
	must(t, append(places, "uninstall")...)
	require.Empty(t, found(t, dest))
}

// TestNothingIsInstalledOfNothing: root who has not built is told so, and no compiler runs.
func TestNothingIsInstalledOfNothing(t *testing.T) {
	prefix := t.TempDir()
	out, err := run(t, "install", "PREFIX="+prefix, "FROM="+t.TempDir())
	require.Error(t, err)
	require.Contains(t, out, "run make first")
	require.Empty(t, found(t, prefix))
}

// worstExposure is the most that systemd may say of what the service could do to the machine, in tenths of 0 (nothing) to 10.
const worstExposure = "20"

// TestService: systemd takes the unit as it is, and finds it shut in.
func TestService(t *testing.T) {
	prefix := t.TempDir()
	must(t, "install", "PREFIX="+prefix, "FROM="+built(t))
	harness.Need(t, "systemd-analyze")
	unit := filepath.Join(prefix, "lib/systemd/system/cofferd.service")
	b, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, string(b))
	require.NotContains(t, string(b), "cofferd.service", "no complaint is about it")
	b, err = exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+worstExposure, unit).CombinedOutput()
	require.NoError(t, err, string(b))
	for file, tool := range map[string]string{"sysusers.d": "systemd-sysusers", "tmpfiles.d": "systemd-tmpfiles"} {
		require.NotEmpty(t, content(t, prefix, "lib", file, "coffer.conf"), tool)
	}
	b, err = exec.Command("systemd-sysusers", "--dry-run", filepath.Join(prefix, "lib/sysusers.d/coffer.conf")).CombinedOutput()
	require.NoError(t, err, string(b))
}

// TestShellsComplete: bash takes the script, and the program behind it knows commands, flags and values.
func TestShellsComplete(t *testing.T) {
	prefix := t.TempDir()
	must(t, "install", "PREFIX="+prefix, "FROM="+built(t))
	script := filepath.Join(prefix, "share/bash-completion/completions/coffer")
	line := `PATH=` + prefix + `/bin:$PATH; _get_comp_words_by_ref() { cur=; prev=token; words=(coffer token ""); cword=2; }
compopt() { :; }; . ` + script + `
COMP_WORDS=(coffer token ""); COMP_CWORD=2; COMP_TYPE=9; COMP_LINE="coffer token "; COMP_POINT=13; __start_coffer; printf '%s\n' "${COMPREPLY[@]}"`
	b, err := exec.Command("bash", "-c", line).CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "init")
	require.Contains(t, string(b), "delete")
}

// TestManual: the pages are well-formed, and coffer(1) has every command and the PINs' sources.
func TestManual(t *testing.T) {
	prefix := t.TempDir()
	must(t, "install", "PREFIX="+prefix, "FROM="+built(t))
	harness.Need(t, "man")
	for page, words := range map[string][]string{
		"share/man/man1/coffer.1":  {"key generate", "token init", "cluster recover", "COFFER_SO_PIN", "5  a signature is not valid", "--new-pin-file FILE"},
		"share/man/man8/cofferd.8": {"--unseal-fd N", "SIGHUP"},
	} {
		cmd := exec.Command("man", "--warnings=w", "-E", "UTF-8", "-l", filepath.Join(prefix, page))
		cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8", "MANROFFSEQ=")
		var said strings.Builder
		cmd.Stderr = &said
		b, err := cmd.Output()
		require.NoError(t, err, said.String())
		require.Empty(t, said.String())
		for _, w := range words {
			require.Contains(t, string(b), w)
		}
	}
}
