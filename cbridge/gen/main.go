// Command gen writes what follows from the tables in pkcs11/spec: the exported C functions and the three function lists
// (zexports.c), the Go functions behind them (zentry.go), and the decoders of mechanism parameters (zparams.go).
//
//	go run ./cbridge/gen          write the files
//	go run ./cbridge/gen -check   say whether they are current; exit status 1 if not
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// outputs are the files that gen writes.
var outputs = []struct {
	name  string
	write func(*bytes.Buffer, *spec.Spec) error
}{
	{"zexports.c", exports},
	{"zentry.go", entries},
	{"zparams.go", params},
}

func main() {
	check := flag.Bool("check", false, "write nothing, compare")
	dir := flag.String("dir", "cbridge", "directory of the package")
	flag.Parse()
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	s, err := spec.Load()
	if err != nil {
		return err
	}
	for _, out := range outputs {
		var b bytes.Buffer
		if err := out.write(&b, s); err != nil {
			return fmt.Errorf("%s: %w", out.name, err)
		}
		text := b.Bytes()
		if strings.HasSuffix(out.name, ".go") {
			if text, err = format.Source(text); err != nil {
				return fmt.Errorf("%s: %w", out.name, err)
			}
		}
		path := filepath.Join(dir, out.name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if check {
			return fmt.Errorf("%s is not current: go run ./cbridge/gen", path)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// inC says that a function is written by hand in interface.c because it works before C_Initialize.
func inC(f spec.Function) bool { return f.BeforeInit }

// names lists the C names of a function's arguments.
func names(f spec.Function) []string {
	var out []string
	for _, a := range f.Args {
		out = append(out, a.CName)
	}
	return out
}
