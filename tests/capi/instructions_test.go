package capi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// budgets are how many instructions an operation may take, all that the process does for it counted: the way from C to the
// key and back. Valgrind counts them, on a processor that it makes up, so that neither the machine nor its load matters.
// They are about a fifth above what there is; who needs more has a reason, and raises them.
var budgets = []struct {
	operation string // of coffer-bench
	steps     int
	most      int
}{
	{"session", 4000, 4500},
	{"attributes", 4000, 4800},
	{"random-32", 4000, 2700},
	{"find-100", 2000, 11000},
	{"sign-p256", 300, 440_000},
}

func TestInstructionsPerOperation(t *testing.T) {
	harness.Need(t, "valgrind")
	for _, b := range budgets {
		t.Run(b.operation, func(t *testing.T) {
			t.Parallel()
			// What both runs do, loading, login and the key, is not the operation's.
			few, many := instructions(t, b.operation, b.steps/10), instructions(t, b.operation, b.steps+b.steps/10)
			each := (many - few) / b.steps
			t.Logf("%s: %d instructions", b.operation, each)
			if each > b.most {
				t.Errorf("%s takes %d instructions, more than %d", b.operation, each, b.most)
			}
			if each < b.most/4 {
				t.Errorf("%s takes %d instructions: the budget of %d holds nothing", b.operation, each, b.most)
			}
		})
	}
}

var refs = regexp.MustCompile(`I\s+refs:\s+([0-9,]+)`)

// instructions counts those of a process that does an operation so many times.
func instructions(t *testing.T, operation string, steps int) int {
	t.Helper()
	token := harness.NewToken(t, "instructions")
	log := filepath.Join(token.Dir, "log")
	token.Run(t, "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--log-file="+log,
		harness.Bench(t), "--module", harness.Module(t), "--operations", operation, "--steps", fmt.Sprint(steps))
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	found := refs.FindSubmatch(said)
	if found == nil {
		t.Fatalf("valgrind has counted nothing:\n%s", said)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(string(found[1]), ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
