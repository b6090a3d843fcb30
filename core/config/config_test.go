package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// environment makes a lookup function of a map.
func environment(m map[string]string) func(string) string {
	return func(k string) string { return m[k] }
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// skipIfSystemFile keeps tests of the defaults honest on a machine that has a configuration.
func skipIfSystemFile(t *testing.T) {
	if _, err := os.Stat(SystemFile); err == nil {
		t.Skip("this machine has " + SystemFile)
	}
}

func TestDefaultsWithoutAnyFile(t *testing.T) {
	skipIfSystemFile(t)
	home := t.TempDir()
	for _, c := range []struct {
		name string
		env  map[string]string
		home string
		uid  int
		want string
	}{
		{"user", nil, home, 1000, home + "/.local/share/coffer/token.db"},
		{"user with data home", map[string]string{"XDG_DATA_HOME": "/srv/data"}, home, 1000, "/srv/data/coffer/token.db"},
		{"relative data home is ignored", map[string]string{"XDG_DATA_HOME": "data"}, home, 1000, home + "/.local/share/coffer/token.db"},
		{"root", nil, home, 0, "/var/lib/coffer/token.db"},
		{"root with data home", map[string]string{"XDG_DATA_HOME": "/srv/data"}, home, 0, "/srv/data/coffer/token.db"},
		{"root without home", nil, "", 0, "/var/lib/coffer/token.db"},
		{"no home but data home", map[string]string{"XDG_DATA_HOME": "/srv/data"}, "", 1000, "/srv/data/coffer/token.db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Load(environment(c.env), c.home, c.uid)
			if err != nil {
				t.Fatal(err)
			}
			want := &Config{Slots: []Slot{{ID: 0, Path: c.want}}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestNoHomeIsAnError(t *testing.T) {
	skipIfSystemFile(t)
	_, err := Load(environment(nil), "", 1000)
	checkError(t, err, "", 0, "no home directory", EnvFile)
}

func TestWhereTheFileIsFound(t *testing.T) {
	home, other := t.TempDir(), t.TempDir()
	named := write(t, filepath.Join(other, "named.toml"), "[[slot]]\nid = 1\npath = \"a.db\"")
	xdg := write(t, filepath.Join(other, "xdg/coffer/coffer.toml"), "[[slot]]\nid = 2\npath = \"a.db\"")
	dot := write(t, filepath.Join(home, ".config/coffer/coffer.toml"), "[[slot]]\nid = 3\npath = \"a.db\"")
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{EnvFile: named, "XDG_CONFIG_HOME": filepath.Join(other, "xdg")}, named},
		{map[string]string{"XDG_CONFIG_HOME": filepath.Join(other, "xdg")}, xdg},
		{map[string]string{"XDG_CONFIG_HOME": "relative"}, dot},
		{nil, dot},
	} {
		got, err := Load(environment(c.env), home, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if got.Source != c.want {
			t.Errorf("environment %v: read %s, want %s", c.env, got.Source, c.want)
		}
	}
}

func TestNamedFileMustExist(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no.toml")
	_, err := Load(environment(map[string]string{EnvFile: missing}), t.TempDir(), 1000)
	checkError(t, err, missing, 0, "does not exist", EnvFile)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not os.ErrNotExist", err)
	}
}

func TestNamedFileMustBeAFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(environment(map[string]string{EnvFile: dir}), dir, 1000)
	checkError(t, err, dir, 0, "not a regular file", "TOML")
}

func TestRelativeNameIsMadeAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, filepath.Join(dir, "sub/c.toml"), "[[slot]]\nid = 7\npath = \"../a.db\"")
	got, err := Load(environment(map[string]string{EnvFile: "sub/c.toml"}), dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "a.db"); got.Slots[0].Path != want {
		t.Errorf("path %s, want %s", got.Slots[0].Path, want)
	}
}

func TestUnreadableFileIsAnErrorAndUnsearchableDirectoryIsNot(t *testing.T) {
	if os.Geteuid() == 0 { // who reads everything: this thread gives that up, and ends with the test
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
	}
	skipIfSystemFile(t)
	home := t.TempDir()
	path := write(t, filepath.Join(home, ".config/coffer/coffer.toml"), "")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Load(environment(nil), home, 1000)
	checkError(t, err, path, 0, "may not read", "chmod")

	dir := filepath.Join(home, ".config")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if _, err := Load(environment(nil), home, 1000); err != nil {
		t.Errorf("a directory that may not be searched: %v", err)
	}
}

func TestLookup(t *testing.T) {
	c := &Config{Slots: []Slot{{ID: 0}, {ID: 5, Path: "/x"}}}
	if s, ok := c.Slot(5); !ok || s.Path != "/x" {
		t.Errorf("slot 5: %+v %v", s, ok)
	}
	if _, ok := c.Slot(1); ok {
		t.Error("slot 1 is not configured")
	}
}

// checkError wants an *Error at that place whose text and hint hold these words.
func checkError(t *testing.T, err error, file string, line int, text, hint string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if e.File != file || e.Line != line {
		t.Errorf("%v: at %s:%d, want %s:%d", err, e.File, e.Line, file, line)
	}
	if !strings.Contains(e.Text, text) {
		t.Errorf("text %q does not say %q", e.Text, text)
	}
	if !strings.Contains(e.Hint, hint) {
		t.Errorf("hint %q does not say %q", e.Hint, hint)
	}
}
