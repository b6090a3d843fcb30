package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// Options are what a Member is made of.
type Options struct {
	Node    *config.Node
	Version string
	Policy  string         // digest of the policy in force, in hex: nodes of one cluster should have the same
	Method  custody.Method // MethodOf
	// Bootstrap writes the first records of a token that is to be activated: engine.Bootstrap.
	Bootstrap func(ctx context.Context, s store.Store, root *secret.Bytes, serial, label string, pin []byte) error
	Timing    Timing
	Log       *slog.Logger
	Now       func() time.Time // the time of day, which may be wrong; nil: time.Now
}

// Member is a node that takes part in its cluster.
type Member struct {
	opts   Options
	state  *State
	id     identity
	root   *secret.Bytes
	log    *slog.Logger
	prefix string // of the cluster in the store

	client    *clientv3.Client
	endpoints *endpoints
	token     *etcd.Store // the engine's records
	cluster   *etcd.Store // ours
	records   *records
	alive     *alive
	peers     *peers
	settled   *settled

	server      atomic.Pointer[server] // this node's copy of the store; nil: none
	storeBroken atomic.Bool
	leaderless  time.Time // since when that copy has had no leader; alive.keep's alone
	late        bool      // it was started without a quorum, and there has been none yet: run's alone

	confirmed atomic.Pointer[time.Time] // when it was last known that nothing is missing here
	cutOff    atomic.Pointer[time.Time] // until when nobody tries to catch up again: there was no quorum
	listed    atomic.Pointer[listed]
	refused   atomic.Pointer[revokedClients]
	written   []neighbour // what members.json holds
	revokedAt uint64      // one more than the generation that the file of revocations is of
	since     sync.Map    // member -> sinceState
	copy      atomic.Pointer[Copy]

	removed     chan struct{}
	removedOnce sync.Once
	life        context.Context // ends with stop
	stop        context.CancelFunc
	tasks       sync.WaitGroup
}

// ErrRemoved says that the cluster does not have this node as a member any more.
var ErrRemoved = errors.New("this node was removed from its cluster; run coffer node zeroize, then join again if it is to come back")

// Open takes the state directory into service and returns once the store has answered: with an embedded store, once a
// quorum of the voters is there, or after Timing.Alone without one if this node's own copy will do. Until then it tries, and
// logs what it waits for; ctx ends that. The caller closes the
// Member after everything that uses its store.
func Open(ctx context.Context, o Options) (_ *Member, err error) {
	state, err := openState(o.Node.StateDir, false)
	if err != nil {
		return nil, err
	}
	m := &Member{opts: o, state: state, log: o.Log, removed: make(chan struct{})}
	m.opts.Timing = o.Timing.withDefaults()
	if o.Now == nil {
		m.opts.Now = time.Now
	}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	if m.id, err = state.identity(); err != nil {
		return nil, err
	}
	switch {
	case m.id.Waiting && m.id.Customer:
		return nil, fmt.Errorf("the certificate of this node is missing: have %s signed and run the same command again with --certificate", state.path(fileNodeCSR))
	case m.id.Waiting:
		return nil, fmt.Errorf("this node was not made to the end; run coffer cluster create or coffer cluster join again")
	case m.id.Store != o.Node.Store:
		return nil, fmt.Errorf("the configuration says store = %q, but this node was made with %q; a node cannot change its store", o.Node.Store, m.id.Store)
	case m.id.Store == config.StoreFile:
		return nil, fmt.Errorf("this node keeps its token in a file and is not of a cluster")
	}
	if m.root, err = state.unseal(ctx, m.id, o.Method); err != nil {
		return nil, err
	}
	m.prefix = "coffer/" + m.id.Cluster + "/"
	if err := m.connect(); err != nil {
		return nil, err
	}
	if err := m.openStores(ctx); err != nil {
		return nil, err
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// unseal opens the root key, which is the caller's.
func (s *State) unseal(ctx context.Context, id identity, method custody.Method) (*secret.Bytes, error) {
	sealed, err := s.read(fileRoot)
	if err != nil {
		return nil, fmt.Errorf("the sealed root key cannot be read: %w; put it back from a backup, or zeroize this node and join again", err)
	}
	root, err := custody.Unseal(ctx, sealed, custody.Binding{Cluster: id.Cluster, Member: id.Member}, method)
	if err != nil {
		return nil, fmt.Errorf("the root key cannot be unsealed: %w", err)
	}
	return root, nil
}

// begin writes what the first start has to write, and starts what goes on beside.
func (m *Member) begin(ctx context.Context) error {
	if err := m.bootstrap(ctx); err != nil {
		return err
	}
	m.alive = newAlive(m.client, m.prefix+prefixLive, m.id.Member, m.opts.Timing, m.opts.Now, m.log)
	m.alive.catchUp, m.alive.moved = m.catchUp, m.endpoints.moved
	m.alive.failed = func(err error) {
		m.log.Debug("the node could not show the store that it is alive", "reason", err)
		if !m.electing() {
			m.endpoints.fail()
		}
	}
	now := time.Now()
	m.confirmed.Store(&now)
	first := true
	m.alive.done = func() {
		now := time.Now()
		m.confirmed.Store(&now)
		m.cutOff.Store(nil)
		m.endpoints.succeed()
		if first { // so that nobody who comes now has to wait while the others are asked
			first = false
			m.tasks.Go(func() { _ = m.Settle(m.life, m.token.Applied()) })
		}
	}
	m.settled = &settled{Store: elected{m.token, m.leaderChanged}, alive: m.alive, await: m.await, linearize: m.token.Linearize, log: m.log}
	own, ok, err := m.records.member(ctx, m.id.Member)
	if err != nil {
		return err
	}
	if !ok {
		return ErrRemoved
	}
	if !m.late {
		if err := m.updateOwn(ctx); err != nil {
			return fmt.Errorf("this node's record could not be brought up to date: %w", err)
		}
	}
	m.tidy(ctx, own)
	life, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.life = life
	m.tasks.Go(func() { m.alive.follow(life) })
	m.tasks.Go(func() { m.run(life) })
	return nil
}

// updateOwn corrects what the cluster knows of this node.
func (m *Member) updateOwn(ctx context.Context) error {
	n := m.opts.Node
	return m.records.change(ctx, m.id.Member, func(r *Record) bool {
		was := *r
		r.Version, r.Policy, r.Zone, r.Address = m.opts.Version, m.opts.Policy, n.Zone, n.Advertise
		if m.id.Store == config.StoreEmbedded {
			r.StoreAddress = n.StoreAdvertise
			r.StoreFailed = false
		}
		return *r != was
	})
}

// run looks after the node until ctx ends.
func (m *Member) run(ctx context.Context) {
	election := &election{m: m}
	renewal := time.NewTicker(renewEvery)
	defer renewal.Stop()
	tick := time.NewTicker(m.opts.Timing.Tick)
	defer tick.Stop()
	m.renewCertificates(ctx)
	refused := 0
	for {
		// A voter whose vote was taken away first hears nothing of its removal from the store: that refuses it already.
		if m.alive.fresh() || !m.turnedAway(ctx) {
			refused = 0
		} else if refused++; refused == refusalsBelieved {
			m.removedOnce.Do(func() { close(m.removed) })
			return
		}
		list, err := m.records.members(ctx)
		if err == nil {
			i := slices.IndexFunc(list, func(r Record) bool { return r.ID == m.id.Member })
			if i < 0 {
				m.removedOnce.Do(func() { close(m.removed) })
				return
			}
			m.tidy(ctx, list[i])
			if err := m.followVote(ctx, list[i]); err != nil {
				m.log.Info("this node's part in the store is not yet as it should be", "reason", err)
			}
			election.tick(ctx)
		}
		m.afterwards(ctx)
		// So that nobody has to wait who uses what has been there for a while.
		if now := m.token.Applied(); m.settled.floor.at.Load() < now && m.alive.fresh() {
			m.tasks.Go(func() { _ = m.Settle(ctx, now) })
		}
		select {
		case <-tick.C:
		case <-renewal.C:
			m.renewCertificates(ctx)
			if m.Leads() {
				m.forgetExpired(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tidy brings what follows from the list of members up to it: the file of neighbours, the store's servers, the
// connections, the revocations.
func (m *Member) tidy(ctx context.Context, own Record) {
	list, err := m.records.members(ctx)
	if err != nil {
		return
	}
	m.peers.keep(list)
	near := make([]neighbour, 0, len(list))
	for _, r := range list {
		near = append(near, neighbour{ID: r.ID, Address: r.Address, PeerAddress: r.PeerAddress, StoreAddress: r.StoreAddress, Votes: r.Vote == Voter})
	}
	if !slices.Equal(near, m.written) {
		if err := m.state.writeJSON(fileMembers, near); err != nil {
			m.log.Error("the list of members cannot be written to the state directory", "reason", err)
		} else {
			m.written = near
		}
	}
	m.steer(near)
	if err := m.writeRevocations(ctx); err != nil {
		m.log.Error("the list of removed peers cannot be written", "reason", err)
	}
}

// steer points the client at the store's servers; with nil at those that were last known.
func (m *Member) steer(near []neighbour) {
	if near == nil {
		near = m.written
	}
	m.endpoints.set(m.servers(near))
}

// leaderChanged tells of the store's next leader, where this node has a copy of it.
func (m *Member) leaderChanged() <-chan struct{} {
	if s := m.server.Load(); s != nil && s.working() {
		return s.etcd.Server.LeaderChangedNotify()
	}
	return nil
}

// catchUp takes in all that was committed before the call, in both stores.
func (m *Member) catchUp(ctx context.Context) error {
	revision, err := m.token.Linearize(ctx)
	if err != nil {
		return err
	}
	return m.cluster.Await(ctx, revision)
}

// removedLately reports whether a node that still has a lease is no member by the store's own word: it answers nobody.
func (m *Member) removedLately(ctx context.Context, id string) bool {
	if _, err := m.cluster.Linearize(ctx); err != nil {
		return false
	}
	_, ok, err := m.records.member(ctx, id)
	return err == nil && !ok
}

// Store is the engine's store; Close of it does nothing, for it is the Member's.
func (m *Member) Store() store.Store { return borrowed{m.settled, m.token} }

// borrowed is a store whose owner closes it.
type borrowed struct {
	*settled
	token *etcd.Store
}

// Await returns once what was committed up to a revision, by any node, is taken in.
func (b borrowed) Await(ctx context.Context, revision int64) error {
	return b.token.Await(ctx, revision)
}

func (borrowed) Close() error { return nil }

// Root is the root key, the Member's until Close.
func (m *Member) Root() *secret.Bytes { return m.root }

// Serial is the token's serial number.
func (m *Member) Serial() string { return m.id.Serial }

// Removed is closed when the cluster has removed this node, which then must stop serving.
func (m *Member) Removed() <-chan struct{} { return m.removed }

// Leads reports whether this node is the one that does what one node does for all.
func (m *Member) Leads() bool {
	if m.id.Store == config.StoreEmbedded {
		return m.server.Load().leads()
	}
	// Whoever has been alive for longest.
	living, _ := m.alive.now()
	own, ok := living[m.id.Member]
	for _, p := range living {
		if ok && p.since < own.since {
			return false
		}
	}
	return ok && m.alive.fresh()
}

// Leave tells the others that this node is going: nobody waits for it any more, and it does not answer without catching
// up. Call it when no request runs any more.
func (m *Member) Leave(ctx context.Context) {
	if m.stop == nil {
		return
	}
	m.stop()
	m.tasks.Wait()
	m.alive.leave(ctx)
}

// Close ends the Member, its copy of the store last, and unlocks the state directory.
func (m *Member) Close() error {
	if m.stop != nil {
		m.stop()
		m.tasks.Wait()
	}
	if m.peers != nil {
		m.peers.close()
	}
	var errs []error
	for _, s := range []*etcd.Store{m.token, m.cluster} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if m.client != nil {
		errs = append(errs, m.client.Close())
	}
	if s := m.server.Swap(nil); s != nil {
		s.stop()
	}
	if m.records != nil {
		m.records.barrier.Destroy()
	}
	m.root.Zero()
	return errors.Join(append(errs, m.state.Close())...)
}
