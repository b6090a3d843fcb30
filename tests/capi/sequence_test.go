package capi

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestHostileSequences: random sequences of all functions, with arguments and parameters that are right, wrong or not
// memory at all; see hosts/sequence.c. COFFER_ROUNDS is how many calls, COFFER_SEED repeats a run. A library built with
// -asan (COFFER_ASAN_MODULE) is driven by a host under AddressSanitizer, with pointers that may be followed.
func TestHostileSequences(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 15 s")
	}
	seconds, rounds := "5", number(t, "COFFER_ROUNDS", 0)
	if rounds != "0" {
		seconds = "200"
	}
	run := func(t *testing.T, module, mode string, env []string, flags ...string) {
		exe := compileSequence(t, flags...)
		env = append(harness.NewToken(t, "sequence").Env("COFFER_LOG="+os.Getenv("COFFER_LOG")), env...)
		runHost(t, env, exe, module, harness.UserPIN, mode, number(t, "COFFER_SEED", 0), rounds, seconds)
	}
	t.Run("lengths", func(t *testing.T) { run(t, harness.Module(t), "lengths", nil) })
	t.Run("guarded", func(t *testing.T) { run(t, harness.Module(t), "hostile", nil) })
	t.Run("sanitized host", func(t *testing.T) {
		run(t, harness.Module(t), "hostile", sanitized, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
	})
	t.Run("sanitized library", func(t *testing.T) {
		module := os.Getenv("COFFER_ASAN_MODULE")
		if module == "" {
			t.Skip("COFFER_ASAN_MODULE names no library that was built with -asan (make asan does)")
		}
		run(t, module, "honest", sanitized, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
	})
}

// sanitized leaves the faults of wild pointers to the library: what it does about them is what is tested.
var sanitized = []string{"ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:allocator_may_return_null=1:" +
	"detect_stack_use_after_return=0:use_sigaltstack=0"}

// compileSequence writes the tables of the standard in C beside the host and compiles it.
func compileSequence(t *testing.T, flags ...string) string {
	t.Helper()
	harness.Need(t, "gcc")
	dir := t.TempDir()
	source(t, dir, "sequence_table.h", sequenceTable(tables(t)))
	exe := filepath.Join(dir, "sequence")
	args := []string{"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I" + headerDir(t), "-I" + dir}
	args = append(append(args, flags...), "-o", exe, filepath.Join("hosts", "sequence.c"), "-ldl")
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return exe
}

// roles are the letters by which hosts/sequence.c knows the roles of arguments and fields.
var roles = map[string]string{
	"session": "s", "slot": "S", "handle": "h", "value": "v", "mechanism": "m", "messaging": "M", "wrapping": "W",
	"authenticated": "M", "template": "t", "getattrs": "g", "in": "i", "param": "p", "fill": "f", "text": "x", "label": "L",
	"version": "0", "len": "n", "anylen": "n", "out": "o", "list": "o", "lenptr": "n", "handles": "H", "countptr": "w", "outhandle": "w",
	"outnumber": "w", "outinfo": "I", "outasync": "A", "outptr": "0", "initargs": "0", "notify": "0", "context": "0",
	"buffer": "F", "reserved": "0",
	"bool": "b", "byte": "b", "fixed": "b", "bytes": "i", "bits": "k", "nonce": "i", "secret": "i", "inout": "i",
	"inoutbits": "k", "inoutnonce": "i", "struct": "T", "ref": "r", "array": "a", "sethandle": "v",
}

// sequenceTable writes functions, structs, mechanisms, attributes and return values as C tables.
func sequenceTable(s *spec.Spec) string {
	var b strings.Builder
	index := map[string]int{"": -1}
	for i, st := range s.Structs {
		index[st.C], index[st.C+"_PTR"] = i, i
	}
	role := func(f spec.Field, fields []spec.Field) (letter string, ref int) {
		letter, ref = roles[f.Role], -1
		if f.Role == "out" && len(f.Refs) == 0 {
			letter = "I"
		}
		if letter == "" {
			letter = "v"
		}
		if len(f.Refs) > 0 {
			ref = slices.IndexFunc(fields, func(g spec.Field) bool { return g.CName == f.Refs[0] })
		}
		return letter, ref
	}
	b.WriteString("static const struct function functions[] = {\n")
	for _, f := range s.Functions {
		fmt.Fprintf(&b, "{%q, %q, %d, {", f.Name, f.Chapter, len(f.Args))
		for _, a := range f.Args {
			letter, ref := role(a, f.Args)
			fmt.Fprintf(&b, "{'%s', %d}, ", letter, ref)
		}
		b.WriteString("}},\n")
	}
	b.WriteString("};\n")
	for i, st := range s.Structs {
		fmt.Fprintf(&b, "static const struct field fields%d[] = {\n", i)
		fields := slices.DeleteFunc(slices.Clone(st.Fields), func(f spec.Field) bool { return f.Role == "view" })
		for _, f := range fields {
			letter, ref := role(f, fields)
			inner, known := index[f.CType]
			if !known {
				inner = -1
			}
			fmt.Fprintf(&b, "{'%s', %d, %d, offsetof(%s, %s), sizeof ((%s *)0)->%s},\n", letter, ref, inner, st.C, f.CName, st.C, f.CName)
		}
		b.WriteString("};\n")
	}
	b.WriteString("static const struct layout layouts[] = {\n")
	for i, st := range s.Structs {
		brief := "" // without what the second known layout lacks, all of them of 8 bytes
		if st.Without != "" {
			brief = fmt.Sprintf(" - %d", 8*len(strings.Split(st.Without, ",")))
		}
		fmt.Fprintf(&b, "{sizeof(%s), sizeof(%s)%s, fields%d, sizeof fields%d / sizeof *fields%d},\n", st.C, st.C, brief, i, i, i)
	}
	b.WriteString("};\nstatic const struct mechanism mechanisms[] = {\n")
	for _, m := range s.Mechanisms {
		if m.Alias != "" {
			continue
		}
		of := func(param string) int {
			if i, ok := index[param]; ok {
				return i
			}
			return -1
		}
		fmt.Fprintf(&b, "{%#xUL, %d, %d, '%c', %d},\n", m.Value, of(m.Param), of(m.Message), m.Param[0], m.Len)
	}
	b.WriteString("};\nstatic const CK_ULONG attributes[] = {")
	for _, a := range s.Attributes {
		fmt.Fprintf(&b, "%#xUL, ", a.Value)
	}
	b.WriteString("};\nstatic const struct answer answers[] = {\n")
	for _, g := range s.Constants {
		if g.C != "CK_RV" {
			continue
		}
		for _, c := range g.Names {
			if c.Alias == "" && c.Name != "CKR_VENDOR_DEFINED" {
				fmt.Fprintf(&b, "{%#xUL, %q},\n", c.Value, c.Name)
			}
		}
	}
	b.WriteString("};\n")
	return b.String()
}
