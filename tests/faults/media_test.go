package faults

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// nobody runs a host as a user who owns nothing.
var nobody = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}

// needRoot skips what only root can arrange.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may act as another user and mount file systems")
	}
}

// mounts runs a host in a mount namespace of its own, after a shell command that mounts.
func mounts(t testing.TB, command string) []string {
	t.Helper()
	needRoot(t)
	if b, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("mount namespaces are not permitted here: %s", b)
	}
	return []string{"unshare", "-m", "--propagation=private", "sh", "-ec", command + `; exec "$@"`, "sh"}
}

// wantReadable expects a token that can be read and not written.
func (a *agent) wantReadable() {
	a.t.Helper()
	a.want(pkcs11.CKR_OK, "init")
	if flags, _ := a.flags(); flags&pkcs11.CKF_WRITE_PROTECTED == 0 || flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		a.t.Errorf("flags %#x", uint(flags))
	}
	a.want(pkcs11.CKR_TOKEN_WRITE_PROTECTED, "open w")
	a.want(pkcs11.CKR_OK, "open r")
	a.want(pkcs11.CKR_PIN_INCORRECT, wrongPIN)
	a.want(pkcs11.CKR_OK, "login u "+userPIN)
	a.wantAll()
	a.want(pkcs11.CKR_TOKEN_WRITE_PROTECTED, "data d v", "set public v", "destroy public", "pair p", "setpin "+userPIN+" other-pin")
	a.want(pkcs11.CKR_OK, "logout", "close")
	a.want(pkcs11.CKR_TOKEN_WRITE_PROTECTED, "setup "+soPIN)
	a.want(pkcs11.CKR_OK, "fini", "init", "open r", "login u "+userPIN)
	a.wantAll()
	a.want(pkcs11.CKR_OK, "fini")
	a.leave()
}

// TestReadOnlyTokenCanBeUsed: a file, a folder or a file system that may not be written.
func TestReadOnlyTokenCanBeUsed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct {
		name         string
		folder, file os.FileMode
		wrap         []string
	}{
		{"file and folder", 0o755, 0o644, nobody},
		{"file", 0o777, 0o644, nobody},
		{"folder", 0o755, 0o666, nobody},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newToken(t)
			before := s.files(t)["token.db"]
			check(t, os.Chmod(filepath.Dir(s.path), c.folder))
			check(t, os.Chmod(s.path, c.file))
			check(t, os.Chmod(s.dir, 0o777)) // for the log
			s.agent(t, c.wrap...).wantReadable()
			if s.files(t)["token.db"] != before {
				t.Error("the file changed")
			}
		})
	}
	t.Run("file system", func(t *testing.T) {
		s := newToken(t)
		before := s.files(t)
		data := filepath.Dir(s.path)
		s.agent(t, mounts(t, fmt.Sprintf("mount --bind %[1]s %[1]s; mount -o remount,ro,bind %[1]s", data))...).wantReadable()
		if !maps.Equal(s.files(t), before) {
			t.Error("the files changed")
		}
		s.wantWhole(t)
	})
}

// TestReadOnlyViewSeesTheWriter: one user may only read what another one writes.
func TestReadOnlyViewSeesTheWriter(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newToken(t)
	check(t, os.Chmod(s.path, 0o644))
	check(t, os.Chmod(s.dir, 0o777))
	w := s.user(t)
	w.want(pkcs11.CKR_OK, "data seen 1")
	r := s.agent(t, nobody...)
	r.want(pkcs11.CKR_OK, "init", "open r", "login u "+userPIN)
	for n := range 20 {
		value := fmt.Sprint(n)
		w.want(pkcs11.CKR_OK, "set seen "+value)
		if got := r.want(pkcs11.CKR_OK, "value seen"); got != value {
			t.Fatalf("written %s, read %s", value, got)
		}
	}
	w.want(pkcs11.CKR_OK, "destroy seen")
	r.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, "value seen")
	r.wantAll()
}

// TestUnreadableTokenIsRefusedAndKept: a token of another user's.
func TestUnreadableTokenIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, modes := range map[string][2]os.FileMode{"file": {0o755, 0o600}, "folder": {0o700, 0o600}, "writable folder": {0o777, 0o600}} {
		t.Run(name, func(t *testing.T) {
			s := newToken(t)
			check(t, os.Chmod(filepath.Dir(s.path), modes[0]))
			check(t, os.Chmod(s.path, modes[1]))
			check(t, os.Chmod(s.dir, 0o777))
			before := s.files(t)
			a := s.agent(t, nobody...)
			a.want(pkcs11.CKR_OK, "init")
			for range 2 {
				a.want(pkcs11.CKR_DEVICE_ERROR, "flags", "open r", "open w", "setup "+soPIN)
			}
			a.want(pkcs11.CKR_OK, "fini")
			a.leave()
			if !maps.Equal(s.files(t), before) {
				t.Error("the files changed")
			}
			b, err := os.ReadFile(s.log)
			check(t, err)
			line, _, _ := strings.Cut(string(b), "\n")
			t.Log(line)
			if !strings.Contains(line, "permission denied") {
				t.Error("the log does not say that it is a matter of permissions")
			}
		})
	}
}

// TestFullDiskLosesNothing fills the file system of a token: what is there goes on working, and with room again all does.
func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	data := filepath.Dir(s.path)
	spare := filepath.Join(s.dir, "prepared")
	check(t, os.WriteFile(spare, preparedFile(t), 0o600))
	filler := filepath.Join(data, "filler")
	wrap := mounts(t, fmt.Sprintf("mount -t tmpfs -o size=2m,mode=755 tmpfs %s; cp %s %s", data, spare, s.path))
	full := func(a *agent) {
		a.t.Helper()
		a.want(pkcs11.CKR_OK, "fill "+filler)
		stopped := pkcs11.CKR_OK
		for n := 0; n < 2000 && stopped == pkcs11.CKR_OK; n++ { // there may be room within the database
			stopped, _ = a.ask(fmt.Sprintf("data filler%d %s", n, strings.Repeat("x", 400)))
		}
		if stopped != pkcs11.CKR_DEVICE_MEMORY {
			t.Fatalf("creating on a full disk: %v", stopped)
		}
		a.want(pkcs11.CKR_DEVICE_MEMORY, "data d v", "set private v3", "pair p")
	}
	empty := func(a *agent) {
		a.t.Helper()
		for _, line := range a.list() {
			if label := strings.Fields(line)[1]; strings.HasPrefix(label, "filler") {
				a.want(pkcs11.CKR_OK, "destroy "+label)
			}
		}
		a.want(pkcs11.CKR_OK, "data d v", "pair p", "sign p", "set d w", "destroy d", "destroy p")
		a.wantAll()
	}

	t.Run("while it is open", func(t *testing.T) {
		a := s.user(t, wrap...)
		a.want(pkcs11.CKR_OK, "keep pair")
		full(a)
		a.want(pkcs11.CKR_OK, "kept", "sign pair", "logout", "login u "+userPIN)
		a.wantKeys()
		if got := a.want(pkcs11.CKR_OK, "value private"); got != "v2" {
			t.Errorf("private holds %s", got)
		}
		a.want(pkcs11.CKR_OK, "logout")
		a.want(pkcs11.CKR_DEVICE_MEMORY, wrongPIN)           // cannot be counted,
		a.want(pkcs11.CKR_DEVICE_MEMORY, "login u "+userPIN) // and is before another is tried
		a.want(pkcs11.CKR_OK, "unlink "+filler, "login u "+userPIN)
		empty(a)
		a.want(pkcs11.CKR_OK, "fini")
		a.leave()
	})
	t.Run("beside one that has it open", func(t *testing.T) {
		a := s.user(t, wrap...)
		full(a)
		b := s.agent(t, "nsenter", "-m", "-r", "-t", strconv.Itoa(a.cmd.Process.Pid))
		b.want(pkcs11.CKR_OK, "init", "open w", "login u "+userPIN)
		b.wantKeys()
		b.want(pkcs11.CKR_DEVICE_MEMORY, "data d v")
		b.want(pkcs11.CKR_OK, "fini")
		b.leave()
		a.want(pkcs11.CKR_OK, "unlink "+filler)
		empty(a)
		a.want(pkcs11.CKR_OK, "fini")
		a.leave()
	})
	t.Run("before it is opened", func(t *testing.T) {
		a := s.agent(t, wrap...)
		a.want(pkcs11.CKR_OK, "fill "+filler, "init")
		// Without room for SQLite's index of the log, the file can be opened or it cannot.
		rv, _ := a.ask("open w")
		t.Log(rv)
		if rv == pkcs11.CKR_OK {
			a.want(pkcs11.CKR_OK, "login u "+userPIN)
			a.wantAll()
			a.want(pkcs11.CKR_DEVICE_MEMORY, "data d v")
		} else if rv != pkcs11.CKR_DEVICE_MEMORY {
			t.Errorf("open on a full disk: %v", rv)
		}
		a.want(pkcs11.CKR_OK, "unlink "+filler, "fini", "init", "open w", "login u "+userPIN)
		a.wantAll()
		a.want(pkcs11.CKR_OK, "data d v", "destroy d", "fini")
		a.leave()
	})
	t.Run("no token yet", func(t *testing.T) {
		a := s.agent(t, wrap...)
		a.want(pkcs11.CKR_OK, "unlink "+s.path, "fill "+filler, "init")
		a.want(pkcs11.CKR_DEVICE_MEMORY, "setup "+soPIN+" "+userPIN)
		a.want(pkcs11.CKR_OK, "unlink "+filler, "setup "+soPIN+" "+userPIN, "open w", "login u "+userPIN, "pair p", "sign p", "fini")
		a.leave()
	})
}
