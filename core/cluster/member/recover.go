package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// RecoverOptions are for Recover.
type RecoverOptions struct {
	Node   *config.Node
	Method custody.Method
	Timing Timing
	Log    *slog.Logger
}

// Recovered is what Recover found.
type Recovered struct {
	Cluster, Member string
	Revision        int64    // of the store that goes on
	Removed         []string // names of the members that are none any more
}

// Recover has a cluster that lost the majority of its voters go on with what this node's copy of the store has: this
// node is its only member afterwards, and the others have to be zeroized and join again. What the lost majority had
// acknowledged and this copy has not is lost. No other node of the old cluster may run, now or later: it would be a second
// cluster under the same keys. The daemon must be stopped (ErrInUse).
func Recover(ctx context.Context, o RecoverOptions) (*Recovered, error) {
	s, err := openState(o.Node.StateDir, false)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	id, err := s.identity()
	if err != nil {
		return nil, err
	}
	if id.Waiting || id.Store != config.StoreEmbedded || !s.hasCopy() {
		return nil, fmt.Errorf("this node has no copy of the store to go on with; run the command on a node that was a voter")
	}
	m := &Member{opts: Options{Node: o.Node, Method: o.Method, Timing: o.Timing.withDefaults()}, state: s, id: id,
		log: logger(o.Log), prefix: "coffer/" + id.Cluster + "/"}
	if m.root, err = s.unseal(ctx, id, o.Method); err != nil {
		return nil, err
	}
	defer m.root.Zero()
	if err := m.ensureRevocations(); err != nil {
		return nil, err
	}
	options := m.serverOptions()
	options.force = true
	options.log = logger(nil) // the store talks of its recovery as of a misfortune
	server, err := startServer(options)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	select {
	case <-server.etcd.Server.ReadyNotify():
	case <-server.failed:
		return nil, fmt.Errorf("the copy of the store does not start: %w", *server.broken.Load())
	case <-ctx.Done():
		return nil, fmt.Errorf("the copy of the store did not become ready: %w", ctx.Err())
	}
	conf, err := m.storeTLS()
	if err != nil {
		return nil, err
	}
	if m.client, err = dialStore(conf, []string{peerURL(o.Node.StoreAdvertise)}); err != nil {
		return nil, err
	}
	defer m.client.Close()
	return m.survive(ctx)
}

// survive removes all other members.
func (m *Member) survive(ctx context.Context) (_ *Recovered, err error) {
	if m.cluster, err = etcd.Open(ctx, etcd.Options{Client: m.client, Prefix: m.prefix + prefixCluster}); err != nil {
		return nil, err
	}
	defer m.cluster.Close()
	if m.records, err = newRecords(m.cluster, m.root, m.id.Cluster, func(err error) { m.log.Error(err.Error()) }); err != nil {
		return nil, err
	}
	defer m.records.barrier.Destroy()
	list, err := m.records.members(ctx)
	if err != nil {
		return nil, err
	}
	out := &Recovered{Cluster: m.id.Cluster, Member: m.id.Member}
	var own Record
	for _, r := range list {
		if r.ID == m.id.Member {
			own = r
			continue
		}
		for {
			if err = m.strike(ctx, r); !errors.Is(err, store.ErrConflict) {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		out.Removed = append(out.Removed, r.Name)
	}
	if own.ID == "" {
		return nil, ErrRemoved
	}
	// Whoever was alive is not: nobody waits for their leases.
	if _, err := m.client.Delete(ctx, m.prefix+prefixLive, clientv3.WithPrefix()); err != nil {
		return nil, err
	}
	if err := m.records.change(ctx, own.ID, func(r *Record) bool { r.Vote = Voter; return true }); err != nil {
		return nil, err
	}
	if out.Revision, err = m.cluster.Linearize(ctx); err != nil {
		return nil, err
	}
	near := []neighbour{{ID: own.ID, Address: own.Address, PeerAddress: own.PeerAddress, StoreAddress: own.StoreAddress, Votes: true}}
	m.log.Warn("the cluster goes on with this node alone", "revision", out.Revision, "removed", len(out.Removed), "at", time.Now().UTC())
	return out, m.state.writeJSON(fileMembers, near)
}
