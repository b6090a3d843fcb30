package member

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/coffer-hsm/coffer/core/store"
)

// settled is the engine's store: when a Commit returns, every node that is alive has taken the change in. What is then
// destroyed is gone from all of them, and what is created is on all.
//
// The commit itself is on a quorum before that, so the waiting makes it neither fail nor be undone. A node that does not
// answer is waited for until its lease has run out; one that keeps its lease but cannot be reached from here has it
// taken away, and once it must have noticed it is no longer alive. Either way it will catch up before it answers again.
type settled struct {
	store.Store
	alive *alive
	// await asks a member to take a revision in, and returns when it has.
	await func(ctx context.Context, member string, revision int64) error
	// linearize returns a revision not below any that was committed before.
	linearize func(ctx context.Context) (int64, error)
	log       *slog.Logger
}

// prefixOperation begins the keys of the records that let a request be sent twice and done once.
const prefixOperation = "op/"

// Commit implements store.Store. If ctx ends before all have taken the change in, its error is returned: then the
// outcome is unknown to the caller, who asks again.
func (s *settled) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	revision, err := s.Store.Commit(ctx, compares, ops)
	switch {
	case err == nil && len(ops) > 0:
		return revision, s.settle(ctx, revision)
	case errors.Is(err, store.ErrConflict) && repeated(compares):
		// It may be a request that was done already and whose answer was lost: by a node that may have died before the
		// others had taken it in.
		now, unknown := s.linearize(ctx)
		if unknown == nil {
			unknown = s.settle(ctx, now)
		}
		if unknown != nil {
			return 0, unknown
		}
	}
	return revision, err
}

func repeated(compares []store.Compare) bool {
	for _, c := range compares {
		if c.Modified == 0 && strings.HasPrefix(c.Key, prefixOperation) {
			return true
		}
	}
	return false
}

// settle returns when every node that was alive at the revision has taken it in or has stopped being alive.
func (s *settled) settle(ctx context.Context, revision int64) error {
	asked := map[string]bool{s.alive.id: true}
	var wg sync.WaitGroup
	ask := func(who map[string]presence) {
		for id := range who {
			if !asked[id] {
				asked[id] = true
				wg.Go(func() { s.wait(ctx, id, revision) })
			}
		}
	}
	// Those whom we know are asked at once. Who came back just before the commit may not have shown here yet: the store
	// knows, and a node that comes back after this has caught up with the commit.
	known, _ := s.alive.now()
	ask(known)
	for ctx.Err() == nil {
		now, err := s.look(ctx)
		if err == nil {
			ask(now)
			break
		}
		sleep(ctx, 50*time.Millisecond)
	}
	wg.Wait()
	return ctx.Err()
}

// wait returns when the member has taken the revision in, is no longer alive, or ctx ends.
func (s *settled) wait(ctx context.Context, id string, revision int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			sleep(ctx, 20*time.Millisecond)
		}
		err := s.await(ctx, id, revision)
		if err == nil {
			return
		}
		if first {
			watching.Go(func() { s.whenDead(ctx, cancel, id, revision) })
			s.log.Debug("a node did not confirm a change and is asked again", "member", id, "revision", revision, "reason", err)
		}
	}
}

func (s *settled) look(ctx context.Context) (map[string]presence, error) {
	within, cancel := context.WithTimeout(ctx, s.alive.ttl)
	defer cancel()
	now, _, err := s.alive.ask(within)
	return now, err
}

// whenDead calls dead once the member is not alive any more, or has come back after the revision and has taken it in
// with that. When the member has had the time that a lease lasts, it takes the lease away.
func (s *settled) whenDead(ctx context.Context, dead func(), id string, revision int64) {
	patience := time.NewTimer(s.alive.ttl + s.alive.ttl/2)
	defer patience.Stop()
	for ctx.Err() == nil {
		known, changed := s.alive.now()
		if have, there := known[id]; !there || have.since > revision {
			// What is known here may be old; the store's word counts.
			now, err := s.look(ctx)
			if have, there := now[id]; err == nil && (!there || have.since > revision) {
				dead()
				return
			}
			sleep(ctx, 50*time.Millisecond)
			continue
		}
		select {
		case <-changed:
		case <-patience.C:
			s.takeLease(ctx, dead, id, revision)
			return
		case <-ctx.Done():
		}
	}
}

// takeLease ends a member's lease, and calls dead when the member must have noticed.
func (s *settled) takeLease(ctx context.Context, dead func(), id string, revision int64) {
	s.log.Warn("a node is alive but does not confirm a change to this one; it has to catch up before it answers again", "member", id)
	for ; ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		now, err := s.look(ctx)
		if err != nil {
			continue
		}
		have, there := now[id]
		if !there || have.since > revision {
			dead()
			return
		}
		within, cancel := context.WithTimeout(ctx, s.alive.ttl)
		_, err = s.alive.client.Revoke(within, have.lease)
		cancel()
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			continue
		}
		// What it sent before that is good for less than a lease lasts.
		if sleep(ctx, s.alive.ttl) {
			dead()
		}
		return
	}
}
