package member

import (
	"context"
	"time"
)

const (
	// catchUpWithin is how long a request waits for the store before the node says that it is isolated.
	catchUpWithin = 500 * time.Millisecond
	// cutOffFor is how long it says so without trying again; showing itself alive ends it earlier.
	cutOffFor = time.Second
)

// Current implements node.Cluster. While the others know this node to be alive they wait for it at each change, so what
// it holds is what there is. Otherwise each request catches up by itself.
func (m *Member) Current(ctx context.Context) (isolated bool, err error) {
	if m.alive.fresh() {
		return false, nil
	}
	if until := m.cutOff.Load(); until != nil && time.Now().Before(*until) {
		return true, nil
	}
	within, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	if err := m.catchUp(within); err == nil {
		m.cutOff.Store(nil) // what it answers counts as everybody's again: see Settle
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	until := time.Now().Add(cutOffFor)
	if m.cutOff.Swap(&until) == nil {
		m.log.Warn("this node reaches no majority of the store's voters: it answers from what it holds, and changes are refused")
	}
	return true, nil
}
