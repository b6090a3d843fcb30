package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/store"
)

// refusals are etcd's answers that say that nothing was changed. All others may leave the outcome unknown.
var refusals = []struct{ from, to error }{
	{rpctypes.ErrNoSpace, fmt.Errorf("%w: etcd's quota is used up: compact and defragment it, or raise its quota, and disarm the alarm", store.ErrFull)},
	{rpctypes.ErrTooManyRequests, store.ErrBusy},
	{rpctypes.ErrRequestTooLarge, fmt.Errorf("%w: etcd must be started with max-request-bytes %d or more", store.ErrInvalid, MaxRequestBytes)},
	{rpctypes.ErrTooManyOps, fmt.Errorf("%w: etcd must be started with max-txn-ops %d or more", store.ErrInvalid, MaxTxnOps)},
	{rpctypes.ErrCorrupt, fmt.Errorf("%w: etcd has raised the alarm CORRUPT", store.ErrDamaged)},
}

// failure returns what a caller with ctx is told of an error of a request or of waiting.
func (s *Store) failure(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	for _, r := range refusals {
		if errors.Is(err, r.from) {
			return fmt.Errorf("%w (%v)", r.to, err)
		}
	}
	if closed := context.Cause(s.ctx); closed != nil {
		return closed
	}
	// A server counts the deadline too and may answer a little before the context has noticed, so the error is no less
	// the caller's for coming as etcd's.
	switch over := ctx.Err(); {
	case errors.Is(over, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, over)
	case over != nil:
		return over
	case status.Code(err) == codes.DeadlineExceeded && hasDeadline(ctx):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, context.DeadlineExceeded)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer within %v, does etcd have a quorum?", store.ErrUnavailable, s.timeout)
	}
	return fmt.Errorf("%w: %v", store.ErrUnavailable, err)
}

// hasDeadline reports whether the caller has one that is as good as over: gRPC on the other side has counted it down.
func hasDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < deadlineSlack
}

// deadlineSlack is how much earlier than here a deadline may be over there.
const deadlineSlack = 50 * time.Millisecond
