package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// raw is the column that is no module: what OpenSSL's own measurement says of the bare computation.
const raw = "openssl speed"

// page is the table, a row for each operation and number of threads.
func page(r *report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Written by `make bench`; do not edit. -->\n\n# Performance\n\n"+
		"Operations per second of one process through the C interface, all modules on the same machine in the same minutes. The first\n"+
		"module is ahead of the best of the others by the last column: the median of the rounds' ratios. `openssl speed` is the bare\n"+
		"computation, without keys to find or sessions, and is not among the others. What each operation does: [benchmark](benchmark.md).\n\n"+
		"%s, %d processors, Linux %s, %s, load averages at the start %s. Medians of %d rounds of %g s.\n",
		r.Machine.Processor, r.Machine.Processors, r.Machine.Kernel, day(r.Date), r.Machine.Load, r.Rounds, r.Seconds)
	for _, m := range r.Modules {
		fmt.Fprintf(&b, "* %s: %s %s\n", m.Name, strings.TrimSpace(m.Description), m.Version)
	}
	fmt.Fprint(&b, "\n| operation | threads |")
	for _, m := range r.Modules {
		fmt.Fprintf(&b, " %s |", m.Name)
	}
	fmt.Fprintf(&b, " by the best |\n|---|---|%s---|\n", strings.Repeat("---|", len(r.Modules)))
	for _, row := range r.Results {
		fmt.Fprintf(&b, "| `%s` | %d |", row.Operation, row.Threads)
		for _, f := range row.Modules {
			fmt.Fprintf(&b, " %s |", cell(f))
		}
		fmt.Fprintf(&b, " %s |\n", best(r, row))
	}
	fmt.Fprint(&b, "\n## With more threads\n\n![rates by the number of threads](performance-threads.svg)\n\n"+
		"## With more objects\n\n![time of a search by the number of objects](performance-find.svg)\n")
	return b.Bytes()
}

func day(date string) string {
	d, _, _ := strings.Cut(date, "T")
	return d
}

func cell(f figures) string {
	if f.Unsupported != "" || f.Error != "" {
		return "-"
	}
	return number(f.Rate)
}

// best is the least ratio to a module that did it; "-" if none did.
func best(r *report, row result) string {
	least := math.Inf(1)
	for i, f := range row.Modules {
		if f.Ratio != nil && r.Modules[i].Name != raw {
			least = min(least, *f.Ratio)
		}
	}
	if math.IsInf(least, 1) {
		return "-"
	}
	if least >= 100 {
		return number(least)
	}
	return strconv.FormatFloat(least, 'f', 2, 64)
}

// number has commas between thousands, and at least two digits that count.
func number(v float64) string {
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
