package deps

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// skips are the tests that leave themselves out, by file, with how many places of each do, and why that is right. CI is to run as root, with
// namespaces and everything that `make deps-test` installs: a program that is missing is a failure, not a skip.
var skips = map[string]struct {
	places int
	why    string
}{
	"core/cluster/client/frames_test.go":       {1, "a case of the table that one of the two transports does not have"},
	"core/cluster/member/cluster_test.go":      {1, "by -short, which CI does not give"},
	"core/config/config_test.go":               {1, "on a machine whose administrator has a configuration of Coffer"},
	"core/config/node_test.go":                 {1, "on a machine whose administrator has a configuration of Coffer"},
	"core/mech/rsa/fast_test.go":               {1, "the assembly wants AVX-512 IFMA; crypto/rsa has the same tests elsewhere"},
	"core/mech/rsa/kernel/timing_test.go":      {1, "measures time: COFFER_TIMING, on a quiet machine"},
	"core/mech/rsa/kernel/form_test.go":        {1, "the assembly wants AVX-512 IFMA"},
	"core/mech/rsa/kernel/prime_test.go":       {1, "the assembly wants AVX-512 IFMA"},
	"core/mech/rsa/primes_test.go":             {1, "the assembly wants AVX-512 IFMA"},
	"core/store/sqlite/media_test.go":          {2, "a full disk and a faulty one want mounts; root in CI has them"},
	"core/store/storetest/storetest.go":        {1, "a store in memory is opened once by nature"},
	"core/vault/golden_test.go":                {1, "in FIPS 140-only mode, which refuses a chosen nonce"},
	"tests/capi/hosts_test.go":                 {1, "another user wants root; root in CI"},
	"tests/capi/sequence_test.go":              {2, "by -short, which CI does not give; and `make asan`, which builds for minutes"},
	"tests/cli/prompt_test.go":                 {1, "a terminal wants /dev/ptmx; CI has it"},
	"tests/cluster/ceremonies/many_test.go":    {1, "28 nodes take minutes and gigabytes: COFFER_NODES"},
	"tests/cluster/ceremonies/owner_test.go":   {1, "another user wants root; root in CI"},
	"tests/cluster/ceremonies/rolling_test.go": {1, "the earlier build is of the repository's history; an archive of the sources has none"},
	"tests/cluster/faults/faults_test.go":      {1, "by -short, which CI does not give"},
	"tests/cluster/faults/network_test.go":     {1, "network namespaces want root; root in CI"},
	"tests/conformance/fips_test.go":           {2, "a test that runs the others in a process of its own, in FIPS mode, and those others"},
	"tests/conformance/skips_test.go":          {1, "its table has a reason for each, and a test that none is left over"},
	"tests/conformance/stack_test.go":          {1, "its table has a reason for each"},
	"tests/faults/media_test.go":               {2, "another user and mounts want root; root in CI"},
	"tests/interop/bind_test.go":               {1, "Debian's BIND has no engine; COFFER_BIND is one that has"},
	"tests/interop/frame_test.go":              {1, "takes over half a minute: `make interop`"},
	"tests/interop/netns_test.go":              {2, "network namespaces and tunnels want root; root in CI"},
	"tests/interop/nginx_test.go":              {1, "workers of another user want root; root in CI"},
	"tests/migrate/kinds_test.go":              {1, "an unreadable file is none to root; who is not root runs it"},
}

var skip = regexp.MustCompile(`\bt\.(Skip|Skipf|SkipNow)\(`)

// TestEverySkipHasItsReason, and no reason is left over.
func TestEverySkipHasItsReason(t *testing.T) {
	found := map[string]int{}
	root := harness.Root()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "build") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if n := len(skip.FindAll(b, -1)); n > 0 {
			name, _ := filepath.Rel(root, path)
			found[name] = n
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range found {
		if skips[name].places != n {
			t.Errorf("%s leaves tests out in %d places, and %d are accounted for", name, n, skips[name].places)
		}
	}
	for name, s := range skips {
		if found[name] == 0 || s.why == "" {
			t.Errorf("%s: %d places, reason %q", name, found[name], s.why)
		}
	}
}
