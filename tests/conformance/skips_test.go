package conformance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

// skip says what a stack cannot show, a test by name or a feature that tests ask for, and why. One that no test ran into
// fails the run.
type skip struct {
	stack  *Stack
	what   string
	reason string
}

// Features that tests ask for.
const (
	rawParams  = "parameters in C's own layout"
	secondView = "a second view of the same token"
	newSerial  = "a new serial number with each C_InitToken"
)

const typed = "its parameters are typed and cannot be malformed"

var skips = []skip{
	{library, secondView, "two processes on one token are a test of the C programs"},
	{memory, secondView, "nobody else can open its store"},
	{memory, rawParams, typed},
	{sqliteFile, rawParams, typed},
}

func init() {
	for _, s := range []*Stack{oneNode, oneTLS, threeNodes, threeOneDead, threeKilled} {
		skips = append(skips,
			skip{s, rawParams, typed},
			skip{s, secondView, "its nodes are this test's own; what several clients see is the cluster tests' business"},
			skip{s, newSerial, "the serial number is the cluster's, and stays"})
	}
}

// never are functions that the token does not have; random_test.go knows their answers.
var never = []string{"SeedRandom", "WaitForSlotEvent"}

var usedSkips = map[*skip]bool{}

// skipped looks for a row.
func skipped(s *Stack, what string) (reason string, yes bool) {
	for i := range skips {
		if k := &skips[i]; k.stack == s && k.what == what {
			usedSkips[k] = true
			return k.reason, true
		}
	}
	return "", false
}

// needs skips the rest of a test where the stack lacks a feature.
func (e *env) needs(t *testing.T, feature string) {
	t.Helper()
	if reason, skip := skipped(e.stack, feature); skip {
		t.Skipf("%s: %s", feature, reason)
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	report(os.Stdout)
	if flag.Lookup("test.run").Value.String() == "" && code == 0 {
		code = complete()
	}
	loaded.remove()
	os.Exit(code)
}

// complete judges a run of the whole suite: every skip was needed and every function was seen to succeed.
func complete() (code int) {
	for i := range skips {
		if k := &skips[i]; !usedSkips[k] {
			fmt.Printf("unused skip: %s on %s\n", k.what, k.stack.Name)
			code = 1
		}
	}
	for _, s := range stacks {
		for _, f := range recorders[s.Name].untouched() {
			if !slices.Contains(never, f) {
				fmt.Printf("%s: no test saw %s succeed\n", s.Name, f)
				code = 1
			}
		}
	}
	return code
}
