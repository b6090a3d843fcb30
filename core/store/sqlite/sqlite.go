// Package sqlite is a store.Store in one SQLite file, which many processes may have open at once and any of which may
// be killed at any moment. docs/storage-format.md describes the files.
//
// A Store owns one connection for writing and a few for reading. It must not be used in a forked child: open another.
package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/store"
)

// Options say how to open.
type Options struct {
	Create   bool // make the database, and its directory, if there is none
	ReadOnly bool // never write, even where it would be allowed
}

const (
	readers = 4

	// busyTimeout is how long one waits for the locks of others before store.ErrBusy.
	busyTimeout = 10 * time.Second
)

// Store implements store.Store.
type Store struct {
	path     string
	readOnly bool
	frozen   *stamp    // of the file, if it was opened as immutable
	sync     *syncFile // not nil once open
	closed   atomic.Bool

	write    *sql.DB // one connection; nil if readOnly
	w        writeStatements
	together together // who waits for it
	read     *sql.DB
	r        readStatements

	// What Changed knows; see there.
	due    atomic.Bool   // it is time to ask the database
	missed atomic.Uint64 // raised when asking found something new
	asking sync.Mutex    // guards revision
	found  int64         // the revision found when last asked
}

var _ store.Store = (*Store)(nil)

type readStatements struct{ revision, get, list, since *sql.Stmt }

type writeStatements struct {
	meta, at, update, revive, insert, remove, middle, forget, setMeta *sql.Stmt
}

// Open opens the database at path. Where writing is not permitted it is opened for reading, see ReadOnly. Errors:
// store.ErrNotFound if there is none or it is empty and Create is not set; store.ErrDamaged if the file is not a store,
// of which nothing is changed then; store.ErrVersion; store.ErrUnavailable; store.ErrFull; store.ErrBusy.
func Open(path string, o Options) (*Store, error) {
	path, err := locate(path, o)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, readOnly: o.ReadOnly || !writable(path), together: newTogether()}
	s.due.Store(true)
	if err := s.connect(o); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) connect(o Options) error {
	err := readable(s.path)
	if err != nil {
		return err
	}
	if s.readOnly {
		err = s.connectReadOnly()
	} else {
		err = s.connectReadWrite(o)
	}
	if err != nil {
		return err
	}
	if err := s.checkLength(); err != nil {
		return err
	}
	s.sync = openSyncFile(s.path, s.readOnly) // not before: nothing is put beside a file that is not ours
	if err := s.prepare(); err != nil {
		return wrap(context.Background(), "preparing "+s.path, err)
	}
	s.found, err = s.revision(context.Background())
	return wrap(context.Background(), "opening "+s.path, err)
}

func (s *Store) prepare() error {
	type pair struct {
		stmt **sql.Stmt
		text string
	}
	prepare := func(db *sql.DB, list []pair) error {
		for _, p := range list {
			stmt, err := db.Prepare(p.text)
			if err != nil {
				return err
			}
			*p.stmt = stmt
		}
		return nil
	}
	err := prepare(s.read, []pair{{&s.r.revision, sqlRevision}, {&s.r.get, sqlGet}, {&s.r.list, sqlList}, {&s.r.since, sqlSince}})
	if err != nil || s.readOnly {
		return err
	}
	return prepare(s.write, []pair{{&s.w.meta, sqlMeta}, {&s.w.at, sqlAt}, {&s.w.update, sqlUpdate}, {&s.w.revive, sqlRevive},
		{&s.w.insert, sqlInsert}, {&s.w.remove, sqlDelete}, {&s.w.middle, sqlMiddle}, {&s.w.forget, sqlForget}, {&s.w.setMeta, sqlSetMeta}})
}

// ReadOnly implements store.Store.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Path returns the database's path with symbolic links followed.
func (s *Store) Path() string { return s.path }

// Check reads the whole database and returns store.ErrDamaged with SQLite's first finding if its structure is not
// sound. It takes as long as reading the file does.
func (s *Store) Check(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	var finding string
	if err := s.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&finding); err != nil {
		return wrap(ctx, "checking "+s.path, err)
	}
	if finding != "ok" {
		return fmt.Errorf("%w: %s: %s", store.ErrDamaged, s.path, finding)
	}
	return nil
}

// Close implements store.Store. It may be called again.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var err error
	for _, db := range []*sql.DB{s.read, s.write} { // the writer last: only it can empty the log
		if db == nil {
			continue
		}
		if e := db.Close(); e != nil {
			err = wrap(context.Background(), "closing "+s.path, e)
		}
	}
	if s.sync != nil {
		s.sync.close()
	}
	return err
}

// usable returns why s cannot be used now, if it cannot.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return fmt.Errorf("%w: %s is closed", store.ErrUnavailable, s.path)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.frozen.check(s.path)
}
