package kernel

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed are the instructions that the assembly may have. Their time does not depend on data on any processor with
// AVX-512 IFMA; divisions, gathers, compressions and masked loads and stores are not among them.
var allowed = strings.Fields(`
	MOVQ ADDQ ADCQ XORQ ORQ SHLQ SHRQ DECQ JNZ RET VZEROUPPER KMOVB VMOVDQU64 VPBROADCASTQ
	VPMADD52LUQ VPMADD52HUQ VPADDQ VPSUBQ VPANDQ VPXORQ VPTERNLOGQ VPSRLQ VPSRLQ.Z VALIGNQ VALIGNQ.Z VPCMPUQ VPMOVM2Q`)

var (
	public   = regexp.MustCompile(`^(out|a|b|mod|times|table|index)\+\d+\(FP\)$`)
	constant = regexp.MustCompile(`^\$0x[0-9a-f]+$`)
	general  = regexp.MustCompile(`^(AX|BX|CX|DX|SI|DI|BP|R\d+)$`)
	memory   = regexp.MustCompile(`^-?\d*\(([A-Z0-9]+)\)$`)
	maskReg  = regexp.MustCompile(`^K\d$`)
)

// TestAssemblyIsConstantTime follows, through all jumps, which general registers hold nothing but pointers, counters and
// constants: those that came from an argument that is not secret or from a constant, were copied from such a register,
// or had a constant added. It requires that
//   - a jump is a JNZ right after a DECQ of such a register, and nothing else changes where the program goes,
//   - every memory operand has such a register as its base, a constant displacement and no index,
//   - a masked instruction does not touch memory, and every instruction is one of those allowed.
func TestAssemblyIsConstantTime(t *testing.T) {
	source, err := os.ReadFile("zkernel_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	functions := strings.Split(string(source), "\nTEXT ")[1:]
	if len(functions) != 13 {
		t.Errorf("%d functions, expected 13", len(functions))
	}
	for _, f := range functions {
		name, body, _ := strings.Cut(f, "\n")
		follow(t, name, strings.Split(body, "\n"))
	}
}

func follow(t *testing.T, name string, lines []string) {
	at := map[string]map[string]bool{} // what is public wherever a label can be reached from
	jumps := 0
	for again := true; again; {
		again, jumps = false, 0
		known := map[string]bool{}
		before := []string{""}
		for _, line := range lines {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "//") {
				continue
			}
			if label, ok := strings.CutSuffix(line, ":"); ok {
				if at[label] == nil {
					at[label] = copyOf(known)
				}
				for r := range known {
					if !at[label][r] {
						delete(known, r)
					}
				}
				for r := range at[label] {
					if !known[r] {
						delete(at[label], r)
					}
				}
				continue
			}
			op, rest, _ := strings.Cut(line, " ")
			args := strings.Split(strings.ReplaceAll(rest, " ", ""), ",")
			last := args[len(args)-1]
			if !slices.Contains(allowed, op) {
				t.Fatalf("%s: instruction %q", name, line)
			}
			for _, arg := range args {
				if !strings.Contains(arg, "(") || strings.HasSuffix(arg, "(FP)") {
					continue
				}
				if m := memory.FindStringSubmatch(arg); m == nil || !known[m[1]] {
					t.Fatalf("%s: an address that may depend on a secret: %q", name, line)
				}
				if op != "KMOVB" && slices.ContainsFunc(args, maskReg.MatchString) {
					t.Fatalf("%s: a masked access: %q", name, line)
				}
			}
			switch {
			case op == "JNZ":
				jumps++
				if before[0] != "DECQ" || !known[before[1]] {
					t.Fatalf("%s: a jump that may depend on a secret: %q after %q", name, line, before)
				}
				for r := range at[last] {
					if !known[r] {
						delete(at[last], r)
						again = true
					}
				}
			case !general.MatchString(last):
			case op == "MOVQ":
				known[last] = public.MatchString(args[0]) || constant.MatchString(args[0]) || known[args[0]]
			case op == "DECQ" || op == "ADDQ" && constant.MatchString(args[0]): // as before
			default:
				known[last] = false
			}
			for r, ok := range known {
				if !ok {
					delete(known, r)
				}
			}
			before = append([]string{op}, args...)
		}
	}
	if jumps == 0 {
		t.Errorf("%s: no jump was seen", name)
	}
}

func copyOf(m map[string]bool) map[string]bool {
	c := map[string]bool{}
	for k, v := range m {
		c[k] = v
	}
	return c
}
