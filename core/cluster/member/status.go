package member

import (
	"context"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
)

// Copy is what this node's engine holds, for Coverage and Status: hsm.Portable has it.
type Copy interface {
	Revision() int64
	Holds(ids []string) []bool
}

// Serve names the engine that serves from Store, and shows this node alive to the others, who from then on wait for it at
// each change. Call it once, when the node listens; requests may come in before.
func (m *Member) Serve(c Copy) {
	m.copy.Store(&c)
	m.tasks.Go(func() { m.alive.keep(m.life) })
}

// askWithin is how long another node is waited for in Status and Coverage.
const askWithin = 2 * time.Second

// sinceState is since when a member is in a state, as far as this node has seen.
type sinceState struct {
	state string
	since time.Time
}

// Coverage implements node.Cluster. A node that does not answer in time counts as one that holds nothing.
func (m *Member) Coverage(ctx context.Context, ids []string) ([]uint32, uint32, error) {
	list, err := m.records.members(ctx)
	if err != nil {
		return nil, 0, unavailable(err)
	}
	nodes := make([]uint32, len(ids))
	if c := m.copy.Load(); c != nil {
		for i, has := range (*c).Holds(ids) {
			if has {
				nodes[i]++
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var mu sync.Mutex
	m.others(list, func(r Record) {
		reply, err := m.peers.ask(ctx, r, &wire.Request{Body: &wire.Request_Coverage{Coverage: &wire.Coverage{Ids: ids, Here: true}}})
		have := reply.GetCoverage().GetNodes()
		if err != nil || len(have) != len(ids) {
			m.log.Debug("a node did not tell what it holds", "member", r.ID, "reason", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for i, n := range have {
			nodes[i] += min(n, 1)
		}
	})
	return nodes, uint32(len(list)), nil
}

// others calls f for each member that is alive but this one, at the same time, and returns when all have returned.
func (m *Member) others(list []Record, f func(Record)) {
	living, _ := m.alive.now()
	var wg sync.WaitGroup
	for _, r := range list {
		if _, lives := living[r.ID]; lives && r.ID != m.id.Member {
			wg.Go(func() { f(r) })
		}
	}
	wg.Wait()
}

// Status implements node.Cluster.
func (m *Member) Status(ctx context.Context) (*wire.StatusReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	list, err := m.records.members(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	out := &wire.StatusReply{Cluster: m.id.Cluster}
	var leads string
	var wg sync.WaitGroup
	wg.Go(func() { leads = m.leader(ctx) })
	within, stop := context.WithTimeout(ctx, catchUpWithin)
	_, err = m.token.Linearize(within)
	stop()
	out.Quorum, out.Revision = err == nil, m.token.Latest()
	revisions := m.revisions(ctx, list, out.Revision)
	wg.Wait()
	members := m.Members().Members
	records := map[string]Record{}
	for _, r := range list {
		records[r.ID] = r
	}
	for _, w := range members {
		s := &wire.MemberStatus{Member: w, Revision: -1, Leader: w.Id == leads, Policy: records[w.Id].Policy}
		if n, ok := revisions[w.Id]; ok {
			s.Revision = n
		}
		out.Revision = max(out.Revision, s.Revision)
		s.State = stateOf(w, records[w.Id], time.Now())
		if !out.Quorum && s.Revision < 0 && w.Alive {
			s.State = stateDead // what is known of its being alive is old
		}
		s.Since = uint64(m.sinceWhen(w.Id, s.State).Unix())
		if w.Votes {
			out.Voters++
		}
		out.Members = append(out.Members, s)
	}
	return out, nil
}

// revisions asks all members that are alive how far they are. Each is given a moment to take in what this one knows of:
// the store's revision rises also with what is none of the token's, which nodes hear of when they ask.
func (m *Member) revisions(ctx context.Context, list []Record, now int64) map[string]int64 {
	found := map[string]int64{}
	if c := m.copy.Load(); c != nil {
		found[m.id.Member] = (*c).Revision()
	}
	var mu sync.Mutex
	m.others(list, func(r Record) {
		within, cancel := context.WithTimeout(ctx, catchUpWithin)
		defer cancel()
		reply, err := m.peers.ask(within, r, &wire.Request{MinRevision: now, Body: &wire.Request_Await{Await: &wire.Await{}}})
		if err != nil {
			reply, err = m.peers.ask(ctx, r, &wire.Request{Body: &wire.Request_Ping{Ping: &wire.Ping{}}})
		}
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		found[r.ID] = reply.Revision
	})
	return found
}

// joiningFor is how long a member that was never seen is on its way, in seconds.
const joiningFor = 600

func stateOf(w *wire.Member, r Record, now time.Time) string {
	switch {
	case w.Alive && r.StoreFailed:
		return stateImpaired
	case w.Alive && w.Draining:
		return stateDraining
	case w.Alive:
		return stateReady
	case !w.Votes && now.Unix()-r.Joined < joiningFor:
		return stateJoining
	}
	return stateDead
}

func (m *Member) sinceWhen(id, state string) time.Time {
	now := time.Now()
	if v, ok := m.since.Load(id); ok && v.(sinceState).state == state {
		return v.(sinceState).since
	}
	m.since.Store(id, sinceState{state, now})
	return now
}

// leader asks the store who leads it.
func (m *Member) leader(ctx context.Context) string {
	if m.id.Store == config.StoreExternal {
		return ""
	}
	if m.server.Load().leads() {
		return m.id.Member
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	seats, err := m.client.MemberList(ctx)
	if err != nil {
		return ""
	}
	r, err := m.client.Status(ctx, m.client.Endpoints()[0])
	if err != nil {
		return ""
	}
	return leader(seats.Members, r.Leader)
}
