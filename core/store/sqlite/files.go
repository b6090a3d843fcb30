package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coffer-hsm/coffer/core/store"
)

// The database file itself is never opened here: closing it would drop all POSIX locks that SQLite holds on it for this
// process.

// minDatabase is SQLite's smallest page.
const minDatabase = 512

// locate finds the database, or with Create makes an empty file for it, and returns its path without symbolic links, so
// that all who use it agree on the names of the files beside it.
func locate(path string, o Options) (string, error) {
	ctx := context.Background()
	path, err := filepath.Abs(path)
	if err != nil {
		return "", wrap(ctx, "locating "+path, err)
	}
	create := o.Create && !o.ReadOnly
	if create {
		if err := makeDirectory(filepath.Dir(path)); err != nil {
			return "", err
		}
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", store.ErrNotFound, path)
	}
	if err != nil {
		return "", wrap(ctx, "locating "+path, err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}

	// The log before the file: a file that is being made at this moment gets its log only after it has content.
	log := present(path + "-wal")
	info, err := os.Stat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", wrap(ctx, "locating "+path, err)
	case err == nil && !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: %s is not a regular file", store.ErrDamaged, path)
	case err == nil && info.Size() >= minDatabase:
		return path, nil
	case err == nil && info.Size() > 0: // SQLite takes some of these for an empty database, and would overwrite them
		return "", fmt.Errorf("%w: %s has only %d bytes", store.ErrDamaged, path, info.Size())
	case log:
		return "", fmt.Errorf("%w: %s is missing or empty, but its log is not", store.ErrDamaged, path)
	case !create:
		return "", fmt.Errorf("%w: %s is missing or empty", store.ErrNotFound, path)
	case err == nil:
		return path, nil
	}
	// SQLite would make it with mode 0644.
	if err := unix.Mknod(path, unix.S_IFREG|0o600, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", wrap(ctx, "creating "+path, err)
	}
	return path, nil
}

// writable reports whether a log may be written next to the file.
func writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil &&
		unix.Faccessat(unix.AT_FDCWD, filepath.Dir(path), unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// readable says why the file may not be read; SQLite would only say that it cannot be opened.
func readable(path string) error {
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS)
	return wrap(context.Background(), "reading "+path, err)
}

// present reports whether the file has content.
func present(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// makeDirectory makes dir, and what is missing above it, durably and for the owner alone.
func makeDirectory(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirectory(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		return syncDirectory(filepath.Dir(dir))
	}
	if info, serr := os.Stat(dir); serr == nil && info.IsDir() { // on read-only media Mkdir does not say that it exists
		return nil
	}
	return wrap(context.Background(), "creating a directory", err)
}

// syncDirectory makes the names in dir durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) { // one may be allowed to write and not to read
		return nil
	}
	if err != nil {
		return wrap(context.Background(), "syncing a directory", err)
	}
	defer func() { _ = d.Close() }()
	// Some file systems cannot sync a directory and say so; they do without.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return wrap(context.Background(), "syncing a directory", err)
	}
	return nil
}

// stamp is what shows that a file was changed that SQLite was told is immutable.
type stamp struct {
	size     int64
	modified time.Time
}

func newStamp(path string) (*stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, wrap(context.Background(), "reading "+path, err)
	}
	return &stamp{info.Size(), info.ModTime()}, nil
}

// check returns store.ErrUnavailable if the file changed. A nil stamp is always content.
func (s *stamp) check(path string) error {
	if s == nil {
		return nil
	}
	now, err := newStamp(path)
	if err != nil {
		return err
	}
	if now.size != s.size || !now.modified.Equal(s.modified) || present(path+"-wal") {
		return fmt.Errorf("%w: %s was opened as immutable and has changed; open it again", store.ErrUnavailable, path)
	}
	return nil
}
