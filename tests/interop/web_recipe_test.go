package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// shell is a block of a page that is meant to be pasted; what only root may do to a machine is in blocks of other kinds.
var shell = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// fixedPort are the ports of the recipes.
var fixedPort = regexp.MustCompile(`\b(4433|8443|8444|5433|5434|5300)\b`)

// pasted runs what a page says, word for word but for its ports, after README's "Use it": a token with the label demo and the
// key web, COFFER_PIN, build in the working folder and in PATH. It returns what was printed.
func pasted(t *testing.T, name string) string { return pastedAs(t, name, os.Getuid(), os.Getgid()) }

// pastedAs does it as another user, where root may.
func pastedAs(t *testing.T, name string, uid, gid int) string {
	t.Helper()
	k := harness.NewToken(t, "demo")
	k.Run(t, harness.Coffer(t), "key", "generate", "--type", "ec:p256", "--label", "web")
	build := filepath.Join(k.Dir, "build")
	require.NoError(t, os.Mkdir(build, 0o755))
	for name, path := range map[string]string{"libcoffer_pkcs11.so": harness.Module(t), "coffer": harness.Coffer(t), "cofferd": harness.Cofferd(t)} {
		require.NoError(t, os.Symlink(path, filepath.Join(build, name)))
	}
	if uid != os.Getuid() {
		for name, path := range map[string]string{"libcoffer_pkcs11.so": harness.Module(t), "coffer": harness.Coffer(t), "cofferd": harness.Cofferd(t)} {
			b, err := os.ReadFile(path) // which he may not be able to
			require.NoError(t, err)
			require.NoError(t, os.Remove(filepath.Join(build, name)))
			require.NoError(t, os.WriteFile(filepath.Join(build, name), b, 0o755))
		}
		siteOf(t, k)
		require.NoError(t, filepath.Walk(k.Dir, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, uid, gid)
		}))
	}
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "clients", name+".md"))
	require.NoError(t, err)
	blocks := shell.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	ports := map[string]string{}
	script := ""
	for _, b := range blocks {
		script += fixedPort.ReplaceAllStringFunc(b[1], func(port string) string {
			if ports[port] == "" {
				ports[port] = fmt.Sprint(freePort(t))
			}
			return ports[port]
		})
	}
	t.Cleanup(func() { // what a recipe that failed has left running
		files, _ := filepath.Glob(filepath.Join(k.Dir, "*.pid"))
		for _, name := range files {
			if b, err := os.ReadFile(name); err == nil {
				if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGTERM)
				}
			}
		}
	})
	cmd := k.Command(t, "bash", "-e")
	cmd.Stdin = strings.NewReader(script)
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	cmd.Env = append(cmd.Env, "PATH="+build+":"+os.Getenv("PATH"))
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, b)
	return string(b)
}
