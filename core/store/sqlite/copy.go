package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/coffer-hsm/coffer/core/store"
)

// Copy writes the store, as it is at one moment, to a new file of mode 0600, which Open takes. Others go on using the
// store. The file appears when it is whole, checked and on the disk; one that is there already is fs.ErrExist.
func (s *Store) Copy(ctx context.Context, to string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist})
	}
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there under that name after the renaming
	defer f.Close()
	if err := s.vacuumInto(ctx, f.Name()); err != nil {
		return wrap(ctx, "copying "+s.path, err)
	}
	whole, err := Open(f.Name(), Options{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	if err := errors.Join(whole.Check(ctx), whole.Close()); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if err := renameNew(f.Name(), to); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(to))
}

// renameNew renames a file and replaces none, where the file system can say so: one may have come since Copy began.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return os.Rename(from, to)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// vacuumInto fills an empty file. It takes a connection of its own: those for reading forbid all writing, to other files
// too, and the one for writing is not to be held up.
func (s *Store) vacuumInto(ctx context.Context, to string) error {
	dsn := source(s.path, "ro")
	if s.frozen != nil {
		dsn += "&immutable=1"
	}
	db, err := pool(dsn, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return err
}
