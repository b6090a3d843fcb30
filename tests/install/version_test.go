package install

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestOneVersion: make VERSION=... names the programs and the library, and the library tells what fits into a CK_VERSION.
func TestOneVersion(t *testing.T) {
	k := harness.NewToken(t, "version")
	built := map[string]string{}
	// The flags are the Makefile's; it would build over what the other tests use.
	for name, target := range map[string]string{"cbridge": "build/libcoffer_pkcs11.so", "cmd/coffer": "build/coffer", "cmd/cofferd": "build/cofferd"} {
		out, err := run(t, "VERSION=7.89.1", "-n", target)
		require.NoError(t, err, out)
		line, _, _ := strings.Cut(out, "\n")
		built[name] = filepath.Join(k.Dir, filepath.Base(target))
		require.Contains(t, line, " -o "+target+" ")
		cmd := exec.Command("sh", "-c", strings.Replace(line, " -o "+target+" ", " -o "+built[name]+" ", 1))
		cmd.Dir = harness.Root()
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, string(b))
	}
	require.Contains(t, k.Run(t, built["cmd/coffer"], "--version"), "coffer 7.89.1 ")
	require.Contains(t, k.Run(t, built["cmd/cofferd"], "--version"), "cofferd version 7.89.1\n")
	require.Contains(t, k.Run(t, "pkcs11-tool", "--module", built["cbridge"], "--show-info"), "(ver 7.89)\n")
	slots := k.Run(t, "pkcs11-tool", "--module", built["cbridge"], "--list-slots")
	require.Regexp(t, `hardware version +: 7\.89\n`, slots)
	require.Regexp(t, `firmware version +: 7\.89\n`, slots)
}

// TestLibraryAgreesWithPrograms: what is built for all tests has one version too.
func TestLibraryAgreesWithPrograms(t *testing.T) {
	k := harness.NewToken(t, "version")
	var coffer struct{ Version string }
	require.NoError(t, json.Unmarshal([]byte(k.Run(t, harness.Coffer(t), "version", "--output", "json")), &coffer))
	info := k.Run(t, "pkcs11-tool", "--module", harness.Module(t), "--show-info")
	_, number, found := strings.Cut(info, "(ver ")
	require.True(t, found, info)
	number, _, _ = strings.Cut(number, ")")
	require.Regexp(t, `^`+strings.ReplaceAll(number, ".", `\.`)+`(\D|$)`, coffer.Version)
}

// TestVersionThatFitsNowhere: a library cannot say it, so nothing is built.
func TestVersionThatFitsNowhere(t *testing.T) {
	for _, v := range []string{"latest", "v1.2", "1", "1.100", "2026.1", "1.2;x", "1.2.3;x"} {
		out, err := run(t, "-n", "VERSION="+v, "build/coffer")
		require.Error(t, err, out)
		require.Contains(t, out, "expected one like 1.2.3")
	}
}
