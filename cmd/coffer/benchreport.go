package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchReport is all that a run found out. The first module is the one that the others are compared with.
type benchReport struct {
	Date    string         `json:"date"`
	Machine benchMachine   `json:"machine"`
	Seconds float64        `json:"seconds"`
	Rounds  int            `json:"rounds"`
	Modules []*benchModule `json:"modules"`
	Results []benchResult  `json:"results"`
}

// benchResult is one operation with one number of threads.
type benchResult struct {
	Operation string         `json:"operation"`
	Text      string         `json:"text"`
	Threads   int            `json:"threads"`
	Modules   []benchFigures `json:"modules"` // in the report's order
}

// benchFigures is what one module did: the medians of its rounds, or why it did not.
type benchFigures struct {
	benchRun
	Ratio *float64   `json:"ratio,omitempty"` // the first module's rate by this one's, median of the rounds; not for the first
	Runs  []benchRun `json:"rounds"`
}

func newBenchReport(o benchOptions, modules []*benchModule) *benchReport {
	return &benchReport{Date: time.Now().UTC().Format(time.RFC3339), Seconds: o.seconds, Rounds: o.rounds, Modules: modules,
		Machine: thisMachine()}
}

// benchCompare measures one operation, the modules in turn in each round. Who begins changes with the round.
func benchCompare(ctx context.Context, o benchOptions, modules []*benchModule, op benchOperation, threads int) benchResult {
	r := benchResult{Operation: op.Name, Text: op.Text, Threads: threads, Modules: make([]benchFigures, len(modules))}
	for round := range o.rounds {
		for i := range modules {
			at := (i + round) % len(modules)
			r.Modules[at].Runs = append(r.Modules[at].Runs, modules[at].measure(ctx, op.Name, threads, o.seconds))
		}
	}
	for i := range r.Modules {
		r.Modules[i].sum(r.Modules[0].Runs, i > 0)
	}
	return r
}

// sum makes the medians. first has the first module's runs, round by round.
func (f *benchFigures) sum(first []benchRun, compare bool) {
	for _, run := range f.Runs {
		if run.failed() {
			f.benchRun = run
			return
		}
		f.Count += run.Count
		f.Seconds += run.Seconds
	}
	f.Rate = medianOf(f.Runs, func(r benchRun) float64 { return r.Rate })
	f.Median = uint64(medianOf(f.Runs, func(r benchRun) float64 { return float64(r.Median) }))
	f.P99 = uint64(medianOf(f.Runs, func(r benchRun) float64 { return float64(r.P99) }))
	if !compare || slices.ContainsFunc(first, benchRun.failed) {
		return
	}
	ratios := make([]float64, len(f.Runs))
	for i := range f.Runs {
		ratios[i] = first[i].Rate / f.Runs[i].Rate
	}
	ratio := median(ratios)
	f.Ratio = &ratio
}

func medianOf(runs []benchRun, of func(benchRun) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return median(values)
}

// median returns the middle value, or the mean of the two in the middle. There must be at least one.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// text writes the report for a person.
func (r *benchReport) text(w io.Writer) {
	fmt.Fprintf(w, "%s, %d processors, Linux %s, load %s\n", r.Machine.Processor, r.Machine.Processors, r.Machine.Kernel, r.Machine.Load)
	for _, m := range r.Modules {
		fmt.Fprintf(w, "%s: %s %s, %s", m.Name, printable(m.Description), m.Version, m.Path)
		if m.FileSystem != "" {
			fmt.Fprintf(w, ", token on %s", m.FileSystem)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s, rounds of %g s: %d\n\n", r.Date, r.Seconds, r.Rounds)

	header := []string{"OPERATION", "THREADS", r.Modules[0].Name + " (OPS/S)"}
	if len(r.Modules) == 1 {
		header = append(header, "MEDIAN", "P99")
	}
	for _, m := range r.Modules[1:] {
		header = append(header, m.Name+" (OPS/S)", "RATIO")
	}
	var rows [][]string
	for _, res := range r.Results {
		row := []string{res.Operation, strconv.Itoa(res.Threads), res.Modules[0].cell()}
		if f := res.Modules[0]; len(r.Modules) == 1 && f.Median > 0 {
			row = append(row, time.Duration(f.Median).String(), time.Duration(f.P99).String())
		}
		for _, f := range res.Modules[1:] {
			row = append(row, f.cell(), f.ratioCell())
		}
		rows = append(rows, row)
	}
	table(w, header, rows)
	r.failures(w)
}

// failures explains the cells without a number, each once.
func (r *benchReport) failures(w io.Writer) {
	lines := []string{""}
	for _, res := range r.Results {
		for i, f := range res.Modules {
			if !f.failed() {
				continue
			}
			line := fmt.Sprintf("%s, %s: %s", r.Modules[i].Name, res.Operation, printable(f.Unsupported+f.Error))
			if f.Call != "" {
				line += " from " + f.Call
			}
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) > 1 {
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	}
}

func (f benchFigures) cell() string {
	switch {
	case f.Unsupported != "":
		return "unsupported"
	case f.Error != "":
		return "error"
	}
	return grouped(f.Rate)
}

func (f benchFigures) ratioCell() string {
	if f.Ratio == nil {
		return "-"
	}
	if *f.Ratio >= 100 {
		return grouped(*f.Ratio)
	}
	return strconv.FormatFloat(*f.Ratio, 'f', 2, 64)
}

// grouped writes a number with at least two digits that count, and commas between thousands.
func grouped(v float64) string {
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
