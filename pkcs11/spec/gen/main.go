// Command gen writes the vocabulary of PKCS#11 v3.2 from the tables of package spec: the Go constants,
// attribute kinds and parameter structs of package pkcs11, the C header include/pkcs11.h, and the codec of parameter
// structs between client and node, with its table in docs/.
//
//	go run ./pkcs11/spec/gen           write what changed
//	go run ./pkcs11/spec/gen -check    write nothing; exit 1 if a file is not what the tables say
//
// It finds the module's root from the directory in which it is started.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// output is one generated file, its path relative to the module's root.
type output struct {
	path  string
	write func(*spec.Spec, *bytes.Buffer)
}

// outputs are all generated files.
var outputs = []output{
	{"pkcs11/zconst_rv.go", goConstants("functions.txt", "RV")},
	{"pkcs11/zconst_functions.go", goConstants("functions.txt", "")},
	{"pkcs11/zconst_attributes.go", goConstants("attributes.txt", "")},
	{"pkcs11/zconst_mechanisms.go", goConstants("mechanisms.txt", "")},
	{"pkcs11/znames.go", goNames},
	{"pkcs11/zkinds.go", goKinds},
	{"pkcs11/zparams.go", goParams},
	{"core/cluster/wire/zparams.go", goWire},
	{"docs/wire-parameters.md", wireTable},
	{"include/pkcs11.h", header},
}

func main() {
	check := flag.Bool("check", false, "write nothing, exit 1 if a file is out of date")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run makes every output and writes it, or compares it if check is set.
func run(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	s, err := spec.Load()
	if err != nil {
		return err
	}
	var stale []string
	for _, o := range outputs {
		want, err := render(s, o)
		if err != nil {
			return fmt.Errorf("%s: %w", o.path, err)
		}
		path := filepath.Join(root, o.path)
		have, err := os.ReadFile(path)
		if err == nil && bytes.Equal(have, want) {
			continue
		}
		stale = append(stale, o.path)
		if !check {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				return err
			}
		}
	}
	if check && len(stale) > 0 {
		return fmt.Errorf("not what the tables say: %s; run go generate ./pkcs11", strings.Join(stale, ", "))
	}
	return nil
}

// render returns the bytes of one output, formatted if it is Go.
func render(s *spec.Spec, o output) ([]byte, error) {
	var b bytes.Buffer
	o.write(s, &b)
	if !strings.HasSuffix(o.path, ".go") {
		return b.Bytes(), nil
	}
	return format.Source(b.Bytes())
}

// moduleRoot goes up from the working directory to the directory of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod in this directory or above it")
		}
		dir = up
	}
}
