package member

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// A change is on every living node when it returns to who made it; while it is on its way some nodes have it and others
// have not. A caller who has seen it through one node must not miss it at the next. So a node whose answer rests on a
// change that it does not know to be everywhere first does what the change's maker does: it asks all the others.
//
// floor is the revision up to which this node knows that.
type floor struct {
	at atomic.Int64

	mu      sync.Mutex
	running *round // nil: nobody asks
}

// round is one asking of all the others, for whoever waits.
type round struct {
	revision int64
	done     chan struct{}
	err      error // once done is closed
}

func (f *floor) raise(revision int64) {
	for {
		at := f.at.Load()
		if revision <= at || f.at.CompareAndSwap(at, revision) {
			return
		}
	}
}

// roundLimit is how long all others are asked: longer than a node that died is waited for.
const roundLimit = 4 * time.Second

// Settle returns once everything up to the revision is on every node that is alive. It costs a comparison where that is
// known. A node without a quorum does not ask: its answers say that they are of what it holds. Where it cannot be told,
// the error is a wire.ErrElsewhere.
func (m *Member) Settle(ctx context.Context, revision int64) error {
	f := &m.settled.floor
	for f.at.Load() < revision {
		if m.cutOff.Load() != nil {
			return nil
		}
		r := f.round(func() int64 { return max(revision, m.token.Applied()) }, m.settled.settle)
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if r.err != nil && r.revision >= revision && m.cutOff.Load() == nil {
			return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "this node cannot tell whether the others have a change that it has (%v), %w", r.err, wire.ErrElsewhere)
		}
	}
	return nil
}

// round returns the round that is running, or begins one.
func (f *floor) round(revision func() int64, settle func(context.Context, int64) error) *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	r := &round{revision: revision(), done: make(chan struct{})}
	f.running = r
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), roundLimit)
		defer cancel()
		if r.err = settle(ctx, r.revision); r.err == nil {
			f.raise(r.revision)
		}
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(r.done)
	}()
	return r
}
