package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coffer-hsm/coffer/core/store"
)

// afterElection is how long a commit may still take when the store has another leader: what was on its way to the old one
// is lost mostly, and would be waited for in vain.
const afterElection = 50 * time.Millisecond

var errElection = fmt.Errorf("%w: the store's leader changed while a commit was on its way", store.ErrUnavailable)

// elected is a store that gives commits up which an election has lost.
type elected struct {
	store.Store
	// leaderChanged returns a channel that is closed when the store has another leader, or nil where that is not known.
	leaderChanged func() <-chan struct{}
}

// Commit implements store.Store.
func (s elected) Commit(ctx context.Context, compares []store.Compare, ops []store.Op) (int64, error) {
	changed := s.leaderChanged()
	if changed == nil {
		return s.Store.Commit(ctx, compares, ops)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-changed:
			if sleep(ctx, afterElection) {
				cancel(errElection)
			}
		case <-done:
		}
	}()
	revision, err := s.Store.Commit(ctx, compares, ops)
	if err != nil && errors.Is(context.Cause(ctx), errElection) {
		return 0, errElection
	}
	return revision, err
}
