package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/coffer-hsm/coffer/tests/interop/clients"
)

// result is what came of the tests of one client.
type result struct {
	tests, failed, skipped int
	took                   time.Duration
}

var results struct {
	sync.Mutex
	of map[string]*result
}

// client says that a test is one of this client's, and has it counted.
func client(t *testing.T, name string) {
	t.Helper()
	_, known := clients.Of(name)
	require.True(t, known, "%s has no row in tests/interop/clients", name)
	began := time.Now()
	t.Cleanup(func() {
		results.Lock()
		defer results.Unlock()
		if results.of == nil {
			results.of = map[string]*result{}
		}
		r := results.of[name]
		if r == nil {
			r = &result{}
			results.of[name] = r
		}
		r.took += time.Since(began)
		switch {
		case t.Failed():
			r.failed++
		case t.Skipped():
			r.skipped++
		default:
			r.tests++
		}
	})
}

// whole says that everything is to run, however long it takes: `make interop`.
func whole() bool { return os.Getenv("COFFER_INTEROP") == "whole" }

// long leaves a test that takes over half a minute to `make interop`.
func long(t *testing.T) {
	t.Helper()
	if !whole() {
		t.Skip("takes over half a minute: make interop runs it")
	}
}

// loadTime is how long a server is kept under load: half a minute in `make interop`, three seconds else.
func loadTime() time.Duration {
	if whole() {
		return 30 * time.Second
	}
	return 3 * time.Second
}

// TestMain prints a line for each client and a total. Where all tests were to run, a client without any has failed.
func TestMain(m *testing.M) {
	code := m.Run()
	all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""
	if testing.Verbose() || all && code != 0 {
		report()
	}
	if all {
		for _, c := range clients.All() {
			if c.Without == "" && results.of[c.Name] == nil {
				fmt.Printf("%s: no test has run\n", c.Name)
				code = 1
			}
		}
	}
	if path := os.Getenv("COFFER_INTEROP_VERSIONS"); path != "" && code == 0 {
		if err := record(path); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

func report() {
	passed, failed := 0, 0
	for _, c := range clients.All() {
		r := results.of[c.Name]
		switch {
		case c.Without != "":
			fmt.Printf("%-22s without a test: %s\n", c.Name, c.Without)
			continue
		case r == nil:
			continue
		}
		word := "ok"
		if r.failed > 0 {
			word = "FAILED"
			failed++
		} else {
			passed++
		}
		fmt.Printf("%-22s %-6s %-16s passed %d, failed %d, skipped %d, %.1f s\n", c.Name, word, version(c), r.tests, r.failed, r.skipped, r.took.Seconds())
	}
	fmt.Printf("%d clients: %d ok, %d failed\n", passed+failed, passed, failed)
}

// version asks a program for its version; "-" where it has none to tell.
func version(c clients.Client) string {
	if len(c.Version) == 0 {
		return "-"
	}
	cmd := exec.Command(c.Version[0], c.Version[1:]...)
	cmd.Dir = harness.Root()
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	b, _ := cmd.CombinedOutput() // some end with an error after telling it
	if m := regexp.MustCompile(c.Pattern).FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return "-"
}

// record writes the versions for the generated table.
func record(path string) error {
	var lines []string
	for _, c := range clients.All() {
		if v := version(c); c.Without == "" && v != "-" {
			lines = append(lines, c.Name+" "+v+"\n")
		}
	}
	slices.Sort(lines)
	return os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644)
}

// TestEveryClientHasARecipe: each row has its page, and each page its row.
func TestEveryClientHasARecipe(t *testing.T) {
	dir := filepath.Join(harness.Root(), "docs", "clients")
	for _, c := range clients.All() {
		require.FileExists(t, filepath.Join(dir, c.Name+".md"))
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	require.NoError(t, err)
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name == "README" {
			continue
		}
		_, known := clients.Of(name)
		require.True(t, known, "%s has no row in tests/interop/clients", page)
	}
}
