package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/coffer-hsm/coffer/core/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Record{}, err
	}
	if err := s.usable(ctx); err != nil {
		return store.Record{}, err
	}
	r := store.Record{Key: key}
	err := s.r.get.QueryRowContext(ctx, key).Scan(&r.Value, &r.Created, &r.Modified)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Record{}, fmt.Errorf("%w: %s", store.ErrNotFound, key)
	}
	if err != nil {
		return store.Record{}, wrap(ctx, "reading "+key, err)
	}
	return r, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, int64, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.list.QueryContext(ctx, prefix, afterPrefix(prefix))
	if err != nil {
		return nil, 0, wrap(ctx, "listing "+prefix, err)
	}
	defer func() { _ = rows.Close() }()
	var (
		records           []store.Record
		now               int64
		key               sql.NullString
		value             []byte
		created, modified sql.NullInt64
	)
	for rows.Next() {
		value = nil
		if err := rows.Scan(&now, &key, &value, &created, &modified); err != nil {
			return nil, 0, wrap(ctx, "listing "+prefix, err)
		}
		if key.Valid {
			records = append(records, store.Record{Key: key.String, Value: value, Created: created.Int64, Modified: modified.Int64})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, wrap(ctx, "listing "+prefix, err)
	}
	return records, now, nil
}

// Since implements store.Store.
func (s *Store) Since(ctx context.Context, prefix string, revision int64) ([]store.Event, int64, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.since.QueryContext(ctx, revision, prefix, afterPrefix(prefix))
	if err != nil {
		return nil, 0, wrap(ctx, "changes of "+prefix, err)
	}
	defer func() { _ = rows.Close() }()
	var (
		events                     []store.Event
		now, compacted             int64
		key                        sql.NullString
		value                      []byte
		created, modified, deleted sql.NullInt64
	)
	for rows.Next() {
		value = nil
		if err := rows.Scan(&now, &compacted, &key, &value, &created, &modified, &deleted); err != nil {
			return nil, 0, wrap(ctx, "changes of "+prefix, err)
		}
		if revision < compacted || revision > now {
			return nil, 0, fmt.Errorf("%w: %d, known are %d to %d", store.ErrCompacted, revision, compacted, now)
		}
		if !key.Valid {
			continue
		}
		e := store.Event{Record: store.Record{Key: key.String, Created: created.Int64, Modified: modified.Int64}}
		if e.Deleted = deleted.Int64 != 0; !e.Deleted {
			e.Value = value
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, wrap(ctx, "changes of "+prefix, err)
	}
	return events, now, nil
}

// revision returns that of the last commit.
func (s *Store) revision(ctx context.Context) (now int64, err error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	err = s.r.revision.QueryRowContext(ctx).Scan(&now)
	return now, wrap(ctx, "reading the revision", err)
}

// afterPrefix returns a string greater than all keys with the prefix. Keys end at '~', so the next character will do.
func afterPrefix(prefix string) string { return prefix + "\x7f" }
