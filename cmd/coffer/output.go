package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// emit prints a result: v as JSON, or what text writes. The field names of v are part of the interface.
func (a *app) emit(v any, text func(w io.Writer)) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(a.out, b.String())
	return err
}

// table writes rows under a header in columns.
func table(w io.Writer, header []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	tw.Flush() // into memory: it cannot fail
}

// fields writes names and values, one a line.
func fields(w io.Writer, rows [][2]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\n", r[0], printable(r[1]))
	}
	tw.Flush()
}

// printable keeps a label that somebody else chose from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// sink is where a command's binary result goes: a file that appears only when it is whole, or standard output.
type sink struct {
	io.Writer
	file *os.File
	path string
}

// newSink opens a result. An empty path or "-" is standard output; a terminal gets no binary data.
func (a *app) newSink(path string, binary bool, mode os.FileMode) (*sink, error) {
	if path == "" || path == "-" {
		if f, ok := a.out.(*os.File); ok && binary && isTerminal(f) {
			return nil, usage("the result is binary and would garble the terminal", "give a file with --out, or send it into a pipe")
		}
		return &sink{Writer: a.out}, nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A device or a named pipe is written to, not replaced.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &sink{Writer: f, file: f}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &sink{Writer: f, file: f, path: path}, nil
}

// done makes the result visible; undone, called after it, does nothing.
func (s *sink) done() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	if err := f.Close(); err != nil {
		return err
	}
	if s.path != "" {
		if err := os.Rename(f.Name(), s.path); err != nil {
			return err
		}
	}
	s.file = nil
	return nil
}

// undone removes what was written so far.
func (s *sink) undone() {
	if s.file == nil {
		return
	}
	s.file.Close()
	if s.path != "" {
		os.Remove(s.file.Name())
	}
	s.file = nil
}

// input opens what a command reads: a file, or standard input for no name and for "-".
func (a *app) input(path string) (io.ReadCloser, error) {
	if path == "" || path == "-" {
		if a.interactive() {
			fmt.Fprintln(a.errOut, "reading from the terminal; end with Ctrl-D")
		}
		return io.NopCloser(a.in), nil
	}
	return os.Open(path)
}

// yesNo says it in words.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
