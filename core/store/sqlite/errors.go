package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	sqlite3driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/coffer-hsm/coffer/core/store"
)

// wrap turns what the driver or the system said into one of the store's errors, with doing as the first words.
func wrap(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // an interrupted statement fails in several ways
		return ctx.Err()
	}
	kind := sentinel(err)
	var at *fs.PathError
	if errors.As(err, &at) && strings.Contains(doing, at.Path) { // the file is named once
		err = at.Err
	}
	return fmt.Errorf("%w: %s: %w", kind, doing, err)
}

func sentinel(err error) error {
	var e *sqlite3driver.Error
	switch {
	case errors.As(err, &e):
		return codeSentinel(e.Code())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return store.ErrFull
	case errors.Is(err, syscall.EROFS):
		return store.ErrReadOnly
	case errors.Is(err, sql.ErrNoRows): // a table that always has its row
		return store.ErrDamaged
	}
	return store.ErrUnavailable
}

func codeSentinel(code int) error {
	switch code { // extended codes first
	case sqlite3.SQLITE_IOERR_SHMSIZE: // the log's index could not grow
		return store.ErrFull
	case sqlite3.SQLITE_READONLY_DBMOVED:
		return store.ErrUnavailable
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return store.ErrBusy
	case sqlite3.SQLITE_FULL:
		return store.ErrFull
	case sqlite3.SQLITE_READONLY:
		return store.ErrReadOnly
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA: // our SQL does not fit the tables that are there
		return store.ErrDamaged
	}
	return store.ErrUnavailable
}
