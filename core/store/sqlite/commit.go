package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coffer-hsm/coffer/core/store"
)

// Commit implements store.Store. The context counts while it waits for its turn among the writers; a commit that has
// begun is carried through.
func (s *Store) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	if err := store.Check(compares, ops); err != nil {
		return 0, err
	}
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if s.readOnly {
		return 0, fmt.Errorf("%w: %s", store.ErrReadOnly, s.path)
	}
	done, err := s.sync.turn(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	ctx = context.WithoutCancel(ctx)

	tx, err := s.write.BeginTx(ctx, nil) // BEGIN IMMEDIATE, by the data source name
	if err != nil {
		return 0, wrap(ctx, "waiting to write", err)
	}
	defer func() { _ = tx.Rollback() }()
	w := writer{tx: tx, w: &s.w}
	changed, err := w.apply(compares, ops)
	if errors.Is(err, store.ErrConflict) {
		return 0, err
	}
	if err != nil {
		return 0, wrap(ctx, "writing", err)
	}
	if !changed {
		return w.revision, nil
	}
	if err := tx.Commit(); err != nil {
		return 0, wrap(ctx, "committing", err)
	}
	s.sync.announce()
	return w.next, nil
}

// Alone waits until no other process, and no other caller of this Store, is between Alone and done; a killed process is
// not. After some seconds it lets the caller through all the same, since somebody may have been stopped there: what
// must never happen twice is for Commit's comparisons to see to.
func (s *Store) Alone(ctx context.Context) (done func(), err error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	return s.sync.wait(ctx, s.sync.gates)
}

// writer is one transaction.
type writer struct {
	tx *sql.Tx
	w  *writeStatements

	revision, compacted, tombstones int64 // as found
	next                            int64 // this commit's revision
}

func (w *writer) apply(compares []store.Compare, ops []store.Op) (changed bool, err error) {
	if err := w.tx.Stmt(w.w.meta).QueryRow().Scan(&w.revision, &w.compacted, &w.tombstones); err != nil {
		return false, err
	}
	w.next = w.revision + 1
	for _, c := range compares {
		if err := w.compare(c); err != nil {
			return false, err
		}
	}
	for _, op := range ops {
		did, err := w.op(op)
		if err != nil {
			return false, err
		}
		changed = changed || did
	}
	if !changed {
		return false, nil
	}
	if err := w.forget(); err != nil {
		return false, err
	}
	_, err = w.exec(w.w.setMeta, w.next, w.compacted, w.tombstones)
	return true, err
}

func (w *writer) compare(c store.Compare) error {
	var have int64
	err := w.tx.Stmt(w.w.at).QueryRow(c.Key).Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if have != c.Modified {
		return fmt.Errorf("%w: %s is at revision %d, expected %d", store.ErrConflict, c.Key, have, c.Modified)
	}
	return nil
}

func (w *writer) op(op store.Op) (changed bool, err error) {
	if op.Delete {
		n, err := w.exec(w.w.remove, op.Key, w.next)
		w.tombstones += n
		return n > 0, err
	}
	value := op.Value
	if value == nil {
		value = []byte{} // the driver makes NULL of nil
	}
	n, err := w.exec(w.w.update, op.Key, value, w.next)
	if err != nil || n > 0 {
		return true, err
	}
	n, err = w.exec(w.w.revive, op.Key, value, w.next)
	if err != nil || n > 0 {
		w.tombstones -= n
		return true, err
	}
	_, err = w.exec(w.w.insert, op.Key, value, w.next)
	return true, err
}

// forget drops the older half of the tombstones when there are too many.
func (w *writer) forget() error {
	if w.tombstones <= maxTombstones {
		return nil
	}
	if err := w.tx.Stmt(w.w.middle).QueryRow(w.tombstones / 2).Scan(&w.compacted); err != nil {
		return err
	}
	n, err := w.exec(w.w.forget, w.compacted)
	w.tombstones -= n
	return err
}

func (w *writer) exec(stmt *sql.Stmt, args ...any) (rows int64, err error) {
	result, err := w.tx.Stmt(stmt).Exec(args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
