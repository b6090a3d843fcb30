// Command performance writes docs/performance.md and its plots from what `coffer bench --output json` found out on a machine:
// one report with all operations, and one with a few operations and many numbers of threads. `make bench` runs both.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// report is what is read of coffer bench's; docs/benchmark.md says what it means.
type report struct {
	Date    string
	Machine struct {
		Processor, Kernel, Load string
		Processors              int
	}
	Seconds float64
	Rounds  int
	Modules []module
	Results []result
}

type module struct {
	Name, Description, Version string
}

type result struct {
	Operation, Text string
	Threads         int
	Modules         []figures
}

type figures struct {
	Rate        float64
	Ratio       *float64 // the first module's rate by this one's
	Unsupported string
	Error       string
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: performance DIRECTORY REPORT REPORT-WITH-THREADS")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(dir, whole, threads string) error {
	all, err := read(whole)
	if err != nil {
		return err
	}
	many, err := read(threads)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"performance.md":          page(all),
		"performance-threads.svg": byThreads(many),
		"performance-find.svg":    byObjects(all),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func read(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(r.Modules) == 0 || len(r.Results) == 0 {
		return nil, fmt.Errorf("%s: no results", path)
	}
	return r, nil
}
