package member

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var _ node.Cluster = (*Member)(nil)

// listed is the list of members as it is sent, and what it was made from.
type listed struct {
	records, alive uint64
	list           *wire.MemberList
}

// ID implements node.Cluster.
func (m *Member) ID() string { return m.id.Cluster }

// Self implements node.Cluster.
func (m *Member) Self() *wire.Member {
	for _, w := range m.Members().Members {
		if w.Id == m.id.Member {
			return w
		}
	}
	n := m.opts.Node
	return &wire.Member{Id: m.id.Member, Name: n.Name, Address: n.Advertise, Zone: n.Zone, Version: m.opts.Version}
}

// Members implements node.Cluster. It costs two comparisons while nothing has changed. The version is made from the
// content, so that all nodes that know the same say the same.
func (m *Member) Members() *wire.MemberList {
	list, _ := m.listMembers()
	return list
}

// listMembers is Members, with why there is none: one that was read once is told while it cannot be read again.
func (m *Member) listMembers() (*wire.MemberList, error) {
	records, living := m.cluster.Changed(), m.alive.count()
	if l := m.listed.Load(); l != nil && l.records == records && l.alive == living {
		return l.list, nil
	}
	all, err := m.records.members(context.Background())
	if err != nil {
		if l := m.listed.Load(); l != nil {
			return l.list, nil
		}
		return &wire.MemberList{}, err
	}
	who, _ := m.alive.now()
	list := &wire.MemberList{}
	for _, r := range all {
		_, lives := who[r.ID]
		list.Members = append(list.Members, &wire.Member{
			Id: r.ID, Name: r.Name, Address: r.Address, Zone: r.Zone, Version: r.Version,
			Alive: lives || r.ID == m.id.Member, Draining: r.Draining, Votes: r.Vote == Voter,
		})
	}
	h := fnv.New64a()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(list)
	if err == nil {
		_, _ = h.Write(b)
	}
	list.Version = h.Sum64() | 1 // never 0
	m.listed.Store(&listed{records, living, list})
	return list, nil
}

// Draining implements node.Cluster.
func (m *Member) Draining() bool {
	for _, w := range m.Members().Members {
		if w.Id == m.id.Member {
			return w.Draining
		}
	}
	return true // no member any more
}

// Drain implements node.Cluster.
func (m *Member) Drain(ctx context.Context, id string, on bool) error {
	// What this node has not heard of yet would look as if there were nothing to change.
	if err := m.catchUp(ctx); err != nil {
		return unavailable(err)
	}
	err := m.records.change(ctx, id, func(r *Record) bool {
		changes := r.Draining != on
		r.Draining = on
		return changes
	})
	if errors.Is(err, errGone) {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", errGone)
	}
	if err == nil {
		m.log.Info("a member's draining was changed", "member", id, "draining", on)
	}
	return unavailable(err)
}

// Remove implements node.Cluster. The member's vote goes first, where that leaves a quorum.
func (m *Member) Remove(ctx context.Context, id string) error {
	if err := m.catchUp(ctx); err != nil {
		return unavailable(err)
	}
	list, err := m.records.members(ctx)
	if err != nil {
		return unavailable(err)
	}
	r, ok, err := m.records.member(ctx, id)
	switch {
	case err != nil:
		return unavailable(err)
	case !ok:
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", errGone)
	case len(list) == 1:
		return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "this is the last member; to give the cluster up, stop it and run coffer node zeroize")
	case id == m.id.Member:
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "a node does not remove itself: %w", wire.ErrElsewhere)
	}
	if m.id.Store == config.StoreEmbedded {
		if err := m.unseat(ctx, list, r); err != nil {
			return err
		}
	}
	for {
		err := m.strike(ctx, r)
		if errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
			continue
		}
		if err == nil {
			m.log.Info("a member was removed", "member", id, "name", r.Name)
		}
		return unavailable(err)
	}
}

// unseat takes a member's vote away.
func (m *Member) unseat(ctx context.Context, list []Record, r Record) error {
	seats, err := m.client.MemberList(ctx)
	if err != nil {
		return unavailable(err)
	}
	s := situation{seats: seatsOf(seats.Members, list, m.sound(list))}
	for _, v := range s.seats {
		if v.member != r.ID {
			continue
		}
		if !v.learner && !s.spares(v) {
			return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED,
				"without %s the voters that are alive would be no majority; start the others, or wait until a standby has taken a vote", r.Name)
		}
		// For some seconds after a voter has come, the store refuses to change its list.
		for {
			_, err := m.client.MemberRemove(ctx, v.id)
			if err == nil || errors.Is(err, rpctypes.ErrMemberNotFound) {
				break
			}
			if !errors.Is(err, rpctypes.ErrUnhealthy) || !sleep(ctx, 500*time.Millisecond) {
				return unavailable(err)
			}
		}
	}
	return nil
}

// strike deletes the member's record; from then on its certificates are refused.
func (m *Member) strike(ctx context.Context, r Record) error {
	var now Record
	revision, err := m.records.get(ctx, kindMember, r.ID, &now)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ops := []store.Op{{Key: key(kindMember, r.ID), Delete: true}}
	for i, serial := range now.peerSerials() {
		id := r.ID
		if i > 0 {
			id += "." + serial
		}
		op, err := m.records.put(kindRevoked, id, revocation{Serial: serial, Expires: time.Now().Add(pki.LeafLifetime).Unix()})
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	return m.withRoster(ctx, []store.Compare{{Key: key(kindMember, r.ID), Modified: revision}}, ops)
}

// forgetExpired deletes what is kept of certificates that have expired, and the invitations that have.
func (m *Member) forgetExpired(ctx context.Context) {
	now := m.opts.Now().Unix()
	var old []store.Op
	if list, err := every[revocation](ctx, m.records, kindRevoked); err == nil {
		for id, r := range list {
			if now > r.Expires {
				old = append(old, store.Op{Key: key(kindRevoked, id), Delete: true})
			}
		}
	}
	if list, err := every[certificate](ctx, m.records, kindCertificate); err == nil {
		for id, c := range list {
			if c.past(now) {
				old = append(old, store.Op{Key: key(kindCertificate, id), Delete: true})
			}
		}
	}
	if list, err := every[invitation](ctx, m.records, kindInvite); err == nil {
		for id, i := range list {
			secret.Wipe(i.Secret)
			if now > i.Expires {
				old = append(old, store.Op{Key: key(kindInvite, id), Delete: true})
			}
		}
	}
	for batch := range slices.Chunk(old, store.MaxOps) {
		if _, err := m.records.store.Commit(ctx, nil, batch); err != nil {
			m.log.Debug("what has expired is forgotten later", "reason", err)
			return
		}
	}
}

// leader is which of our members leads the store; empty where that is not known.
func leader(seats []*pb.Member, id uint64) string {
	for _, p := range seats {
		if p.ID == id {
			return p.Name
		}
	}
	return ""
}
