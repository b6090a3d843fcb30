package member

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A node is alive while a lease of its own lasts in the store; the lease carries one key. The node itself counts from the
// moment at which it *sent* what renewed the lease, the store from when it took that in, so the node gives up before the
// others give it up. Whoever waits for all nodes that are alive (barrier.go) may therefore pass over one whose key has
// gone: that one no longer answers without catching up first.
type alive struct {
	client *clientv3.Client
	prefix string           // of the keys of all nodes
	id     string           // this node
	ttl    time.Duration    // of the lease
	claim  time.Duration    // how long a renewal is good for, from its sending; shorter than ttl
	clock  func() time.Time // the time of day
	log    *slog.Logger
	// catchUp returns when all that was committed before its call is taken in.
	catchUp func(context.Context) error
	// moved returns a channel that is closed when the client uses another server: watches do not follow it by themselves.
	moved func() <-chan struct{}
	// failed is told of each renewal that did not succeed, done of each that did.
	failed func(error)
	done   func()

	until atomic.Pointer[limit]

	mu      sync.Mutex
	lease   clientv3.LeaseID // NoLease: none
	others  map[string]presence
	ended   map[string]ending // of members whose key was seen to go
	changed chan struct{}     // closed when others changes
	version uint64            // of others
}

// markPrefix begins, among the keys of who is alive, the mark of one whose lease another node has ended: what it claims is
// good for a while yet, and everybody who changes something must know. The mark's own lease lasts longer than that.
const markPrefix = "~"

// limit is when the last renewal was sent, plus how long it is good for: by the clock that does not jump, and by the time
// of day.
type limit struct{ steady, day time.Time }

// presence is a node's key in the store, or a mark.
type presence struct {
	lease clientv3.LeaseID
	since int64 // revision at which the key came
	// claim is the node's own, from the key's value, in milliseconds: nodes of different versions need not have the same.
	claim time.Duration
}

// formerClaim is what nodes claim that do not say it.
const formerClaim = time.Second

func presenceOf(kv *mvccpb.KeyValue) presence {
	claim := formerClaim
	if ms, err := strconv.ParseUint(string(kv.Value), 10, 16); err == nil {
		claim = time.Duration(ms) * time.Millisecond
	}
	return presence{clientv3.LeaseID(kv.Lease), kv.ModRevision, claim}
}

func claimValue(claim time.Duration) string { return strconv.FormatInt(claim.Milliseconds(), 10) }

// ending is when this node saw a key go, and the revision at which it went.
type ending struct {
	at       time.Time
	revision int64
}

func newAlive(client *clientv3.Client, prefix, id string, t Timing, clock func() time.Time, log *slog.Logger) *alive {
	return &alive{client: client, prefix: prefix, id: id, ttl: t.Lease, claim: t.Claim, clock: clock, log: log,
		others: map[string]presence{}, ended: map[string]ending{}, changed: make(chan struct{})}
}

// fresh reports whether the others know this node to be alive. It costs reading the clock. Time that passed while the
// process was stopped counts; time that passed while the machine slept shows on the wall clock only, so that is asked
// too, and a clock that was put forward costs no more than catching up once.
func (a *alive) fresh() bool {
	until := a.until.Load()
	if until == nil {
		return false
	}
	return time.Now().Before(until.steady) && a.clock().Round(0).Before(until.day.Add(a.claim))
}

// keep renews the claim five times in its life.
func (a *alive) keep(ctx context.Context) {
	every := a.claim / 5
	for {
		start := time.Now()
		// Longer than the pause between two: a slow store is not a dead one.
		within, cancel := context.WithTimeout(ctx, a.claim/2)
		err := a.renew(within)
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			a.failed(err)
		} else {
			a.done()
		}
		pause := every - time.Since(start)
		if err != nil {
			pause = every / 2
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// renew renews the lease once. After a gap in which the others may have given this node up, it proves first that there
// is a quorum and takes in what was missed: a leader that was stopped together with this process would renew any lease
// for a moment after it wakes.
func (a *alive) renew(ctx context.Context) error {
	if !a.fresh() {
		if err := a.back(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	lease := a.lease
	a.mu.Unlock()
	sent := limit{time.Now().Add(a.claim), a.clock().Round(0).Add(a.claim)}
	r, err := a.client.KeepAliveOnce(ctx, lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		a.until.Store(nil)
		a.mu.Lock()
		a.lease = clientv3.NoLease
		a.mu.Unlock()
		return err
	}
	if err != nil {
		return err
	}
	if r.TTL <= 0 {
		a.until.Store(nil)
		return rpctypes.ErrLeaseNotFound
	}
	a.until.Store(&sent)
	return nil
}

// back makes sure that this node's key is there, with a lease of ours, and that what was committed before is taken in.
func (a *alive) back(ctx context.Context) error {
	key := a.prefix + a.id
	a.mu.Lock()
	lease := a.lease
	a.mu.Unlock()
	r, err := a.client.Get(ctx, key) // needs a quorum
	if err != nil {
		return err
	}
	again := false
	if lease == clientv3.NoLease || len(r.Kvs) == 0 || clientv3.LeaseID(r.Kvs[0].Lease) != lease {
		again = true
		g, err := a.client.Grant(ctx, max(1, int64(a.ttl/time.Second)))
		if err != nil {
			return err
		}
		if _, err := a.client.Put(ctx, key, claimValue(a.claim), clientv3.WithLease(g.ID)); err != nil {
			return err
		}
		a.mu.Lock()
		a.lease = g.ID
		a.mu.Unlock()
	}
	// After the key is there: who committed before it did not wait for us.
	if err := a.catchUp(ctx); err != nil || !again {
		return err
	}
	_, err = a.client.Delete(ctx, a.prefix+markPrefix+a.id) // what was claimed before counts no more
	return err
}

// leave gives the lease up, so that nobody waits for this node.
func (a *alive) leave(ctx context.Context) {
	a.until.Store(nil)
	a.mu.Lock()
	lease := a.lease
	a.lease = clientv3.NoLease
	a.mu.Unlock()
	if lease != clientv3.NoLease {
		if _, err := a.client.Revoke(ctx, lease); err != nil {
			a.log.Debug("the lease of this node was not given up and will run out", "reason", err)
		}
	}
}

// follow keeps others up to date. While the store cannot be followed, the last that was known stays.
func (a *alive) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.followOnce(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("who is alive cannot be followed", "reason", err)
			sleep(ctx, 200*time.Millisecond)
		}
	}
}

// followOnce returns nil when the client has moved to another server.
func (a *alive) followOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	moved := a.moved()
	watcher := clientv3.NewWatcher(a.client)
	defer watcher.Close()
	within, stop := context.WithTimeout(ctx, a.ttl)
	now, revision, err := a.ask(within)
	stop()
	if err != nil {
		return err
	}
	a.set(func(m map[string]presence) { clear(m); maps.Copy(m, now) })
	events := watcher.Watch(ctx, a.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	for {
		select {
		case <-moved:
			return nil
		case r, ok := <-events:
			if !ok {
				return errWatchEnded
			}
			if err := r.Err(); err != nil {
				return err
			}
			a.take(r.Events)
		}
	}
}

var errWatchEnded = errors.New("the watch ended")

func (a *alive) take(events []*clientv3.Event) {
	a.set(func(m map[string]presence) {
		for _, ev := range events {
			id := strings.TrimPrefix(string(ev.Kv.Key), a.prefix)
			if ev.Type == clientv3.EventTypeDelete {
				delete(m, id)
				a.ended[id] = ending{time.Now(), ev.Kv.ModRevision}
			} else {
				m[id] = presenceOf(ev.Kv)
			}
		}
	})
}

// ask reads from the store who is alive; it needs a quorum.
func (a *alive) ask(ctx context.Context) (map[string]presence, int64, error) {
	r, err := a.client.Get(ctx, a.prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, err
	}
	now := map[string]presence{}
	for _, kv := range r.Kvs {
		now[strings.TrimPrefix(string(kv.Key), a.prefix)] = presenceOf(kv)
	}
	return now, r.Header.Revision, nil
}

func (a *alive) set(f func(map[string]presence)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a.others)
	close(a.changed)
	a.changed = make(chan struct{})
	a.version++
}

// now returns who is alive as far as this node knows, and a channel that is closed when that changes.
func (a *alive) now() (map[string]presence, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	living := maps.Clone(a.others)
	maps.DeleteFunc(living, func(id string, _ presence) bool { return strings.HasPrefix(id, markPrefix) })
	return living, a.changed
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// count changes whenever what now returns does.
func (a *alive) count() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version
}

// endedAfter returns when this node saw a member's key go, if that was after the revision.
func (a *alive) endedAfter(id string, revision int64) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, seen := a.ended[id]
	return e.at, seen && e.revision > revision
}
