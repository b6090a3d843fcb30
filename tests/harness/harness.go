// Package harness gives tests the built library, the built command line and fresh tokens, so that each test runs on what
// users run.
package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The PINs of every token that NewToken makes.
const (
	UserPIN = "user-pin-1234"
	SOPIN   = "officer-pin-1234"
)

// Root is the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

var build struct {
	sync.Mutex
	dir string
	err error
}

// made builds with Go what no environment variable names.
func made(t testing.TB, env, name string, args ...string) string {
	t.Helper()
	return madeBy(t, env, name, func(out string) []string { return append([]string{"go", "build", "-o", out}, args...) })
}

// madeBy makes with a command what no environment variable names, once for each test process.
func madeBy(t testing.TB, env, name string, command func(out string) []string) string {
	t.Helper()
	if p := os.Getenv(env); p != "" {
		return p
	}
	build.Lock()
	defer build.Unlock()
	if build.dir == "" {
		build.dir, build.err = os.MkdirTemp("", "coffer-build-")
		if build.err != nil {
			t.Fatal(build.err)
		}
	}
	out := filepath.Join(build.dir, name)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	words := command(out)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = Root()
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, b)
	}
	return out
}

// Module is the path of the library: COFFER_MODULE, or one that is built now.
func Module(t testing.TB) string {
	return made(t, "COFFER_MODULE", "libcoffer_pkcs11.so", "-buildmode=c-shared",
		"-ldflags=-extldflags=-Wl,--version-script="+filepath.Join(Root(), "cbridge", "exports.map"), "./cbridge")
}

// Coffer is the path of the command line: COFFER_BIN, or one that is built now.
func Coffer(t testing.TB) string { return made(t, "COFFER_BIN", "coffer", "./cmd/coffer") }

// Cofferd is the path of the daemon: COFFERD_BIN, or one that is built now.
func Cofferd(t testing.TB) string { return made(t, "COFFERD_BIN", "cofferd", "./cmd/cofferd") }

// Bench is the path of the measuring host: COFFER_BENCH, or one that is built now.
func Bench(t testing.TB) string {
	return madeBy(t, "COFFER_BENCH", "coffer-bench", func(out string) []string {
		return []string{"sh", filepath.Join("cmd", "coffer-bench", "build.sh"), out}
	})
}

// CofferdWithClock is a daemon whose time of day is wrong by what the file COFFERD_CLOCK says.
func CofferdWithClock(t testing.TB) string {
	return made(t, "COFFERD_CLOCK_BIN", "cofferd-clock", "-tags=clockfault", "./cmd/cofferd")
}

// Token is a configuration with one slot.
type Token struct {
	Dir, Conf, Path string
	env             []string
}

// NewToken returns an initialised token with a user PIN, in a folder of its own.
func NewToken(t testing.TB, label string) *Token {
	t.Helper()
	k := NewSlot(t)
	k.Run(t, Coffer(t), "token", "init", "--label", label)
	return k
}

// NewSlot returns a configuration with one slot whose token is not initialised.
func NewSlot(t testing.TB) *Token {
	t.Helper()
	dir := t.TempDir()
	k := &Token{Dir: dir, Conf: filepath.Join(dir, "coffer.toml"), Path: filepath.Join(dir, "token.db")}
	conf := fmt.Sprintf("[[slot]]\nid = 0\npath = %q\n", k.Path)
	if err := os.WriteFile(k.Conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	k.env = append(os.Environ(), "COFFER_CONF="+k.Conf, "COFFER_PIN="+UserPIN, "COFFER_SO_PIN="+SOPIN, "HOME="+dir, "LC_ALL=C.UTF-8")
	return k
}

// Env is the environment that programs of this token run in.
func (k *Token) Env(more ...string) []string { return append(append([]string{}, k.env...), more...) }

// Limit is how long a program may run.
const Limit = 5 * time.Minute

// Command prepares a program in the token's folder; it is ended after Limit.
func (k *Token) Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = k.Dir, k.Env()
	return cmd
}

// Run runs a program and returns its output; the test fails with it.
func (k *Token) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	Need(t, name)
	b, err := k.Command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, b)
	}
	return string(b)
}

// FreePort is a TCP port of 127.0.0.1 that nobody listens on now. It is below those that the kernel gives out, so that no
// connection and no other listener gets it by chance before it is used, and it is not given out twice.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if _, given := ports.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

var ports sync.Map // that FreePort has given out

// Need fails the test, with a hint, if a program is missing.
func Need(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is not installed: run `make deps-test`", name)
	}
}
