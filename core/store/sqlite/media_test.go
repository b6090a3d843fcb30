package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/coffer-hsm/coffer/core/store"
)

// inNamespace runs a child that may mount file systems of its own, or skips where that is not permitted.
func inNamespace(t *testing.T, role string) {
	cmd := child(t, role, t.TempDir(), 0)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("namespaces are not permitted here: %v", err)
	}
	require.NoError(t, err)
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() == exitSkip {
		t.Skip("mounting is not permitted here")
	}
	require.NoError(t, err)
}

const exitSkip = 77

var errNotPermitted = errors.New("mounting is not permitted")

func mountTmpfs(dir, size string) error {
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: %w", errNotPermitted, err)
	}
	return err
}

func TestFullDiskIsReportedAndSurvived(t *testing.T) { inNamespace(t, "fulldisk") }

func childFullDisk() error {
	dir := os.Getenv(childPath)
	if err := mountTmpfs(dir, "1m"); err != nil {
		return err
	}
	s, err := Open(filepath.Join(dir, "token.db"), Options{Create: true})
	if err != nil {
		return err
	}
	n := 0
	for ; err == nil; n++ {
		_, err = s.Commit(ctx, nil, []store.Op{{Key: numberKey(n), Value: make([]byte, 20000)}})
	}
	if n--; !errors.Is(err, store.ErrFull) || n < 5 {
		return fmt.Errorf("after %d records: %w", n, err)
	}
	records, revision, err := s.List(ctx, "n/")
	if err != nil || len(records) != n || int(revision) != n {
		return fmt.Errorf("%d records at %d of %d: %w", len(records), revision, n, err)
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	// Opening on a full disk works or says why.
	if two, err := Open(filepath.Join(dir, "token.db"), Options{}); err == nil {
		_ = two.Close()
	} else if !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	if _, err := Open(filepath.Join(dir, "new.db"), Options{Create: true}); !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("creating on a full disk: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		return err
	}
	for _, name := range []string{"token.db", "new.db"} {
		s, err := Open(filepath.Join(dir, name), Options{Create: true})
		if err == nil {
			_, err = s.Commit(ctx, nil, []store.Op{{Key: "k", Value: make([]byte, 20000)}})
		}
		if err != nil {
			return fmt.Errorf("with room again, %s: %w", name, err)
		}
	}
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "k2"}}); err != nil {
		return fmt.Errorf("the store that met the full disk: %w", err)
	}
	return s.Check(ctx)
}

func TestReadOnlyMediaCanBeRead(t *testing.T) { inNamespace(t, "romedia") }

func childReadOnlyMedia() error {
	dir := os.Getenv(childPath)
	if err := mountTmpfs(dir, "4m"); err != nil {
		return err
	}
	path := filepath.Join(dir, "token.db")
	s, err := Open(path, Options{Create: true})
	if err != nil {
		return err
	}
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "k", Value: []byte("v")}}); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	log := path + "-wal"
	for _, with := range []struct {
		name    string
		prepare func() error
		want    error
	}{
		{"no log", func() error { return nil }, nil},
		{"empty log", func() error { return os.WriteFile(log, nil, 0o600) }, nil},
		{"log without index", func() error { return os.WriteFile(log, make([]byte, 5000), 0o600) }, store.ErrUnavailable},
	} {
		if err := errors.Join(with.prepare(), unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
			return fmt.Errorf("%s: %w", with.name, err)
		}
		if err := readOnlyMedia(path); !errors.Is(err, with.want) {
			return fmt.Errorf("%s: %w", with.name, err)
		}
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
			return err
		}
	}
	return nil
}

func readOnlyMedia(path string) error {
	s, err := Open(path, Options{Create: true})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if !s.ReadOnly() {
		return errors.New("not read-only")
	}
	seen := s.Changed()
	if r, err := s.Get(ctx, "k"); err != nil || string(r.Value) != "v" {
		return fmt.Errorf("%q: %w", r.Value, err)
	}
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "k"}}); !errors.Is(err, store.ErrReadOnly) {
		return fmt.Errorf("commit: %w", err)
	}
	if s.Changed() != seen {
		return errors.New("changed")
	}
	return nil
}

func TestImmutableFileThatChangesIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	w, err := Open(path, Options{Create: true})
	require.NoError(t, err)
	put(t, w, "k", "v")
	require.NoError(t, w.Close())
	r := mustOpen(t, path, Options{ReadOnly: true})
	r.frozen, err = newStamp(path)
	require.NoError(t, err)
	require.Equal(t, "v", value(t, r, "k"))
	seen := r.Changed()
	put(t, mustOpen(t, path, Options{}), "k", "w")
	_, err = r.Get(ctx, "k")
	require.ErrorIs(t, err, store.ErrUnavailable)
	r.due.Store(true)
	require.NotEqual(t, seen, r.Changed())
}
