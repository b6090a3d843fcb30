// Package faults shows what is promised about processes, kills and damage: several applications on one token, processes
// that end at any moment, token files that are damaged, read-only, on a full disk or of a later version. C programs of
// this folder load the built library as applications do, and initialise their tokens through it.
//
// COFFER_KILLS and COFFER_SOAK are the numbers of kills and of soak cycles, for longer runs than the default.
package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

const (
	userPIN = "user-pin"
	soPIN   = "officer-pin"

	// limit is how long an answer or a host may take before it counts as hanging.
	limit = 2 * time.Minute
)

// built is where the hosts and a copy of the library are, readable by every user.
var built struct {
	sync.Mutex
	dir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made returns the path of a file in the built folder, which make makes at the first call.
func made(t testing.TB, name string, make func(path string)) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		built.dir = open(t, "")
	}
	path := filepath.Join(built.dir, name)
	if _, err := os.Stat(path); err != nil {
		make(path)
	}
	return path
}

func module(t testing.TB) string {
	return made(t, "libcoffer_pkcs11.so", func(path string) {
		b, err := os.ReadFile(harness.Module(t))
		check(t, err)
		check(t, os.WriteFile(path, b, 0o755))
	})
}

// program compiles a host.
func program(t testing.TB, name string) string {
	return made(t, name, func(path string) {
		include := filepath.Join(harness.Root(), "include")
		cmd := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I"+include, "-o", path, filepath.Join("hosts", name+".c"), "-pthread", "-ldl")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	})
}

// open makes a folder that other users may enter too, unlike t.TempDir.
func open(t testing.TB, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "coffer-faults-")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// slot is a configuration with one slot.
type slot struct{ dir, path, log string }

func newSlot(t testing.TB) *slot {
	t.Helper()
	dir := open(t, "")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &slot{dir: dir, path: filepath.Join(dir, "data", "token.db"), log: filepath.Join(dir, "log")}
	check(t, os.Mkdir(filepath.Dir(s.path), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "coffer.toml"), fmt.Appendf(nil, "[[slot]]\nid = 0\npath = %q\n", s.path), 0o644))
	t.Cleanup(func() {
		if b, err := os.ReadFile(s.log); t.Failed() && err == nil {
			t.Logf("the library's log ends with:\n%s", b[max(0, len(b)-3000):])
		}
	})
	return s
}

// host prepares a program; wrap are programs in front of it.
func (s *slot) host(t testing.TB, name string, wrap []string, args ...string) *exec.Cmd {
	t.Helper()
	line := slices.Concat(wrap, []string{program(t, name), module(t)}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "COFFER_CONF="+filepath.Join(s.dir, "coffer.toml"), "COFFER_LOG="+s.log, "HOME="+s.dir)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a host to its end and returns what it printed.
func (s *slot) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := s.host(t, name, nil, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, cmd.Start())
	defer time.AfterFunc(limit, func() { _ = cmd.Process.Kill() }).Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &out)
	}
	return out.String()
}

// agent is a running agent.c.
type agent struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	stderr bytes.Buffer
}

// agent starts an agent, which is killed at the test's end if it has not been left before.
func (s *slot) agent(t testing.TB, wrap ...string) *agent {
	t.Helper()
	a := &agent{t: t, cmd: s.host(t, "agent", wrap), lines: make(chan string, 64)}
	a.cmd.Stderr = &a.stderr
	var err error
	a.in, err = a.cmd.StdinPipe()
	check(t, err)
	out, err := a.cmd.StdoutPipe()
	check(t, err)
	check(t, a.cmd.Start())
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			a.lines <- lines.Text()
		}
		close(a.lines)
	}()
	t.Cleanup(a.kill)
	return a
}

func (a *agent) kill() {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill()
		for range a.lines {
		}
		_ = a.cmd.Wait()
	}
}

// leave ends the agent, and expects that it ends well and that nothing was written to its standard error.
func (a *agent) leave() {
	a.t.Helper()
	_ = a.in.Close()
	for line := range a.lines {
		a.t.Errorf("not asked for: %s", line)
	}
	if err := a.cmd.Wait(); err != nil || a.stderr.Len() > 0 {
		a.t.Fatalf("the agent ended with %v\n%s", err, &a.stderr)
	}
}

func (a *agent) send(command ...string) {
	a.t.Helper()
	if _, err := io.WriteString(a.in, strings.Join(command, " ")+"\n"); err != nil {
		a.t.Fatalf("%v: %v\n%s", command, err, &a.stderr)
	}
}

// receive returns the answer to a command, the lines before it, and what was read.
func (a *agent) receive(command ...string) (rv pkcs11.RV, text string, list []string) {
	a.t.Helper()
	late := time.After(limit)
	for {
		select {
		case line, ok := <-a.lines:
			if !ok {
				a.t.Fatalf("%v: the agent is gone: %v\n%s", command, a.cmd.Wait(), &a.stderr)
			}
			if entry, is := strings.CutPrefix(line, "- "); is {
				list = append(list, strings.TrimSpace(entry))
				continue
			}
			word, text, _ := strings.Cut(line, " ")
			n, err := strconv.ParseUint(word, 16, 64)
			if err != nil {
				a.t.Fatalf("%v: %s", command, line)
			}
			slices.Sort(list)
			return pkcs11.RV(n), strings.TrimSpace(text), list
		case <-late:
			a.t.Fatalf("%v: no answer", command)
		}
	}
}

// ask gives a command, as one string of words, and returns its answer.
func (a *agent) ask(command string) (pkcs11.RV, string) {
	a.t.Helper()
	a.send(command)
	rv, text, _ := a.receive(command)
	return rv, text
}

// want gives commands that must be answered so.
func (a *agent) want(want pkcs11.RV, commands ...string) string {
	a.t.Helper()
	var text string
	for _, c := range commands {
		var rv pkcs11.RV
		if rv, text = a.ask(c); rv != want {
			a.t.Fatalf("%s: %v, expected %v", c, rv, want)
		}
	}
	return text
}

// list returns the token's objects as the agent sees them.
func (a *agent) list() []string {
	a.t.Helper()
	a.send("list")
	rv, _, list := a.receive("list")
	if rv != pkcs11.CKR_OK {
		a.t.Fatalf("list: %v", rv)
	}
	return list
}

// flags returns the token's flags, and its serial number.
func (a *agent) flags() (pkcs11.Flags, string) {
	a.t.Helper()
	word, serial, _ := strings.Cut(a.want(pkcs11.CKR_OK, "flags"), " ")
	n, err := strconv.ParseUint(word, 16, 64)
	check(a.t, err)
	return pkcs11.Flags(n), serial
}

// user starts an agent whose user is logged in.
func (s *slot) user(t testing.TB, wrap ...string) *agent {
	t.Helper()
	a := s.agent(t, wrap...)
	a.want(pkcs11.CKR_OK, "init", "open w", "login u "+userPIN)
	return a
}

// count is a number from the environment.
func count(t testing.TB, env string, otherwise int) int {
	t.Helper()
	if text := os.Getenv(env); text != "" {
		n, err := strconv.Atoi(text)
		check(t, err)
		return n
	}
	return otherwise
}

// random returns numbers that a failed test can be repeated with.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("COFFER_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		check(t, err)
		seed = n
	}
	t.Logf("COFFER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}
