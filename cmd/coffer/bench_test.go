package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// runBench runs the command in a directory for temporary files of its own, which must be empty afterwards.
func runBench(t *testing.T, ctx context.Context, host string, args ...string) (out string, err error) {
	t.Helper()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var b bytes.Buffer
	a := newApp(nil, &b, io.Discard, func(name string) string { return map[string]string{benchHostEnv: host}[name] })
	a.output = "json"
	cmd := a.benchCommand()
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(ctx)
	left, readErr := os.ReadDir(temporary)
	if readErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, readErr)
	}
	return b.String(), err
}

func parseReport(t *testing.T, text string) benchReport {
	t.Helper()
	var r benchReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

// TestBenchMeasuresEveryOperation runs the host on the built library, twice side by side. How fast it is is not judged.
func TestBenchMeasuresEveryOperation(t *testing.T) {
	module := harness.Module(t)
	out, err := runBench(t, t.Context(), harness.Bench(t), "--quick", "--seconds", "0.002", "--threads", "1,3",
		"--module", module, "--vs", module)
	if err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, out)
	if len(r.Modules) != 2 || r.Modules[0].Name != "Coffer" || r.Modules[1].Name != "Coffer (2)" || r.Modules[0].Version == "" {
		t.Errorf("modules: %+v", r.Modules)
	}
	if r.Machine.Processor == "" || r.Machine.Kernel == "" || r.Date == "" {
		t.Errorf("machine: %+v, date %q", r.Machine, r.Date)
	}
	if len(r.Results) < 40 {
		t.Errorf("there are only %d results", len(r.Results))
	}
	for _, res := range r.Results {
		for i, f := range res.Modules {
			switch {
			case f.failed():
				t.Errorf("%s with %d threads: %s%s from %s", res.Operation, res.Threads, f.Unsupported, f.Error, f.Call)
			case f.Count == 0 || f.Seconds <= 0 || f.Rate <= 0 || len(f.Runs) != 1:
				t.Errorf("%s with %d threads: %+v", res.Operation, res.Threads, f)
			case res.Threads == 1 && (f.Median == 0 || f.P99 < f.Median):
				t.Errorf("%s: median %d ns, 99th percentile %d ns", res.Operation, f.Median, f.P99)
			case (f.Ratio != nil) != (i > 0):
				t.Errorf("%s: module %d has the ratio %v", res.Operation, i, f.Ratio)
			}
		}
	}
}

// fakeBenchHost is a host that answers each request by running a piece of shell.
func fakeBenchHost(t *testing.T, request string) (host, module string) {
	t.Helper()
	dir := t.TempDir()
	host, module = filepath.Join(dir, "host"), filepath.Join(dir, "module.so")
	script := `#!/bin/sh
case "$*" in
--list) echo '{"operation":"spin","text":"spin","objects":0}'; exit ;;
*) echo '{"manufacturer":"Coffer","description":"fake","version":"9.9"}' ;;
esac
case "$*" in *--serve*) ;; *) exit ;; esac
while read -r word; do ` + request + `; done
`
	for path, text := range map[string]string{host: script, module: ""} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return host, module
}

func TestBenchSurvivesAModuleThatCrashes(t *testing.T) {
	host, module := fakeBenchHost(t, "kill -SEGV $$")
	out, err := runBench(t, t.Context(), host, "--module", module)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range parseReport(t, out).Results {
		if got := res.Modules[0].Error; !strings.Contains(got, "segmentation fault") {
			t.Errorf("with %d threads: %q", res.Threads, got)
		}
	}
}

func TestBenchInterruptedLeavesNothingBehind(t *testing.T) {
	called := filepath.Join(t.TempDir(), "called")
	if out, err := exec.Command("mkfifo", called).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v %s", err, out)
	}
	host, module := fakeBenchHost(t, "echo >"+called+"; exec sleep 3600")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(called) // waits until the host is at work
		cancel()
	}()
	_, err := runBench(t, ctx, host, "--module", module)
	if err == nil || err.Error() != "the measurement was interrupted" {
		t.Errorf("error: %v", err)
	}
}

func TestBenchSaysWhatIsWrong(t *testing.T) {
	host, module := fakeBenchHost(t, "exit")
	for _, c := range []struct {
		args string
		want string
	}{
		{"--threads 0", "--threads has 0"},
		{"--threads 257", "--threads has 257"},
		{"--seconds 0", "--seconds is 0"},
		{"--seconds NaN", "--seconds is NaN"},
		{"--rounds 0", "--rounds is 0"},
		{"--setup-limit 1ms", "--setup-limit is 1ms"},
		{"--operations fly", `there is no operation "fly"`},
		{"--module /nowhere.so", "the module /nowhere.so cannot be read"},
	} {
		_, err := runBench(t, t.Context(), host, append([]string{"--module", module}, strings.Fields(c.args)...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

func TestBenchFigures(t *testing.T) {
	runs := func(rates ...float64) (list []benchRun) {
		for _, r := range rates {
			list = append(list, benchRun{Rate: r, Count: 1, Seconds: 1})
		}
		return list
	}
	first := runs(100, 10, 30)
	f := benchFigures{Runs: runs(50, 10, 10)}
	f.sum(first, true)
	// The median of 2, 1 and 3; the ratio of the two medians would be 3.
	if f.Rate != 10 || *f.Ratio != 2 || f.Count != 3 {
		t.Errorf("figures: %+v, ratio %v", f, *f.Ratio)
	}
	f = benchFigures{Runs: []benchRun{first[0], {Error: "CKR_DEVICE_ERROR"}}}
	f.sum(first, true)
	if f.Error == "" || f.Rate != 0 || f.Ratio != nil || f.cell() != "error" {
		t.Errorf("figures with a failure: %+v", f)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of an even number: %v", got)
	}
	for v, want := range map[float64]string{1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1,234", 1234567: "1,234,567"} {
		if got := grouped(v); got != want {
			t.Errorf("grouped(%v) = %s, want %s", v, got, want)
		}
	}
}

// TestBenchOperationsAreDocumented: docs/benchmark.md has a row for each operation of the host, and no other.
func TestBenchOperationsAreDocumented(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list, err := benchOperations(ctx, harness.Bench(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "benchmark.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## The operations\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, op := range list {
		if !strings.Contains(section, fmt.Sprintf("\n| `%s` |", op.Name)) {
			t.Errorf("docs/benchmark.md has no row for %s", op.Name)
		}
	}
	if rows := strings.Count(section, "\n| `"); rows != len(list) {
		t.Errorf("docs/benchmark.md has %d rows for %d operations", rows, len(list))
	}
}
