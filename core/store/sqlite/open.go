package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/coffer-hsm/coffer/core/store"
)

// source returns the data source name for one connection. The path is escaped, because SQLite reads it as a URI.
func source(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_error_rc": {"1"}, "_defensive": {"1"}}
	q["_pragma"] = append([]string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"cell_size_check(ON)",
		"trusted_schema(OFF)",
		"temp_store(MEMORY)",
	}, pragmas...)
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func pool(dsn string, most int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

func (s *Store) connectReadWrite(o Options) (err error) {
	s.write, err = pool(source(s.path, "rw", "synchronous(FULL)", "secure_delete(ON)", "journal_size_limit(4194304)"), 1)
	if err != nil {
		return err
	}
	if s.read, err = pool(source(s.path, "rw", "query_only(ON)"), readers); err != nil {
		return err
	}
	// Whoever makes the file or switches it to WAL needs it alone for a moment, and SQLite does not always wait.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(time.Millisecond) {
		blank, err := identify(s.write, s.path)
		if err == nil && blank && !o.Create {
			return fmt.Errorf("%w: %s is empty", store.ErrNotFound, s.path)
		}
		if err == nil {
			err = s.setUp(blank)
		}
		if !errors.Is(err, store.ErrBusy) || time.Now().After(deadline) {
			return err
		}
	}
}

// setUp makes a blank database ours, and sees that any uses the write-ahead log.
func (s *Store) setUp(blank bool) error {
	ctx := context.Background()
	var mode string
	if err := s.write.QueryRow("PRAGMA journal_mode=WAL").Scan(&mode); err != nil {
		return wrap(ctx, "switching "+s.path+" to WAL", err)
	}
	if mode != "wal" {
		return fmt.Errorf("%w: %s: journal mode is %s, this file system allows no WAL", store.ErrUnavailable, s.path, mode)
	}
	if !blank {
		return nil
	}
	tx, err := s.write.Begin()
	if err != nil {
		return wrap(ctx, "creating "+s.path, err)
	}
	defer func() { _ = tx.Rollback() }()
	// Someone may have been faster.
	if blank, err := identify(tx, s.path); err != nil || !blank {
		return err
	}
	if _, err = tx.Exec(fmt.Sprintf("%sPRAGMA application_id=%d; PRAGMA user_version=%d;", schema, applicationID, formatVersion)); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return wrap(ctx, "creating "+s.path, err)
	}
	return syncDirectory(filepath.Dir(s.path))
}

func (s *Store) connectReadOnly() (err error) {
	if s.read, err = pool(source(s.path, "ro", "query_only(ON)"), readers); err != nil {
		return err
	}
	blank, err := identify(s.read, s.path)
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrReadOnly) {
		// On read-only media the log's index cannot be made. Without a log it is not needed.
		if present(s.path + "-wal") {
			return fmt.Errorf("%w: the log of %s cannot be read here; open it once where it can be written: %w", store.ErrUnavailable, s.path, err)
		}
		_ = s.read.Close()
		if s.frozen, err = newStamp(s.path); err != nil {
			return err
		}
		if s.read, err = pool(source(s.path, "ro", "query_only(ON)")+"&immutable=1", readers); err != nil {
			return err
		}
		blank, err = identify(s.read, s.path)
	}
	if err == nil && blank {
		return fmt.Errorf("%w: %s is empty", store.ErrNotFound, s.path)
	}
	return err
}

// identify tells a store from everything else: blank means a database in which nothing was ever made.
func identify(db interface {
	QueryRow(query string, args ...any) *sql.Row
}, path string) (blank bool, err error) {
	var app, version, tables int64
	if err := db.QueryRow(sqlIdentify).Scan(&app, &version, &tables); err != nil {
		return false, wrap(context.Background(), "reading "+path, err)
	}
	switch {
	case app == 0 && version == 0 && tables == 0:
		return true, nil
	case app != applicationID:
		return false, fmt.Errorf("%w: %s is a database of another application (id %#x)", store.ErrDamaged, path, app)
	case version > formatVersion:
		return false, fmt.Errorf("%w: %s has format %d, this program knows up to %d", store.ErrVersion, path, version, formatVersion)
	case version < 1:
		return false, fmt.Errorf("%w: %s has format %d", store.ErrDamaged, path, version)
	}
	return false, nil
}

// checkLength notices a file that was cut within its last page, which SQLite itself does not.
func (s *Store) checkLength() error {
	var pages, size int64
	err := s.read.QueryRow("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").Scan(&pages, &size)
	if err != nil {
		return wrap(context.Background(), "reading "+s.path, err)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return wrap(context.Background(), "reading "+s.path, err)
	}
	if info.Size() < pages*size && !present(s.path+"-wal") { // what is missing may be in the log
		return fmt.Errorf("%w: %s has %d bytes, its header says %d", store.ErrDamaged, s.path, info.Size(), pages*size)
	}
	return nil
}
