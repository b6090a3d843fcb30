package member

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/tally"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
)

// The states of a member, in Status and Stats.
const (
	stateReady    = "ready"
	stateDraining = "draining"
	stateImpaired = "impaired"
	stateJoining  = "joining"
	stateDead     = "dead"
)

// States are all that there are.
func States() []string {
	return []string{stateReady, stateDraining, stateImpaired, stateJoining, stateDead}
}

// Stats is how a cluster does, as one of its nodes knows it without asking anybody. Without a quorum, what is known of others
// is old.
type Stats struct {
	States       map[string]int // members by state; all of States are there
	Voters       int
	Votes, Leads bool          // of the store, this node; nobody leads an external one
	Quorum       bool          // a majority of the voters has heard of this node just now
	Revision     int64         // that the engine has taken in
	Unconfirmed  time.Duration // since when something may be missing here that the others have
	Settled      tally.Durations
	GivenUp      uint64 // changes for which their caller did not wait until every node had them
	Fenced       uint64 // leases of others that this node has ended, for they did not confirm a change
}

// Stats tells how the cluster does.
func (m *Member) Stats() Stats {
	s := Stats{States: map[string]int{}, Quorum: m.alive.fresh(), Unconfirmed: time.Since(*m.confirmed.Load()),
		Settled: m.settled.waited.Read(), GivenUp: m.settled.givenUp.Load(), Fenced: m.settled.fenced.Load()}
	for _, state := range States() {
		s.States[state] = 0
	}
	if m.id.Store == config.StoreEmbedded {
		s.Leads = m.server.Load().leads()
	}
	if c := m.copy.Load(); c != nil {
		s.Revision = (*c).Revision()
	}
	for _, w := range m.Members().Members {
		s.States[m.stateOf(w)]++
		if w.Votes {
			s.Voters++
			s.Votes = s.Votes || w.Id == m.id.Member
		}
	}
	return s
}

// stateOf is a member's state as far as this node knows, and its own as the others must see it.
func (m *Member) stateOf(w *wire.Member) string {
	r, _, err := m.records.member(context.Background(), w.Id)
	if err != nil {
		return stateDead
	}
	if w.Id != m.id.Member {
		return stateOf(w, r, time.Now())
	}
	r.StoreFailed = r.StoreFailed || m.storeBroken.Load()
	return stateOf(&wire.Member{Alive: m.alive.fresh(), Draining: w.Draining, Votes: w.Votes}, r, time.Now())
}

// unready says of a node's own state why it is not ready.
var unready = map[string]error{
	stateDraining: errors.New("the node is draining: clients are sent elsewhere"),
	stateImpaired: errors.New("the node's own copy of the store has stopped, so that its vote counts for nothing; its log says why"),
	stateJoining:  errors.New("the node is not known to a majority of the store's voters yet"),
	stateDead:     errors.New("the node reaches no majority of the store's voters: it uses the keys that it holds and changes nothing"),
}

// Ready returns nil while this node's state is the one that "coffer cluster status" calls ready, else why it is not, in a
// sentence.
func (m *Member) Ready() error {
	list, err := m.listMembers()
	if err != nil {
		return fmt.Errorf("the node has not read yet who its cluster's members are: %w", err)
	}
	for _, w := range list.Members {
		if w.Id == m.id.Member {
			return unready[m.stateOf(w)]
		}
	}
	return ErrRemoved
}

// Ready returns nil: there is nothing that a node without others waits for.
func (s *Single) Ready() error { return nil }

// Size is how large a store is, in bytes: on the disk, what of that is in use, and what it may become. A Limit of 0 is the disk's.
type Size struct{ Bytes, Used, Limit int64 }

// Size is that of this node's copy of the store; nil: it has none.
func (m *Member) Size() *Size {
	s := m.server.Load()
	if s == nil || !s.working() {
		return nil
	}
	b := s.etcd.Server.Backend()
	if b == nil {
		return nil
	}
	return &Size{b.Size(), b.SizeInUse(), storeQuota}
}

// Size is that of the token's file, and of what is in its log yet.
func (s *Single) Size() *Size {
	var n int64
	for _, name := range []string{fileStore, fileStore + "-wal"} {
		if info, err := os.Stat(s.state.path(name)); err == nil {
			n += info.Size()
		}
	}
	return &Size{n, n, 0}
}
