package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// pinApp is an app with the flags of all PINs, given these arguments and this standard input.
func pinApp(t *testing.T, env map[string]string, stdin string, args ...string) *app {
	t.Helper()
	a := newApp(strings.NewReader(stdin), io.Discard, io.Discard, func(k string) string { return env[k] })
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	a.addPINFlags(flags, pinUser, pinSO, pinNew)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWherePINsComeFrom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pin")
	if err := os.WriteFile(path, []byte("of file\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"COFFER_PIN": "of env"}
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"descriptor before file before environment", env, []string{"--pin-fd", "0", "--pin-file", path}, "of stdin"},
		{"file before environment", env, []string{"--pin-file", path}, "of file"},
		{"environment", env, nil, "of env"},
	} {
		p, err := pinApp(t, c.env, "of stdin\nand more", c.args...).pin(pinUser, false)
		if err != nil || string(p.Expose()) != c.want {
			t.Errorf("%s: %q, error %v", c.name, p.Expose(), err)
		}
	}
}

func TestWithoutAPINTheErrorSaysHow(t *testing.T) {
	for k, s := range pinSources {
		_, err := pinApp(t, nil, "").pin(pinKind(k), false)
		if err == nil {
			t.Fatalf("a %s came from nowhere", s.name)
		}
		p := explain(err)
		if p.code != exitPIN || !strings.Contains(p.hint, "--"+s.flag+"-file") || !strings.Contains(p.hint, s.env) {
			t.Errorf("%s: %d %q", s.name, p.code, p.hint)
		}
	}
}

func TestPINsAreOneLineEach(t *testing.T) {
	a := pinApp(t, nil, "one\ntwo\nthe data", "--so-pin-fd", "0", "--new-pin-fd", "0")
	so, err := a.pin(pinSO, false)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := a.pin(pinNew, true)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(a.in)
	if err != nil {
		t.Fatal(err)
	}
	if string(so.Expose()) != "one" || string(fresh.Expose()) != "two" || string(rest) != "the data" {
		t.Errorf("%q %q %q", so.Expose(), fresh.Expose(), rest)
	}
}

func TestAPINIsReadOnce(t *testing.T) {
	a := pinApp(t, nil, "one\ntwo\n", "--pin-fd", "0")
	first, err := a.pin(pinUser, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.pin(pinUser, false)
	if err != nil || second != first {
		t.Errorf("the second look gave %q, error %v", second.Expose(), err)
	}
}

func TestBadPINInput(t *testing.T) {
	for name, stdin := range map[string]string{"empty": "", "empty line": "\n1234\n", "endless": strings.Repeat("x", maxPINInput+1)} {
		if _, err := pinApp(t, nil, stdin, "--pin-fd", "0").pin(pinUser, false); err == nil || explain(err).code != exitPIN {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pinApp(t, nil, strings.Repeat("x", maxPINInput)+"\n", "--pin-fd", "0").pin(pinUser, false); err != nil {
		t.Errorf("the longest line: %v", err)
	}
	if _, err := pinApp(t, nil, "", "--pin-fd", "999").pin(pinUser, false); err == nil || explain(err).code != exitPIN {
		t.Errorf("a descriptor that is not open: %v", err)
	}
}

func TestResultsAppearWhole(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard, func(string) string { return "" })
	path := filepath.Join(t.TempDir(), "out")
	s, err := a.newSink(path, true, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before it is done")
	}
	s.undone()
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) > 0 {
		t.Errorf("something is left: %v", entries)
	}
	if err := a.deliver(path, true, 0o600, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "whole" {
		t.Errorf("%q %v", b, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}
