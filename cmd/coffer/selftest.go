package main

import (
	"fmt"
	"io"
	"time"

	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/mech/selftest"
	"github.com/spf13/cobra"
)

type selfTestRow struct {
	Name         string  `json:"name"`
	Source       string  `json:"source,omitempty"`
	Mechanisms   int     `json:"mechanisms"`
	Passed       bool    `json:"passed"`
	Milliseconds float64 `json:"milliseconds"`
	Error        string  `json:"error,omitempty"`
}

func (a *app) selfTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "selftest",
		Short: "Test the cryptography of this program",
		Long: `Runs the power-on self-tests of all mechanisms at once: known answers, and pairs of keys that have to fit together. It tests
this program on this machine and needs no token. The library and the daemon run the same tests by themselves, each before
a mechanism that it covers is first used, and all of them when a token with fips = true is opened.`,
		Example: "  coffer selftest\n  coffer selftest --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			r, err := all.Full()
			if err != nil {
				return err
			}
			covers := map[string]int{}
			for _, t := range r.Types() {
				for _, s := range r.Mechanism(t).SelfTests {
					covers[s.Name]++
				}
			}
			var list []selfTestRow
			broken := 0
			for _, s := range selftest.Of(r) {
				begun := time.Now()
				row := selfTestRow{Name: s.Name, Source: s.Source, Mechanisms: covers[s.Name]}
				if err := s.Passed(); err != nil {
					row.Error = err.Error()
					broken++
				}
				row.Passed, row.Milliseconds = row.Error == "", float64(time.Since(begun).Microseconds())/1000
				list = append(list, row)
			}
			if err := a.emit(map[string]any{"passed": broken == 0, "tests": list, "mechanisms": len(r.Types())}, func(w io.Writer) {
				printSelfTests(w, list, len(r.Types()))
			}); err != nil {
				return err
			}
			if broken > 0 {
				return failed("%d of %d self-tests have failed", "do not use this program or this machine for anything secret", broken, len(list))
			}
			return nil
		},
	}
}

func printSelfTests(w io.Writer, list []selfTestRow, mechanisms int) {
	var rows [][]string
	for _, r := range list {
		result := "passed"
		if !r.Passed {
			result = r.Error
		}
		rows = append(rows, []string{r.Name, fmt.Sprint(r.Mechanisms), fmt.Sprintf("%.2f ms", r.Milliseconds), result})
	}
	table(w, []string{"TEST", "MECHANISMS", "TIME", "RESULT"}, rows)
	fmt.Fprintf(w, "%d tests of %d mechanisms\n", len(list), mechanisms)
}
