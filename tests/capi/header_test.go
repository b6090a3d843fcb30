// Package capi tests what a C program sees of Coffer: here the header, elsewhere the built library.
package capi

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// foreign is a header of the same interface that other hands have written or copied: a number that we
// mistyped differs from theirs.
type foreign struct {
	name     string
	pkg      string            // Debian's package
	file     string            // without which the package is missing
	flags    []string          // for the compiler
	include  string            // C text that includes it
	foreign  *regexp.Regexp    // its constants that are not the standard's
	differs  map[string]string // facts that differ, with the reason. Newer versions of it may agree
	nConst   int               // at least so many constants are shared
	nStructs int               // and so many structs
}

var foreigners = []foreign{
	{
		name:    "p11-kit", // PKCS#11 2.40 and a part of 3.0
		pkg:     "libp11-kit-dev",
		file:    "/usr/include/p11-kit-1/p11-kit/pkcs11.h",
		flags:   []string{"-I/usr/include/p11-kit-1"},
		include: "#define CRYPTOKI_COMPAT 1\n#include <p11-kit/pkcs11.h>\n",
		foreign: regexp.MustCompile(`^CK._(X_|OPENPGP)`),
		differs: map[string]string{
			"CKR_EXCEEDED_MAX_ITERATIONS": p11kitSlip,
			"CKR_FIPS_SELF_TEST_FAILED":   p11kitSlip,
			"CKR_LIBRARY_LOAD_FAILED":     p11kitSlip,
			"CKR_PIN_TOO_WEAK":            p11kitSlip,
			"CKR_PUBLIC_KEY_INVALID":      p11kitSlip,
		},
		nConst: 690, nStructs: 22,
	},
	{
		name:    "NSS", // PKCS#11 3.0
		pkg:     "libnss3-dev",
		file:    "/usr/include/nss/pkcs11.h",
		flags:   []string{"-I/usr/include/nss", "-I/usr/include/nspr"},
		include: "#include \"pkcs11.h\"\n",
		foreign: regexp.MustCompile(`^CK`), // any: it has many that do not look like its own
		differs: map[string]string{
			"CKA_TRUST_SERVER_AUTH":          nssTrust,
			"CKA_TRUST_CLIENT_AUTH":          nssTrust,
			"CKA_TRUST_CODE_SIGNING":         nssTrust,
			"CKA_TRUST_EMAIL_PROTECTION":     nssTrust,
			"CKA_TRUST_TIME_STAMPING":        nssTrust,
			"CK_C_INITIALIZE_ARGS":           nssArgs,
			"CK_C_INITIALIZE_ARGS.pReserved": nssArgs,
		},
		nConst: 880, nStructs: 80,
	},
}

const (
	p11kitSlip = "p11-kit 0.24 counts these five from 0x1c0; the standard, and every other header, from 0x1b5"
	nssTrust   = "NSS uses the name for a vendor attribute of its own, older than the standard's"
	nssArgs    = "NSS has a member of its own before pReserved"
)

// headerDir returns the directory of our headers.
func headerDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../include")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compile runs a compiler and fails the test with what it says.
func compile(t *testing.T, compiler string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		t.Fatalf("install %s (make deps-test does)", compiler)
	}
	cmd := exec.Command(compiler, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", compiler, strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// source writes a C file into a directory of the test.
func source(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tables loads the tables from which our header is made.
func tables(t *testing.T) *spec.Spec {
	t.Helper()
	s, err := spec.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// factsMain prints the name of every fact that differs between the two tables, with both numbers.
const factsMain = `#include <stdio.h>
struct fact { const char *name; unsigned long value; };
extern const struct fact theirs[], ours[];
int main(void) {
    int i;
    for (i = 0; theirs[i].name; i++)
        if (theirs[i].value != ours[i].value)
            printf("%s they=0x%lx we=0x%lx\n", theirs[i].name, theirs[i].value, ours[i].value);
    return 0;
}
`

// TestHeaderAgreesWithOthers proves that every constant and every struct that another header shares with
// ours has the same number, the same size and its members at the same places.
func TestHeaderAgreesWithOthers(t *testing.T) {
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) { compare(t, f) })
	}
}

func compare(t *testing.T, f foreign) {
	if _, err := os.Stat(f.file); err != nil {
		t.Fatalf("install %s (make deps-test does)", f.pkg)
	}
	dir, s := t.TempDir(), tables(t)
	probe := source(t, dir, "probe.c", f.include)
	macros := string(compile(t, "gcc", append(slices.Clone(f.flags), "-dM", "-E", probe)...))
	plain := string(compile(t, "gcc", append(slices.Clone(f.flags), "-E", "-P", probe)...))

	var facts strings.Builder
	fact := func(name, value string) {
		fmt.Fprintf(&facts, "    {%q, (unsigned long)(%s)},\n", name, value)
	}
	constants := sharedConstants(t, s, macros, f)
	for _, name := range constants {
		fact(name, name)
	}
	structs, members := sharedStructs(s, plain), 0
	for _, st := range structs {
		fact(st.C, "sizeof("+st.C+")")
		for _, m := range st.Fields {
			members++
			fact(st.C+"."+m.CName, fmt.Sprintf("offsetof(%s, %s)", st.C, m.CName))
		}
	}
	for _, line := range differences(t, dir, f, facts.String()) {
		name, _, _ := strings.Cut(line, " ")
		if why, known := f.differs[name]; known {
			t.Logf("%s: %s", line, why)
		} else {
			t.Errorf("%s", line)
		}
	}
	t.Logf("compared %d constants, %d structs, %d members", len(constants), len(structs), members)
	if len(constants) < f.nConst || len(structs) < f.nStructs {
		t.Errorf("expected to compare at least %d constants and %d structs", f.nConst, f.nStructs)
	}
}

// differences builds a program from three files, one for each header and factsMain, and returns what it prints.
func differences(t *testing.T, dir string, f foreign, facts string) []string {
	t.Helper()
	const table = "#include <stddef.h>\nstruct fact { const char *name; unsigned long value; };\n" +
		"extern const struct fact %[1]s[];\nconst struct fact %[1]s[] = {\n%[2]s    {0, 0}\n};\n"
	var objects []string
	for _, file := range []struct {
		name, text string
		flags      []string
	}{
		{"main", factsMain, nil},
		{"theirs", f.include + fmt.Sprintf(table, "theirs", facts), f.flags},
		{"ours", "#include \"pkcs11.h\"\n" + fmt.Sprintf(table, "ours", facts), []string{"-I" + headerDir(t)}},
	} {
		object := filepath.Join(dir, file.name+".o")
		objects = append(objects, object)
		compile(t, "gcc", append(slices.Clone(file.flags), "-c", "-o", object, source(t, dir, file.name+".c", file.text))...)
	}
	program := filepath.Join(dir, "facts")
	compile(t, "gcc", append(objects, "-o", program)...)
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool { return l == "" })
}

// sharedConstants returns the names that both headers define. It fails for a constant of theirs that is the
// standard's and that we do not have.
func sharedConstants(t *testing.T, s *spec.Spec, macros string, f foreign) []string {
	t.Helper()
	theirs := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#define (CK\w+) \S`).FindAllStringSubmatch(macros, -1) {
		theirs[m[1]] = true
	}
	var shared []string
	for _, g := range s.All() {
		for _, c := range g.Names {
			if theirs[c.Name] {
				shared = append(shared, c.Name)
				delete(theirs, c.Name)
			}
		}
	}
	constant := regexp.MustCompile(`^CK[A-Z]_`)
	for name := range theirs {
		if constant.MatchString(name) && !f.foreign.MatchString(name) {
			t.Errorf("%s has %s, our tables do not", f.name, name)
		}
	}
	return shared
}

// sharedStructs returns the structs that both headers define, with the members that our tables give them.
// The function lists are among them: each member is a function.
func sharedStructs(s *spec.Spec, text string) []spec.Struct {
	all := slices.Clone(s.Structs)
	for c, version := range map[string]string{"CK_FUNCTION_LIST": "2.40", "CK_FUNCTION_LIST_3_0": "3.0"} {
		st := spec.Struct{C: c, Fields: []spec.Field{{CName: "version"}}}
		for _, f := range s.List(version) {
			st.Fields = append(st.Fields, spec.Field{CName: f.Name})
		}
		all = append(all, st)
	}
	return slices.DeleteFunc(all, func(st spec.Struct) bool {
		defined := regexp.MustCompile(`(\}|typedef struct \w+)\s+` + st.C + `;`)
		return !defined.MatchString(text)
	})
}

// TestHeaderCompiles: our headers compile without a warning as old C, as new C and as C++, with and without
// the macros that users of the standard's header define beforehand, and the prototypes fit the lists.
func TestHeaderCompiles(t *testing.T) {
	const oasisMacros = `#define CK_PTR *
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType (* name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType (* name)
#define NULL_PTR 0
`
	var lists strings.Builder
	for c, version := range map[string]string{"CK_FUNCTION_LIST": "2.40", "CK_FUNCTION_LIST_3_0": "3.0", "CK_FUNCTION_LIST_3_2": "3.2"} {
		fmt.Fprintf(&lists, "%s a_%s = {{3, 2}", c, c)
		for _, f := range tables(t).List(version) {
			lists.WriteString(",\n    " + f.Name)
		}
		lists.WriteString("};\n")
	}
	dir := t.TempDir()
	for _, c := range []struct{ name, compiler, std, text string }{
		{"C89", "gcc", "-std=c89", "#include \"coffer.h\"\n" + lists.String()},
		{"C17", "gcc", "-std=c17", "#include \"coffer.h\"\n#include \"pkcs11.h\"\n" + lists.String()},
		{"CloudHSM's names in C89", "gcc", "-std=c89", "#include \"coffer.h\"\n#include \"cloudhsm_pkcs11_vendor_defs.h\"\n" + lists.String()},
		{"CloudHSM's names in C++", "g++", "-std=c++11", "#include \"cloudhsm_pkcs11_vendor_defs.h\"\n#include \"coffer.h\"\n" + lists.String()},
		{"C89 with macros", "gcc", "-std=c89", oasisMacros + "#include \"pkcs11.h\"\n" + lists.String()},
		{"C++", "g++", "-std=c++11", "#include \"coffer.h\"\n" + lists.String()},
		{"C++ with macros", "g++", "-std=c++11", oasisMacros + "#include \"pkcs11.h\"\n" + lists.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			suffix := ".c"
			if c.compiler == "g++" {
				suffix = ".cc"
			}
			src := source(t, dir, "compiles"+suffix, c.text)
			compile(t, c.compiler, c.std, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"+headerDir(t),
				"-c", "-o", filepath.Join(dir, "compiles.o"), src)
		})
	}
}

// TestGeneratedVocabularyIsCurrent: what the generator would write is what stands in the tree.
func TestGeneratedVocabularyIsCurrent(t *testing.T) {
	cmd := exec.Command("go", "run", "./pkcs11/spec/gen", "-check")
	cmd.Dir = filepath.Dir(headerDir(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVendorNumbers: the headers that are written by hand have the tables' numbers of other makers' mechanisms, and CloudHSM's
// names for the standard's things have the standard's numbers.
func TestVendorNumbers(t *testing.T) {
	numbers := map[string]string{}
	for _, g := range tables(t).Known() {
		for _, n := range g.Names {
			numbers[n.Name] = fmt.Sprintf("0x%08xUL", n.Value)
		}
	}
	alias := strings.NewReplacer("CKM_CLOUDHSM_", "CKM_", "CKA_CLOUDHSM_", "CKA_", "CKP_CLOUDHSM_", "CKP_", "CKD_CLOUDHSM_X963_", "CKD_")
	define := regexp.MustCompile(`(?m)^#define (CK[MAPD]_CLOUDHSM_\w+) (\w+)$`)
	for header, least := range map[string]int{"coffer.h": 5, "cloudhsm_pkcs11_vendor_defs.h": 17} {
		text, err := os.ReadFile(filepath.Join(headerDir(t), header))
		if err != nil {
			t.Fatal(err)
		}
		found := define.FindAllStringSubmatch(string(text), -1)
		for _, d := range found {
			want, vendor := numbers[d[1]]
			if !vendor {
				want = numbers[alias.Replace(d[1])]
			}
			if d[2] != want {
				t.Errorf("%s: %s is %s, the tables say %q", header, d[1], d[2], want)
			}
		}
		if len(found) < least {
			t.Errorf("%s: %d names, at least %d expected", header, len(found), least)
		}
	}
}
