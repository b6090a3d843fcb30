package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const some = `{"date": "2026-01-02T03:04:05Z", "machine": {"processor": "P", "processors": 2}, "seconds": 1, "rounds": 3,
"modules": [{"name": "Coffer"}, {"name": "slow"}, {"name": "fast"}, {"name": "openssl speed"}],
"results": [
{"operation": "find-1000", "text": "find", "threads": 1, "modules": [{"rate": 1000000}, {"rate": 100, "ratio": 10000}, {"rate": 20000, "ratio": 50}, {"unsupported": "no"}]},
{"operation": "find-token-1000", "text": "find & more", "threads": 1, "modules": [{"rate": 1000}, {"error": "CKR_X"}, {"unsupported": "no"}, {"rate": 9000, "ratio": 0.1}]}]}`

func TestPage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, []byte(some), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, file, file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| `find-1000` | 1 | 1,000,000 | 100 | 20,000 | - | 50.00 |", "| `find-token-1000` | 1 | 1,000 | - | - | 9,000 | - |"} {
		if !strings.Contains(string(b), row) {
			t.Errorf("no row %q in\n%s", row, b)
		}
	}
	for _, name := range []string{"performance-threads.svg", "performance-find.svg"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(string(b))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if !strings.Contains(string(b), "<circle") || strings.Contains(string(b), "NaN") {
			t.Errorf("%s has no points, or one nowhere:\n%s", name, b)
		}
	}
}

func TestNoReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(t.TempDir(), file, file); err == nil {
		t.Error("a report without results was taken")
	}
}
