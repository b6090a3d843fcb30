package capi

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// budgets are how many instructions an operation may take, all that the process does for it counted: the way from C to the
// key and back. Valgrind counts them, on a processor that it makes up, so that neither the machine nor its load matters much.
// They are about a twentieth above what there is, a hundredth where nearly all is Go's cryptography; who needs more has a
// reason, and raises them. AVX2 is the most that the made-up processor has for SHA-256.
var budgets = []struct {
	operation string // of coffer-bench
	steps     int    // some 60 million instructions: what Go's runtime does by the clock does not count beside them
	most      int
}{
	{"session", 16_000, 3650},
	{"attributes", 16_000, 3950},
	{"random-32", 30_000, 1980},
	{"find-100", 7_000, 8650},
	{"aes-gcm-1k", 6_000, 9750},
	{"hmac-sha256-1k", 1_500, 43_000},
	{"sha256-1k", 1_500, 38_900},
	{"generate-aes-256", 3000, 24_500},
	{"sign-p256", 180, 371_000},
}

func TestInstructionsPerOperation(t *testing.T) {
	for _, b := range budgets {
		t.Run(b.operation, func(t *testing.T) {
			t.Parallel()
			// What all runs do, loading, login and the key, is not the operation's. What the runtime does by the clock may be
			// in one run and not in the other: who seems to take too much is looked at again.
			least := math.MaxInt
			for try := 0; try < 3 && least > b.most; try++ {
				few, many := instructions(t, b.operation, b.steps/10), instructions(t, b.operation, b.steps+b.steps/10)
				least = min(least, (many-few)/b.steps)
			}
			t.Logf("%s: %d instructions", b.operation, least)
			if least > b.most {
				t.Errorf("%s takes %d instructions, more than %d", b.operation, least, b.most)
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
	harness.Need(t, "valgrind")
	// With one processor: what Go's collector does on those that are idle depends on the time.
	token.Run(t, "env", "GOMAXPROCS=1", "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--log-file="+log,
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
