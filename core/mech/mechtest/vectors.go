package mechtest

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// Vector is one line of a file of known answers.
type Vector []string

// Vectors reads a file of known answers: one a line, fields separated by blanks, "#" begins a line that names the source
// or the fields.
func Vectors(t testing.TB, path string, fields int) []Vector {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []Vector
	for n, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != fields {
			t.Fatalf("%s:%d: %d fields, want %d", path, n+1, len(f), fields)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no vectors", path)
	}
	return out
}

// Hex returns field i as bytes; "-" is an empty string of bytes.
func (v Vector) Hex(t testing.TB, i int) []byte {
	t.Helper()
	if v[i] == "-" {
		return []byte{}
	}
	b, err := hex.DecodeString(v[i])
	if err != nil {
		t.Fatalf("field %d: %v", i, err)
	}
	return b
}
