package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coffer-hsm/coffer/core/store"
)

// Commit implements store.Store. The context counts while the commit waits for its turn among the writers; one that has
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
	return s.together.commit(ctx, s, &pending{compares: compares, ops: ops, done: make(chan struct{})})
}

// transact writes commits in one transaction, one after the other, and gives those that are made, change nothing or conflict
// their answers. After an error none has been made.
func (s *Store) transact(batch []*pending) error {
	ctx := context.Background()
	tx, err := s.write.BeginTx(ctx, nil) // BEGIN IMMEDIATE, by the data source name
	if err != nil {
		return wrap(ctx, "waiting to write", err)
	}
	defer func() { _ = tx.Rollback() }()
	w := writer{tx: tx, w: &s.w}
	changed, err := w.applyAll(batch)
	if err != nil {
		return wrap(ctx, "writing", err)
	}
	if !changed {
		return nil
	}
	if err := tx.Commit(); err != nil {
		return wrap(ctx, "committing", err)
	}
	s.sync.announce()
	return nil
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

	revision, compacted, tombstones int64 // as found, and then of the commits that were made
	next                            int64 // the revision of the commit that is being made
}

func (w *writer) applyAll(batch []*pending) (changed bool, err error) {
	if err := w.tx.Stmt(w.w.meta).QueryRow().Scan(&w.revision, &w.compacted, &w.tombstones); err != nil {
		return false, err
	}
	found := w.revision
	for _, c := range batch {
		c.err = w.apply(c.compares, c.ops)
		if c.err != nil && !errors.Is(c.err, store.ErrConflict) {
			return false, c.err
		}
		c.revision = w.revision
	}
	if w.revision == found {
		return false, nil
	}
	if err := w.forget(); err != nil {
		return false, err
	}
	_, err = w.exec(w.w.setMeta, w.revision, w.compacted, w.tombstones)
	return true, err
}

// apply makes one commit. A conflict leaves nothing of it.
func (w *writer) apply(compares []store.Compare, ops []store.Op) error {
	for _, c := range compares {
		if err := w.compare(c); err != nil {
			return err
		}
	}
	w.next = w.revision + 1
	changed := false
	for _, op := range ops {
		did, err := w.op(op)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if changed {
		w.revision = w.next
	}
	return nil
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
