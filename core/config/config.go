// Package config reads and checks the two configurations: that of the library, which slots there are and where each
// one's token is (Load), and that of the daemon (LoadNode).
//
// The package runs inside the processes that load the library. It writes nothing, prints nothing and never ends the
// process. Nothing is guessed: what it does not understand is an *Error that names the file, the line and a way out.
// Its functions may be called from many goroutines at once.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// Config is a checked configuration.
type Config struct {
	// Source is the absolute path of the file that it came from; empty when there is none and the defaults hold.
	Source string
	// Slots is in ascending order of ID, and never empty.
	Slots []Slot
}

// Slot returns the slot with that id.
func (c *Config) Slot(id uint) (Slot, bool) {
	for _, s := range c.Slots {
		if s.ID == id {
			return s, true
		}
	}
	return Slot{}, false
}

// Error is why a configuration cannot be used.
type Error struct {
	File string // empty when no file is concerned
	Line int    // counted from 1; 0 when the file as a whole is meant
	Text string // what is wrong, without a full stop
	Hint string // what to do about it, without a full stop
	Err  error  // the operating system's error, if there is one
}

func (e *Error) Error() string { return e.Place() + e.Text + "; " + e.Hint }

// Unwrap returns the operating system's error, if there is one.
func (e *Error) Unwrap() error { return e.Err }

// Place returns "file:line: ", as far as they are known.
func (e *Error) Place() string {
	switch {
	case e.File == "":
		return ""
	case e.Line == 0:
		return e.File + ": "
	}
	return e.File + ":" + strconv.Itoa(e.Line) + ": "
}

// Load finds, reads and checks the configuration. env looks up a variable of the environment, home is the user's home
// directory (empty where there is none) and uid his effective user id. Errors are of type *Error.
func Load(env func(string) string, home string, uid int) (*Config, error) {
	if name := env(EnvFile); name != "" {
		return read(name, home)
	}
	for _, name := range candidates(env, home) {
		// Where not even the directory may be searched, the file is somebody else's: a daemon that gave up root still
		// has root's HOME. A file that is there and cannot be read is an error.
		_, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		return read(name, home)
	}
	path, err := defaultToken(env, home, uid)
	if err != nil {
		return nil, err
	}
	return &Config{Slots: []Slot{{ID: defaultSlotID, Path: path}}}, nil
}

// FromProcess is Load with this process's own environment, home directory and user. A process that runs with more
// rights than the user who started it (setuid, setgid) does not listen to that user's environment.
func FromProcess() (*Config, error) {
	env, home := process()
	return Load(env, home, os.Geteuid())
}

// FromEnvironment is Load for a process whose environment the caller reads for itself; the home directory is HOME, else
// what the system says of the user.
func FromEnvironment(env func(string) string) (*Config, error) {
	return Load(env, homeOf(env), os.Geteuid())
}

// FromFile reads the file of that name, wherever the process's environment points.
func FromFile(name string) (*Config, error) {
	_, home := process()
	return read(name, home)
}

func process() (env func(string) string, home string) {
	env, uid := os.Getenv, os.Geteuid()
	if os.Getuid() != uid || os.Getgid() != os.Getegid() {
		env = func(string) string { return "" }
	}
	return env, homeOf(env)
}

func homeOf(env func(string) string) string {
	home := env("HOME")
	if home == "" {
		if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
			home = u.HomeDir
		}
	}
	return home
}

// candidates lists the files that are looked for when EnvFile is not set, the first one that exists counts.
func candidates(env func(string) string, home string) []string {
	var out []string
	if dir := baseDirectory(env(envConfigHome), home, userConfigHome); dir != "" {
		out = append(out, filepath.Join(dir, directory, fileName))
	}
	return append(out, SystemFile)
}

// baseDirectory returns what the XDG base directory specification means by a variable: the absolute path in it, else a
// directory below home. A relative path in the variable is to be ignored.
func baseDirectory(variable, home, below string) string {
	switch {
	case filepath.IsAbs(variable):
		return variable
	case filepath.IsAbs(home):
		return filepath.Join(home, below)
	}
	return ""
}

func defaultToken(env func(string) string, home string, uid int) (string, error) {
	if dir := env(envDataHome); uid == 0 && !filepath.IsAbs(dir) {
		return filepath.Join(rootDataHome, directory, tokenName), nil
	}
	dir := baseDirectory(env(envDataHome), home, userDataHome)
	if dir == "" {
		return "", &Error{
			Text: "there is no configuration and no home directory to keep a token in",
			Hint: "write " + SystemFile + ", or name a configuration file in " + EnvFile,
		}
	}
	return filepath.Join(dir, directory, tokenName), nil
}

// read reads and checks one file.
func read(name, home string) (*Config, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, &Error{File: name, Text: "the working directory is gone",
			Hint: "give the file's absolute path in " + EnvFile, Err: err}
	}
	doc, err := readFile(path, "create it, or correct or unset "+EnvFile)
	if err != nil {
		return nil, err
	}
	slots, err := parse(doc, path, home)
	if err != nil {
		return nil, err
	}
	return &Config{Source: path, Slots: slots}, nil
}

// readFile reads a configuration; missing is the hint for who named a file that is not there.
func readFile(path, missing string) (string, error) {
	fail := func(text, hint string, err error) (string, error) {
		return "", &Error{File: path, Text: text, Hint: hint, Err: err}
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("the configuration file does not exist", missing, err)
	case errors.Is(err, fs.ErrPermission):
		return fail("this user may not read the configuration file", "let this user read it: chmod o+r, or chgrp and chmod g+r", err)
	case err != nil:
		return fail("the configuration file cannot be opened: "+reason(err), "check the path", err)
	}
	defer f.Close()
	// A pipe or a device would be waited for, inside somebody else's process.
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return fail("the configuration is not a regular file", "name a file in TOML format", nil)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return fail("the configuration file cannot be read: "+reason(err), "check the disk", err)
	}
	if len(b) > maxFileSize {
		return fail(fmt.Sprintf("the file is larger than %d KiB", maxFileSize>>10), "name a configuration file in TOML format", nil)
	}
	return string(b), nil
}

// reason is the operating system's own words without the path, which the caller has said already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
