package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// What became of an object.
const (
	resultMoved    = "moved"
	resultWould    = "would move"
	resultThere    = "there already"
	resultUnproven = "unproven"
	resultLeft     = "left"
)

// moveRow is one object in the report.
type moveRow struct {
	Result string   `json:"result"`
	Class  string   `json:"class"`
	Type   string   `json:"type,omitempty"`
	Label  string   `json:"label"`
	ID     string   `json:"id"`
	Way    string   `json:"way,omitempty"`   // "value", or the mechanism that wrapped it
	Proof  string   `json:"proof,omitempty"` // what has shown that the key is the same
	Reason string   `json:"reason,omitempty"`
	Hint   string   `json:"hint,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

func rowOf(f *foreign) moveRow {
	if f.fault != nil {
		return moveRow{Class: "unreadable", Label: f.name}
	}
	row := moveRow{Class: f.class().String(), Label: f.label(), ID: f.id()}
	if c := carriedOf(f.class()); c != nil {
		row.Class, row.Type = c.name, f.typeName()
	}
	return row
}

func (r *moveRow) note(text string) { r.Notes = append(r.Notes, text) }

// leave says why an object stays where it is.
func (r *moveRow) leave(err error) {
	p := explain(err)
	r.Result, r.Way, r.Proof, r.Reason, r.Hint = resultLeft, "", "", strings.TrimRight(p.text, ".\n"), p.hint
	if p.rv != pkcs11.CKR_OK {
		r.Reason += " [" + p.rv.String() + "]"
	}
}

// how is the last column of the table.
func (r moveRow) how() string {
	var parts []string
	switch {
	case r.Reason != "":
		parts = append(parts, r.Reason)
	case r.Way != "" && r.Way != "value":
		parts = append(parts, "wrapped by "+r.Way)
	}
	if r.Proof != "" {
		parts = append(parts, "proof: "+r.Proof)
	}
	return strings.Join(append(parts, r.Notes...), "; ")
}

// moveReport is what migrate prints.
type moveReport struct {
	Source   string    `json:"source"`
	DryRun   bool      `json:"dry_run"`
	Moved    int       `json:"moved"` // in a dry run: how many would be
	There    int       `json:"there"`
	Unproven int       `json:"unproven"`
	Left     int       `json:"left"`
	Objects  []moveRow `json:"objects"`
}

func (r *moveReport) add(row moveRow) {
	r.Objects = append(r.Objects, row)
	switch row.Result {
	case resultMoved, resultWould:
		r.Moved++
	case resultThere:
		r.There++
	case resultUnproven:
		r.Unproven++
	case resultLeft:
		r.Left++
	}
}

func (r *moveReport) text(w io.Writer) {
	var rows [][]string
	hints := []string{}
	said := map[string]bool{}
	for _, o := range r.Objects {
		rows = append(rows, []string{o.Result, o.Class, o.Type, o.Label, o.ID, o.how()})
		if o.Hint != "" && !said[o.Hint] {
			said[o.Hint] = true
			hints = append(hints, o.Hint)
		}
	}
	if len(rows) > 0 {
		table(w, []string{"RESULT", "CLASS", "TYPE", "LABEL", "ID", "HOW"}, rows)
	}
	for _, h := range hints {
		fmt.Fprintln(w, "hint: "+h)
	}
	verb := "Moved"
	if r.DryRun {
		verb = "Nothing was changed. Would move"
	}
	fmt.Fprintf(w, "%s %d of %d objects of the %s; there already: %d; left: %d", verb, r.Moved, len(r.Objects), r.Source, r.There, r.Left)
	if r.Unproven > 0 {
		fmt.Fprintf(w, "; without a proof: %d", r.Unproven)
	}
	fmt.Fprintln(w, ".")
}

// verdict is the error that the exit code comes from.
func (r *moveReport) verdict() error {
	switch {
	case r.Left > 0:
		return failed("not all was moved: %d of %d objects are left at the source", "the report says why for each; run the same command again when that is mended",
			r.Left, len(r.Objects))
	case r.Unproven > 0:
		return failed("not all is proven: of %d keys nothing shows that the token has the same", "try them in their applications before the source is given up",
			r.Unproven)
	}
	return nil
}

// progress shows on a terminal how far it is; elsewhere it is silent.
type progress struct {
	w     io.Writer
	total int
	last  time.Time
	live  bool
}

func (a *app) newProgress(total int) *progress {
	f, ok := a.errOut.(*os.File)
	return &progress{w: a.errOut, total: total, live: ok && isTerminal(f)}
}

const (
	barWidth = 30
	barEvery = 100 * time.Millisecond
)

// at draws the bar; so often that a person sees it move.
func (p *progress) at(n int, what string) {
	if !p.live || time.Since(p.last) < barEvery && n < p.total {
		return
	}
	p.last = time.Now()
	full := barWidth * n / max(p.total, 1)
	name := []rune(printable(what))
	fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %d/%d %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), n, p.total, string(name[:min(len(name), 32)]))
}

// done removes the bar.
func (p *progress) done() {
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
