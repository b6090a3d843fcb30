package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// eventPatience is how long an event that must come is waited for before progress is asked for.
	eventPatience = 20 * time.Millisecond
	firstAsk      = 5 * time.Millisecond // between the first two requests for progress
	mostAsk       = 200 * time.Millisecond
)

// Await returns when the mirror has applied the revision, which any node's commit or Linearize may have returned.
// Otherwise it fails when ctx ends, with its error, and with store.ErrUnavailable too if that is a deadline.
func (s *Store) Await(ctx context.Context, revision int64) error {
	return s.failure(ctx, s.await(ctx, revision, eventPatience))
}

// Linearize waits until the mirror has all that was committed, by anyone, before it was called, and returns the revision
// that it waited for. It needs a quorum, and fails with store.ErrUnavailable if there is none before ctx ends or the
// store's own limit has passed.
func (s *Store) Linearize(ctx context.Context) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	within, cancel := s.bounded(ctx)
	defer cancel()
	revision, err := s.current(within)
	if err == nil {
		err = s.await(within, revision, 0)
	}
	if err != nil {
		return 0, s.failure(ctx, err)
	}
	return revision, nil
}

// current asks etcd for its revision, by a linearizable read.
func (s *Store) current(ctx context.Context) (int64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	before := s.Applied()
	r, err := s.kv.Get(ctx, s.prefix, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, s.sameHistory(r.Header, before)
}

// await waits for the revision. After patience, and then again and again, it asks for progress: the revision may be one
// that changed nothing under the prefix, of which no event comes.
func (s *Store) await(ctx context.Context, revision int64, patience time.Duration) error {
	if s.Applied() >= revision {
		return s.usable(ctx)
	}
	ask := time.NewTimer(patience)
	defer ask.Stop()
	between := firstAsk
	for {
		moved := s.mirror.next() // before the look, so that nothing is missed after it
		if s.Applied() >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-ask.C:
			select {
			case s.nudge <- struct{}{}:
			default: // somebody did
			}
			ask.Reset(between)
			between = min(2*between, mostAsk)
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}
