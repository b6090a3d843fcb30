package main

import (
	"context"
	"time"
)

const (
	// sweepEvery and keepOperations are for the records by which a request that is sent twice is done once. No client goes
	// on trying for that long.
	sweepEvery     = time.Minute
	keepOperations = 30 * time.Minute
)

// marks are the revisions that the store had at times of this process, the oldest first. They tell what is older than
// keepOperations by a clock that never jumps.
type marks []mark

type mark struct {
	at       time.Time // with its monotonic reading
	revision int64
}

// due remembers the revision of now, and returns the newest that is older than keepOperations.
func (m *marks) due(now time.Time, revision int64) (through int64, ok bool) {
	*m = append(*m, mark{now, revision})
	for len(*m) > 0 && now.Sub((*m)[0].at) >= keepOperations {
		through, ok = (*m)[0].revision, true
		*m = (*m)[1:]
	}
	return through, ok
}

func (d *daemon) sweep(ctx context.Context, through int64) {
	ctx, cancel := context.WithTimeout(ctx, sweepEvery/2)
	defer cancel()
	if err := d.engine.SweepOperations(ctx, through); err != nil {
		d.log.Info("records of old requests were not removed and are tried again", "reason", err)
	}
}
