package member

import (
	"context"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// electionsWaited is for how many of the least times of an election a copy without a leader is stayed with.
const electionsWaited = 4

// electing reports whether this node uses its own copy of the store, and that has lost its leader just now: the others have
// none either, and who went to one of them would find out by the time that there is one.
func (m *Member) electing() bool {
	s := m.server.Load()
	if s == nil || !s.working() || s.etcd.Server.Lead() != 0 || !m.endpoints.atFirst() {
		m.leaderless = time.Time{}
		return false
	}
	if m.leaderless.IsZero() {
		m.leaderless = time.Now()
	}
	return time.Since(m.leaderless) < electionsWaited*m.opts.Timing.Election
}

// await asks another member to take a revision in.
func (m *Member) await(ctx context.Context, id string, revision int64) error {
	return m.askToAwait(ctx, id, &wire.Request{MinRevision: revision, Body: &wire.Request_Await{Await: &wire.Await{}}})
}

func (m *Member) askToAwait(ctx context.Context, id string, q *wire.Request) error {
	r, ok, err := m.records.member(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		if m.removedLately(ctx, id) {
			return nil
		}
		return errGone
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.Timing.Lease)
	defer cancel()
	_, err = m.peers.ask(ctx, r, q)
	return err
}
