package capi

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// hostLimit ends a host that hangs in spite of its own alarm clocks.
const hostLimit = 10 * time.Minute

// compileHost builds one of the C programs in hosts/.
func compileHost(t *testing.T, name string) string {
	t.Helper()
	harness.Need(t, "gcc")
	exe := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
		"-I"+filepath.Join(harness.Root(), "include"), "-o", exe, filepath.Join("hosts", name+".c"), "-ldl")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return exe
}

// runHost runs a C program, which prints what it has to say to standard output. The library must print nothing: what is
// on standard error is its.
func runHost(t *testing.T, env []string, exe string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hostLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", filepath.Base(exe), args, err, &stdout, &stderr)
	}
	if stderr.Len() > 0 {
		t.Errorf("%s: standard error is not empty:\n%s", filepath.Base(exe), &stderr)
	}
	t.Logf("%s", &stdout)
	return stdout.String()
}

// number reads an environment variable that makes a test longer or shorter.
func number(t *testing.T, env string, otherwise int) string {
	t.Helper()
	if v := os.Getenv(env); v != "" {
		if _, err := strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", env, err)
		}
		return v
	}
	if testing.Short() {
		otherwise /= 10
	}
	return strconv.Itoa(otherwise)
}

func openModule(t *testing.T) *elf.File {
	t.Helper()
	f, err := elf.Open(harness.Module(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestOnlyTheStandardsFunctionsAreExported: nothing in a host program can collide with the library's insides.
func TestOnlyTheStandardsFunctionsAreExported(t *testing.T) {
	s, err := spec.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]string, len(s.Functions))
	for i, f := range s.Functions {
		want[i] = f.Name
	}
	slices.Sort(want)
	symbols, err := openModule(t).DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, sym := range symbols {
		if sym.Section != elf.SHN_UNDEF {
			got = append(got, sym.Name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d symbols are exported, the standard has %d functions:\n%q", len(got), len(want), got)
	}
}

// TestOnlyTheCLibraryIsNeeded: the library runs wherever its C library does.
func TestOnlyTheCLibraryIsNeeded(t *testing.T) {
	f := openModule(t)
	needed, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range needed {
		if !slices.Contains([]string{"libc.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-aarch64.so.1"}, lib) {
			t.Errorf("needs %s", lib)
		}
	}
	symbols, err := f.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	weak := []string{"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__", "__cxa_finalize"}
	for _, sym := range symbols {
		if !strings.HasPrefix(sym.Version, "GLIBC_") && !slices.Contains(weak, sym.Name) {
			t.Errorf("needs %s from %q", sym.Name, sym.Library)
		}
	}
}

// TestLibraryCannotBeUnloaded: threads of the Go runtime are in it for good.
func TestLibraryCannotBeUnloaded(t *testing.T) {
	const nodelete = 8 // DF_1_NODELETE
	flags, err := openModule(t).DynValue(elf.DT_FLAGS_1)
	if err != nil || len(flags) != 1 || flags[0]&nodelete == 0 {
		t.Errorf("DT_FLAGS_1 is %#x, %v", flags, err)
	}
}

func TestInterfacesAreWhatTheStandardSays(t *testing.T) {
	runHost(t, harness.NewSlot(t).Env(), compileHost(t, "interfaces"), harness.Module(t))
}

func TestBadArgumentsNeverCrash(t *testing.T) {
	exe, rounds := compileHost(t, "nulls"), number(t, "ROUNDS", 100_000)
	t.Run("token not initialised", func(t *testing.T) {
		runHost(t, harness.NewSlot(t).Env(), exe, harness.Module(t), rounds)
	})
	t.Run("token initialised", func(t *testing.T) {
		runHost(t, harness.NewToken(t, "nulls").Env(), exe, harness.Module(t), rounds)
	})
}

// TestMessagesAndStates: see hosts/messages.c.
func TestMessagesAndStates(t *testing.T) {
	runHost(t, harness.NewToken(t, "messages").Env(), compileHost(t, "messages"), harness.Module(t), harness.UserPIN)
}

// TestVersion32: see hosts/version32.c.
func TestVersion32(t *testing.T) {
	runHost(t, harness.NewToken(t, "version32").Env(), compileHost(t, "version32"), harness.Module(t), harness.UserPIN)
}

// TestCloudHSMPrograms: see hosts/cloudhsm.c.
func TestCloudHSMPrograms(t *testing.T) {
	token, exe := harness.NewToken(t, "cloudhsm"), compileHost(t, "cloudhsm")
	runHost(t, token.Env(), exe, harness.Module(t), harness.UserPIN)
	conf, err := os.ReadFile(token.Conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token.Conf, append(conf, "cloudhsm_iv = true\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	runHost(t, token.Env(), exe, harness.Module(t), harness.UserPIN, "iv")
}

// TestForkedChildrenWork: see hosts/fork.c.
func TestForkedChildrenWork(t *testing.T) {
	exe := compileHost(t, "fork")
	t.Run("sessions", func(t *testing.T) {
		runHost(t, harness.NewToken(t, "fork").Env(), exe, harness.Module(t), number(t, "FORKS", 500))
	})
	t.Run("objects", func(t *testing.T) {
		env := harness.NewSlot(t).Env("CAPI_OBJECTS=1")
		runHost(t, env, exe, harness.Module(t), number(t, "FORKS", 100))
	})
}

// TestDeadRuntimeHandlesNothing: a child is not held up by the signal handlers and thread destructors of a Go runtime
// that did not survive the fork.
func TestDeadRuntimeHandlesNothing(t *testing.T) {
	runHost(t, harness.NewSlot(t).Env(), compileHost(t, "signals"), harness.Module(t), number(t, "FORKS", 1200))
}

// TestThreadsStopWhereverTheyAre: for hosts that stop their threads by signals, see hosts/stops.c.
func TestThreadsStopWhereverTheyAre(t *testing.T) {
	runHost(t, harness.NewSlot(t).Env(), compileHost(t, "stops"), harness.Module(t), number(t, "GENERATIONS", 1000))
}

// TestChildFindsTheLibrary: whatever the host does to files and directories meanwhile, see hosts/places.c.
func TestChildFindsTheLibrary(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot and setuid need root")
	}
	exe, module := compileHost(t, "places"), harness.Module(t)
	image, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		// Another user must be able to reach it, which t.TempDir does not allow.
		dir, err := os.MkdirTemp("", "capi-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		victim := filepath.Join(dir, "victim.so")
		if err := os.WriteFile(victim, image, 0o644); err != nil {
			t.Fatal(err)
		}
		runHost(t, []string{"HOME=/"}, exe, victim, strconv.Itoa(i))
		left, err := filepath.Glob(filepath.Join(dir, "tmp", "coffer-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	}
}
