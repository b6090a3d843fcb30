// Package etcd is a store.Store that many nodes share: the records are keys of an etcd v3 cluster, and each Store keeps
// a mirror of them in memory.
//
// Reads (Get, List, Since, Changed) are answered from the mirror alone. They cost no round trip and need no quorum: a
// node that is cut off goes on reading what it has. What a read answers may therefore be behind what others committed;
// Applied says how far the mirror is, Await waits for a revision, and Linearize for all that was committed before it was
// called. A caller that needs to know that a record is as it read it commits with a Compare.
//
// Revisions are etcd's own, so that all nodes mean the same by a number. They rise also with what is written under other
// prefixes; the mirror follows those by progress notifications, on demand.
//
// The mirror is written by one goroutine, from a list of all records at one revision and a watch of what came after.
// A response of the watch is applied as a whole and holds whole revisions, so nobody sees half of a commit; what comes
// twice or late is passed over. If etcd compacted its history below the mirror, the records are listed again and
// compared, and what vanished shows as deleted at the revision of that list.
//
// Options.Apart keeps records that nobody reads out of the mirror.
//
// A Store that was just opened knows of no deletion before it was opened: Since answers store.ErrCompacted for earlier
// revisions, but for 0, from which all records are told. Keys under the prefix that store.CheckKey refuses are not seen.
//
// A database that was put back from an older copy, or exchanged for another cluster's, has another history under the
// same revisions. When a Store notices (an answer of another cluster's id, or one that is behind the mirror though etcd
// vouches for it), it fails for good with ErrReplaced, rather than mix the two; open a new one then.
package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/store"
)

// What the servers and the client must be set to, so that every commit that this package lets pass is taken.
const (
	// MaxTxnOps is for embed.Config.MaxTxnOps (--max-txn-ops), and is etcd's default too. A server counts the longest
	// of the three lists of a transaction (compares, then, else), and none is longer than compares and ops together.
	MaxTxnOps = store.MaxOps

	// MaxCommitBytes bounds the values of one commit together; Commit answers store.ErrInvalid beyond.
	MaxCommitBytes = 4 << 20

	// MaxRequestBytes is for embed.Config.MaxRequestBytes (--max-request-bytes), whose default of 1.5 MiB is too small:
	// the values, and 256 KiB for the keys of at most MaxTxnOps compares and ops. Watch responses are cut into pieces
	// of this size.
	MaxRequestBytes = MaxCommitBytes + 256<<10

	// MaxCallSendBytes is for clientv3.Config.MaxCallSendMsgSize, whose default of 2 MiB is too small.
	MaxCallSendBytes = MaxRequestBytes + 64<<10
)

const (
	maxPrefix         = 256 // bytes
	defaultTimeout    = 5 * time.Second
	defaultTombstones = 10_000
)

// ErrReplaced is a store.ErrUnavailable that stays: what etcd keeps is not the continuation of what the Store mirrors.
var ErrReplaced = fmt.Errorf("%w: etcd's database was replaced by an older copy or by another cluster's: open the store again", store.ErrUnavailable)

var errClosed = fmt.Errorf("%w: closed", store.ErrUnavailable)

// Options say what to open. Client and Prefix must be set.
type Options struct {
	// Client is shared with others. It should have keep-alives (DialKeepAliveTime, DialKeepAliveTimeout), or a server
	// that vanishes without a word is not noticed by the watch; MaxCallSendMsgSize set to MaxCallSendBytes; and a
	// grpc.WithConnectParams among its DialOptions with a MaxDelay of about a second, for gRPC's own pause before it
	// connects again grows to two minutes.
	Client *clientv3.Client
	// CloseClient has Close close the client too.
	CloseClient bool

	// Prefix goes before every key, ends in '/' and has at most 256 bytes, each from '!' to '~'. Nothing else may write
	// below it.
	Prefix string

	// Apart, if set, begins the keys of records that are not mirrored: many that are hardly ever read. Get and List ask etcd
	// for them, which needs a quorum; List tells them without their values; Since and Changed do not tell of them.
	Apart string

	// Local, if set, is one server's: Open lists the records as that one has them, for which there need be no quorum. They are
	// of some moment in the past. What came after is taken in as soon as Client reaches a server that has a leader.
	Local clientv3.KV

	// Timeout bounds each request to etcd besides its context; 0 is 5 seconds.
	Timeout time.Duration

	// Tombstones is how many deletions are remembered for Since, the newest; 0 is 10,000.
	Tombstones int

	// Moved, if set, returns a channel that is closed when the client was given other endpoints. A watch stays with the
	// server that it was begun at for as long as that keeps its connection, so it is begun anew then.
	Moved func() <-chan struct{}

	// Log, if set, is told when following etcd's changes fails, once for each spell of trouble. It must not block.
	Log func(error)
}

// Store implements store.Store. Its Changed is exact for the node's own commits, which show when Commit returns; those
// of others show when the watch brings them.
type Store struct {
	client      *clientv3.Client
	closeClient bool
	kv          clientv3.KV // sends a transaction at most once
	local       clientv3.KV // while Open reads from one server
	prefix      string
	apart       string // begins the keys that are not mirrored; "": all are
	timeout     time.Duration
	log         func(error)
	moved       func() <-chan struct{}
	cluster     uint64 // etcd's cluster id

	mirror mirror
	nudge  chan struct{} // asks the follower to ask for progress

	trouble atomic.Pointer[error] // of following; nil while there is none

	ctx   context.Context // ends with Close or with ErrReplaced, which is then its cause
	stop  context.CancelCauseFunc
	done  chan struct{} // closed when the follower has ended
	close func() error
}

var _ store.Store = (*Store)(nil)

// Open lists all records, for which etcd must have a quorum but with Options.Local, and begins to follow their changes. Errors are those of
// store.Store, and store.ErrInvalid for options that cannot be.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Client == nil {
		return nil, fmt.Errorf("%w: no etcd client", store.ErrInvalid)
	}
	if !strings.HasSuffix(o.Prefix, "/") || len(o.Prefix) > maxPrefix || strings.IndexFunc(o.Prefix, func(r rune) bool { return r < '!' || r > '~' }) >= 0 {
		return nil, fmt.Errorf("%w: prefix %q must be 1 to %d characters from '!' to '~' and end in '/'", store.ErrInvalid, o.Prefix, maxPrefix)
	}
	if o.Apart != "" && store.CheckKey(o.Apart) != nil {
		return nil, fmt.Errorf("%w: %q begins no key", store.ErrInvalid, o.Apart)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tombstones <= 0 {
		o.Tombstones = defaultTombstones
	}
	if o.Moved == nil {
		o.Moved = func() <-chan struct{} { return nil }
	}
	if o.Log == nil {
		o.Log = func(error) {}
	}
	s := &Store{
		client:      o.Client,
		closeClient: o.CloseClient,
		kv:          clientv3.NewKVFromKVClient(atMostOnce{clientv3.RetryKVClient(o.Client)}, o.Client),
		prefix:      o.Prefix,
		apart:       o.Apart,
		local:       o.Local,
		timeout:     o.Timeout,
		log:         o.Log,
		moved:       o.Moved,
		nudge:       make(chan struct{}, 1),
		done:        make(chan struct{}),
	}
	s.mirror.init(o.Tombstones)
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.close = sync.OnceValue(s.shut)
	if err := s.load(ctx); err != nil {
		s.stop(errClosed)
		return nil, err
	}
	s.local = nil
	go s.run()
	return s, nil
}

// Changed implements store.Store.
func (s *Store) Changed() uint64 { return s.mirror.changed.Load() }

// ReadOnly implements store.Store.
func (s *Store) ReadOnly() bool { return false }

// Applied returns the revision that the mirror is at: it never falls, and all that was committed up to it is seen.
func (s *Store) Applied() int64 { return s.mirror.applied.Load() }

// Latest is the revision of the newest change to these records that the mirror has taken in; Applied is not less, and rises
// with others' changes too.
func (s *Store) Latest() int64 {
	m := &s.mirror
	m.mu.RLock()
	defer m.mu.RUnlock()
	var latest int64
	for _, last := range []*entry{m.live.tail, m.dead.tail} {
		if last != nil {
			latest = max(latest, last.modified)
		}
	}
	return latest
}

// Err returns why the mirror cannot follow etcd at the moment, or nil. A connection that is being made anew is not
// always noticed here; Linearize is the proof that the mirror is up to date.
func (s *Store) Err() error {
	if err := s.usable(context.Background()); err != nil {
		return err
	}
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Close implements store.Store. Calls under way end with store.ErrUnavailable, and the Store's goroutines have ended
// when it returns.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	s.stop(errClosed)
	<-s.done
	if s.closeClient {
		return s.client.Close()
	}
	return nil
}

// usable returns the error of a context that has ended or of a store that has.
func (s *Store) usable(ctx context.Context) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// bounded returns the context for one request: it ends with ctx, with the store, and after the store's own limit.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	detach := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { detach(); cancel() }
}
