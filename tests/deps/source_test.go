package deps

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func importsUnsafe(t *testing.T, file string) bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range f.Imports {
		if i.Path.Value == `"unsafe"` {
			return true
		}
	}
	return false
}

// TestLibraryHasNoInit: what the library links does nothing when it is loaded.
func TestLibraryHasNoInit(t *testing.T) {
	files := 0
	for _, root := range []string{"../../pkcs11", "../../core", "../../cbridge"} {
		err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			files++
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			// What protoc makes registers its messages in memory, and nothing else.
			if strings.Contains(string(b), "\nfunc init()") && !strings.HasSuffix(p, ".pb.go") {
				t.Errorf("%s has an init function", p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 30 {
		t.Errorf("only %d files were looked at", files)
	}
}

// TestDependenciesHaveReasons: every direct requirement in go.mod is explained in docs/dependencies.md.
func TestDependenciesHaveReasons(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{if and (not .Main) (not .Indirect)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	direct := strings.Fields(string(out))
	if len(direct) < 5 {
		t.Fatalf("only %d direct requirements found", len(direct))
	}
	for _, m := range direct {
		if !strings.Contains(string(doc), "`"+m+"`") {
			t.Errorf("%s has no reason in docs/dependencies.md", m)
		}
	}
}

// TestReadmeCounts: the numbers in the README are those of the code.
func TestReadmeCounts(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	full, err := all.Full()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("**%d mechanisms**", len(registry.Types())),
		fmt.Sprintf("**%d more**", len(full.Types())-len(registry.Types())),
	} {
		if !strings.Contains(string(readme), want) {
			t.Errorf("the README does not say %q", want)
		}
	}
}

// TestMechanismsLeftOutAreNamed: docs/limits.md gives a reason for each of the standard's mechanisms that the code lacks, and
// for none that it has.
func TestMechanismsLeftOutAreNamed(t *testing.T) {
	doc, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "## Mechanisms left out")
	table, _, _ = strings.Cut(table, "\n## ")
	patterns := map[string]bool{} // and whether it is of use
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for i, p := range strings.Split(cells[1], "`") {
				if i%2 == 1 {
					patterns[p] = false
				}
			}
		}
	}
	full, err := all.Full()
	if err != nil {
		t.Fatal(err)
	}
	const last = 0x10000 // of the standard's own
	for m := pkcs11.MechanismType(0); m < last; m++ {
		name := m.String()
		if strings.HasPrefix(name, "CKM_0x") {
			continue // no mechanism has the number
		}
		named := false
		for p := range patterns {
			if prefix, any := strings.CutSuffix(p, "*"); name == p || any && strings.HasPrefix(name, prefix) {
				named, patterns[p] = true, true
				if full.Mechanism(m) != nil {
					t.Errorf("docs/limits.md says by %s that %s is left out", p, name)
				}
			}
		}
		if !named && full.Mechanism(m) == nil {
			t.Errorf("docs/limits.md does not say why %s is left out", name)
		}
	}
	for p, used := range patterns {
		if !used {
			t.Errorf("docs/limits.md names %s, which no mechanism is", p)
		}
	}
}
