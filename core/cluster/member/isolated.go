package member

import (
	"context"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// A voter that was started and finds no majority has on its disk what it held when it was stopped. After a while it serves
// that, as a node does that was cut off all the time: its answers say that they are of what it holds, nobody can log in, and
// nothing changes. When there is a majority again, it takes in what it has missed before it answers.
//
// What it holds may be older than what a node that kept running would hold: a key that was destroyed while it was stopped
// can be used here, with a login that is still good. A client that has seen a later revision is not answered, by its
// min_revision, and a copy that was not yet in step when it was stopped is not served at all.

// openAlone opens the stores from this node's copy. It reports false where that cannot be: there is none, or it may not be
// believed.
func (m *Member) openAlone(ctx context.Context) bool {
	s := m.server.Load()
	if s == nil || !s.working() || s.etcd.Server.IsLearner() || m.state.has(fileBootstrap) {
		return false
	}
	local := v3client.New(s.etcd.Server)
	defer local.Close()
	if err := m.openStoresOnce(ctx, local); err != nil {
		m.log.Debug("this node's copy of the store cannot be read", "reason", err)
		m.closeStores()
		return false
	}
	if !m.isVoterHere(ctx) {
		m.closeStores()
		return false
	}
	until := time.Now().Add(cutOffFor)
	m.cutOff.Store(&until)
	m.late = true
	m.log.Warn("this node was started and reaches no majority of the store's voters: it serves what its own copy holds; what was "+
		"changed since it was stopped is missing, keys that were destroyed may be there, nobody can log in and nothing can be changed",
		"revision", m.token.Applied())
	return true
}

// isVoterHere reports whether the copy has this node among the voters: it was in step once.
func (m *Member) isVoterHere(ctx context.Context) bool {
	r, err := newRecords(m.cluster, m.root, m.id.Cluster, func(error) {})
	if err != nil {
		return false
	}
	defer r.barrier.Destroy()
	own, ok, err := r.member(ctx, m.id.Member)
	return err == nil && ok && own.Vote == Voter
}

// closeStores ends what openStoresOnce has opened.
func (m *Member) closeStores() {
	for _, s := range []**etcd.Store{&m.token, &m.cluster} {
		if *s != nil {
			_ = (*s).Close()
			*s = nil
		}
	}
}

// afterwards does what a start without a majority had to leave, once there is one.
func (m *Member) afterwards(ctx context.Context) {
	if !m.late || !m.alive.fresh() {
		return
	}
	if err := m.updateOwn(ctx); err != nil {
		m.log.Info("this node's record could not be brought up to date and is tried again", "reason", err)
		return
	}
	m.late = false
	m.log.Info("this node has taken in what it missed, and serves as one of the majority")
}
