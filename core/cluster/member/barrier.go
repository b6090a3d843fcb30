package member

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/cluster/tally"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// settled is the engine's store: when a Commit returns, every node that is alive has taken the change in. What is then
// destroyed is gone from all of them, and what is created is on all.
//
// The commit itself is on a quorum before that, so the waiting makes it neither fail nor be undone. A node that cannot be
// reached, or does not answer in time, has its lease taken away. What it had renewed before is good for a claim's time and
// no longer; after that it is not alive, and will catch up before it answers again.
type settled struct {
	store.Store
	alive *alive
	// await asks a member to take a revision in, and returns when it has.
	await func(ctx context.Context, member string, revision int64) error
	// linearize returns a revision not below any that was committed before.
	linearize func(ctx context.Context) (int64, error)
	log       *slog.Logger
	floor     floor

	// What was counted: how long Commit's changes waited for the others, how many were given up meanwhile, and the leases that
	// were taken away for that.
	waited  tally.Histogram
	givenUp atomic.Uint64
	fenced  atomic.Uint64
}

// prefixOperation begins the keys of the records that let a request be sent twice and done once.
const prefixOperation = "op/"

// Commit implements store.Store. If ctx ends before all have taken the change in, its error is returned: then the
// outcome is unknown to the caller, who asks again.
func (s *settled) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	revision, err := s.Store.Commit(ctx, compares, ops)
	switch {
	case err == nil && len(ops) > 0:
		began := time.Now()
		if err := s.settle(ctx, revision); err != nil {
			s.givenUp.Add(1)
			return revision, err
		}
		s.waited.Observe(time.Since(began))
		s.floor.raise(revision)
		return revision, nil
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
			switch {
			case asked[id]:
			case strings.HasPrefix(id, markPrefix):
				wg.Go(func() { s.outlast(ctx, id, who[id]) })
			default:
				wg.Go(func() { s.wait(ctx, id, revision) })
			}
			asked[id] = true
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
	unreachable := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { s.whenDead(ctx, cancel, unreachable, id, revision) })
	for failed := 0; ctx.Err() == nil; {
		err := s.await(ctx, id, revision)
		if err == nil {
			return
		}
		s.log.Debug("a node did not confirm a change and is asked again", "member", id, "revision", revision, "reason", err)
		if !errors.As(err, new(*pkcs11.Error)) { // else it is there, and is behind
			if failed++; failed == failuresBeforeFence {
				close(unreachable)
			}
		}
		sleep(ctx, 20*time.Millisecond)
	}
}

// patienceFor is how long a node has to confirm a change. To lose the lease costs it no more than
// catching up once, and a node that does not answer costs everybody this time at each change, on top of the claim's.
func patienceFor(claim time.Duration) time.Duration { return claim * 2 / 3 }

// failuresBeforeFence is after how many failures of the connection a node is given up: one that leaves in order has gone
// from the store by then.
const failuresBeforeFence = 4

func (s *settled) look(ctx context.Context) (map[string]presence, error) {
	within, cancel := context.WithTimeout(ctx, s.alive.claim)
	defer cancel()
	now, _, err := s.alive.ask(within)
	return now, err
}

// whenDead calls dead once the member is not alive any more, or has come back after the revision and has taken it in
// with that. When the member is unreachable or has had its time, it takes the lease away.
func (s *settled) whenDead(ctx context.Context, dead func(), unreachable <-chan struct{}, id string, revision int64) {
	patience := time.NewTimer(patienceFor(s.alive.claim))
	defer patience.Stop()
	for ctx.Err() == nil {
		known, changed := s.alive.now()
		if have, there := known[id]; !there || have.since > revision {
			// What is known here may be old; the store's word counts.
			now, err := s.look(ctx)
			if have, there := now[id]; err == nil && (!there || have.since > revision) {
				s.gone(ctx, dead, now, id)
				return
			}
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		select {
		case <-changed:
		case <-unreachable:
			s.takeLease(ctx, dead, id, revision)
			return
		case <-patience.C:
			s.takeLease(ctx, dead, id, revision)
			return
		case <-ctx.Done():
		}
	}
}

// gone calls dead for a member that the store does not name any more, or that has come back: when another node has ended
// its lease, after the claim that it may still hold.
func (s *settled) gone(ctx context.Context, dead func(), now map[string]presence, id string) {
	_, there := now[id]
	if mark, marked := now[markPrefix+id]; marked && !there {
		s.outlast(ctx, markPrefix+id, mark)
	}
	dead()
}

// outlast returns when the claim of a member whose lease was ended before now must be over, or it has caught up. The
// lease was ended after the mark's revision.
func (s *settled) outlast(ctx context.Context, mark string, have presence) {
	from := time.Now()
	if at, seen := s.alive.endedAfter(strings.TrimPrefix(mark, markPrefix), have.since); seen {
		from = at
	}
	for end := from.Add(have.claimOver()); ctx.Err() == nil && time.Now().Before(end); sleep(ctx, 50*time.Millisecond) {
		if now, err := s.look(ctx); err == nil {
			if _, marked := now[mark]; !marked {
				return
			}
		}
	}
}

// claimOver is how long what a node claims is good after its lease was ended: a claim's time from what it sent last; a bit
// more, for clocks that do not run at the same speed.
func (p presence) claimOver() time.Duration { return p.claim + p.claim/50 }

// takeLease ends a member's lease, and calls dead when the member must have noticed.
func (s *settled) takeLease(ctx context.Context, dead func(), id string, revision int64) {
	s.log.Warn("a node does not confirm a change; it has to catch up before it answers again", "member", id)
	for ; ctx.Err() == nil; sleep(ctx, 50*time.Millisecond) {
		now, err := s.look(ctx)
		if err != nil {
			continue
		}
		have, there := now[id]
		if !there || have.since > revision {
			s.gone(ctx, dead, now, id)
			return
		}
		if err := s.fence(ctx, id, have); err != nil {
			continue
		}
		s.fenced.Add(1)
		if sleep(ctx, have.claimOver()) {
			dead()
		}
		return
	}
}

// fence ends a member's lease, and leaves a mark beforehand for everybody else who would find it gone.
func (s *settled) fence(ctx context.Context, id string, have presence) error {
	ctx, cancel := context.WithTimeout(ctx, s.alive.claim)
	defer cancel()
	c := s.alive.client
	g, err := c.Grant(ctx, int64((have.claimOver()+2*time.Second)/time.Second))
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, s.alive.prefix+markPrefix+id, claimValue(have.claim), clientv3.WithLease(g.ID)); err != nil {
		return err
	}
	if _, err := c.Revoke(ctx, have.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return err
	}
	return nil
}
