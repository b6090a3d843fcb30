// Package store is the seam between the engine and where its records are kept: opaque values under string keys, with
// etcd's notion of revision. The packages below it implement it; storetest is the contract that each must pass.
//
// A store sees only what may be seen by whoever reads the disk: sealing is the business of core/vault.
//
// A Store may be used by several goroutines at once. The values that it returns never change: nobody writes to them, neither
// the caller nor the store, which may give the same slice to others. Where several
// machines share the records, what a Store reads is a state that was, though not always the last one: its own commits
// are in it, and it never goes back.
package store

import "context"

// Record is a key's value and when it came about. Revisions count the commits of the whole store: each commit that
// changes something has the next one, and the first has a revision greater than 0. In a store that is a part of a larger
// one, the commits of the others count too.
type Record struct {
	Key      string
	Value    []byte
	Created  int64 // revision of the commit that made the record
	Modified int64 // revision of the commit that last changed it
}

// Event says what became of a key. Of a deleted record only Key and Modified are set, the latter to the revision of the
// deletion.
type Event struct {
	Record
	Deleted bool
}

// Compare is a condition of a commit: the record's Modified is exactly this, or with 0 there is no such record.
type Compare struct {
	Key      string
	Modified int64
}

// Op is one change: Value is put under Key, or the record is deleted. Deleting what is not there is no error and no
// change.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Store keeps records. Each method may fail with ErrDamaged, ErrUnavailable, ErrBusy or the context's error besides
// what it names.
type Store interface {
	// Get returns the record, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)

	// List returns all records whose key starts with prefix, ordered by key, and the revision at which they were
	// looked at: one snapshot.
	List(ctx context.Context, prefix string) (records []Record, revision int64, err error)

	// Commit applies all ops if all compares hold, and otherwise nothing. It returns the commit's revision, or the
	// current one if nothing changed. When it returns nil the change is durable. Errors: ErrConflict when a compare
	// fails, ErrReadOnly, ErrFull, ErrInvalid when Check refuses or when the values together are more than the store
	// takes in one commit, which is at least 4 MiB. After ErrUnavailable or the context's error the outcome may be
	// unknown; after any other error nothing was changed.
	Commit(ctx context.Context, compares []Compare, ops []Op) (revision int64, err error)

	// Since returns what changed after revision: for each key with the prefix its last event, once, ordered by Modified
	// and then by key, and the revision up to which this is complete. A deletion may be reported of a key that the
	// caller never saw. ErrCompacted means that the store cannot tell, because revision is too old or is one that it
	// has not reached (an older copy was put back): List again. A store may have forgotten the deletions before it was
	// opened.
	Since(ctx context.Context, prefix string, revision int64) (events []Event, now int64, err error)

	// Changed returns a number that is cheap to get and meaningless but for this: while it is the same as at the last
	// call, nothing was committed in between by anyone. Read it before looking, not after. It may differ though nothing
	// changed. A commit of another process that was killed in the act may show late, by a bound that the implementation
	// states; one of another machine may show when it arrives.
	Changed() uint64

	// ReadOnly reports whether Commit answers ErrReadOnly.
	ReadOnly() bool

	// Close releases the store. Other methods then fail with ErrUnavailable.
	Close() error
}
