// Package deps holds the rules of docs/architecture.md about who may import whom.
package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/coffer-hsm/coffer/"

// rules say, for each package (a trailing /... covers those below), which of our own packages it may import and which
// modules from outside. The standard library is open to all, but for what forbidden names.
//
// DO NOT CHANGE A RULE TO MAKE A BUILD PASS. An import that is not listed is a question about the design.
var rules = []struct {
	pkg  string
	may  string
	from string
}{
	{"pkcs11", "", ""},
	{"pkcs11/spec", "", ""},
	{"pkcs11/spec/gen", "pkcs11/spec", ""},
	{"core/secret", "", ""},
	{"core/spread", "", ""},
	{"core/policy", "pkcs11", ""},
	{"core/config", "pkcs11 core/policy", "github.com/BurntSushi/toml"},
	{"core/index", "pkcs11", ""},
	{"core/object", "pkcs11 core/secret", "golang.org/x/crypto"},
	{"core/mech", "pkcs11 core/object core/secret", "golang.org/x/crypto"},
	{"core/mech/all", "core/mech core/mech/...", ""},
	{"core/mech/rsa/kernel", "", "golang.org/x/sys"},
	{"core/mech/...", "pkcs11 core/object core/secret core/spread core/mech core/mech/...", "golang.org/x/crypto filippo.io/bigmod filippo.io/mldsa github.com/cloudflare/circl"},
	{"core/hsm", "pkcs11", ""},
	{"core/release", "pkcs11", ""},
	{"core/softhsm", "pkcs11 core/secret", ""},
	{"core/store", "", ""},
	{"core/store/sqlite", "core/store", "modernc.org/sqlite golang.org/x/sys"},
	{"core/store/...", "core/store", ""},
	{"core/store/storetest", "core/store", "github.com/stretchr/testify"},
	{"core/vault", "core/store core/secret", "golang.org/x/crypto"},
	{"core/auth", "pkcs11 core/store core/vault core/secret", ""},
	{"core/engine", "pkcs11 core/hsm core/object core/index core/policy core/mech core/mech/hashes core/store core/vault core/auth core/secret core/spread core/release", "golang.org/x/crypto"},
	{"core/cryptoki", "pkcs11 core/hsm core/index", ""},
	{"core/embedded", "pkcs11 core/hsm core/engine core/mech/all core/store core/store/sqlite core/vault core/config", ""},
	{"core/store/etcd", "core/store", "go.etcd.io/etcd google.golang.org/grpc"},
	{"core/cluster/wire", "pkcs11 core/hsm core/secret", "google.golang.org/grpc google.golang.org/protobuf"},
	{"core/cluster/client", "pkcs11 core/hsm core/secret core/cluster/wire", "google.golang.org/grpc google.golang.org/protobuf golang.org/x/sys"},
	{"core/cluster/node", "pkcs11 core/hsm core/secret core/cluster/wire core/cluster/pki core/cluster/tally", "google.golang.org/grpc google.golang.org/protobuf golang.org/x/sys golang.org/x/time"},
	{"core/cluster/tally", "", ""},
	{"core/cluster/pki", "core/secret", "golang.org/x/crypto"},
	{"core/cluster/custody", "core/secret core/vault", "github.com/cloudflare/circl github.com/miekg/pkcs11 golang.org/x/crypto"},
	{"core/cluster/member", "pkcs11 core/hsm core/secret core/store core/store/etcd core/vault core/config core/cluster/wire core/cluster/node core/cluster/pki core/cluster/custody core/cluster/tally",
		"go.etcd.io/etcd google.golang.org/grpc google.golang.org/protobuf golang.org/x/sys go.uber.org/zap"},
	{"core/cluster/metrics", "pkcs11 core/cluster/member core/cluster/node core/cluster/tally", "github.com/prometheus/client_golang github.com/prometheus/client_model"},
	{"core/remote", "pkcs11 core/hsm core/config core/cluster/client core/cluster/pki", ""},
	{"cbridge/...", "pkcs11 pkcs11/spec core/...", "*"},
	{"cbridge", "pkcs11 core/...", "*"},
	{"docs/gen", "pkcs11 core/mech core/mech/all core/policy tests/interop/clients", ""},
	{"docs/performance", "", ""},
	{"cmd/...", "pkcs11 core/...", "*"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	GoFiles    []string
	CgoFiles   []string
	Module     *struct{ Path string }
	Standard   bool
}

// list runs go list with the arguments and decodes its JSON.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,GoFiles,CgoFiles,Module,Standard"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func covers(pattern, name string) bool {
	if prefix, all := strings.CutSuffix(pattern, "/..."); all {
		return strings.HasPrefix(name, prefix+"/")
	}
	return pattern == name
}

func anyCovers(patterns, name string) bool {
	for _, p := range strings.Fields(patterns) {
		if covers(p, name) {
			return true
		}
	}
	return false
}

func TestImportsPointDownwards(t *testing.T) {
	checked := 0
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "tests/") {
			continue
		}
		checked++
		var may, from string
		found := false
		for _, r := range rules {
			// A rule for the package itself goes before one for its folder.
			if r.pkg == name || !found && covers(r.pkg, name) {
				may, from, found = r.may, r.from, true
				if r.pkg == name {
					break
				}
			}
		}
		if !found {
			t.Errorf("%s has no rule: say in the table what it may import", name)
			continue
		}
		for _, imp := range p.Imports {
			checkImport(t, name, imp, may, from)
		}
	}
	if checked < 15 {
		t.Errorf("only %d packages were checked", checked)
	}
}

func checkImport(t *testing.T, name, imp, may, from string) {
	t.Helper()
	if own, isOwn := strings.CutPrefix(imp, module); isOwn {
		if !anyCovers(may, own) {
			t.Errorf("%s may not import %s", name, own)
		}
		return
	}
	if imp == "C" || !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return
	}
	if from == "*" {
		return
	}
	for _, m := range strings.Fields(from) {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return
		}
	}
	t.Errorf("%s may not import %s", name, imp)
}

// forbidden are packages that only the places named may import.
var forbidden = []struct{ imp, only string }{
	{"C", "cbridge"},
	{"unsafe", "cbridge core/cluster/wire"}, // there in what protoc makes, and nowhere else
	{"math/rand", ""},
	{"math/rand/v2", ""},
	{"os/exec", ""},
	{"net/http", ""},
}

func TestForbiddenImports(t *testing.T) {
	for _, p := range list(t, "./pkcs11/...", "./core/...", "./cbridge/...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			for _, f := range forbidden {
				if imp == f.imp && !anyCovers(f.only, name) {
					t.Errorf("%s imports %s", name, imp)
				}
			}
		}
	}
}

// TestUnsafeStaysInOneFile: memory of the C caller is touched in cbridge/mem.go alone.
func TestUnsafeStaysInOneFile(t *testing.T) {
	found := false
	for _, p := range list(t, "./cbridge") {
		for _, f := range append(p.GoFiles, p.CgoFiles...) {
			uses := importsUnsafe(t, path.Join("../../cbridge", f))
			found = found || uses && f == "mem.go"
			if uses && f != "mem.go" {
				t.Errorf("cbridge/%s imports unsafe", f)
			}
		}
	}
	if !found {
		t.Error("cbridge/mem.go does not import unsafe: is this test looking at the right file?")
	}
}
