package member

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/coffer-hsm/coffer/core/config"
)

// election has the node whose copy leads the store change who votes, one step in each tick. A node that takes the lead
// begins to count the dead from then on.
type election struct {
	m        *Member
	lastSeen map[string]time.Time // of members, by this node's clock that never jumps
}

// tick takes the next step, if this node leads.
func (e *election) tick(ctx context.Context) {
	m := e.m
	if !m.server.Load().leads() {
		e.lastSeen = nil
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := e.situation(ctx)
	if err != nil {
		m.log.Debug("who votes cannot be looked at", "reason", err)
		return
	}
	if err := m.recordVotes(ctx, s.seats); err != nil {
		m.log.Debug("who votes cannot be written down", "reason", err)
		return
	}
	for _, v := range s.seats {
		if v.learner { // one that joins may wait for something to be written
			if _, err := m.client.Put(ctx, m.prefix+"heartbeat", ""); err != nil {
				m.log.Debug("the store's heartbeat was not written", "reason", err)
			}
		}
	}
	if next := plan(s); next.kind != stepNone {
		if err := e.take(ctx, next); errors.Is(err, rpctypes.ErrUnhealthy) {
			m.log.Debug("the store wants some quiet before its list is changed", "step", next.String())
		} else if err != nil {
			m.log.Info("a change of who votes is tried again", "step", next.String(), "reason", err)
		}
	}
}

// situation looks at the members and at the store's own list.
func (e *election) situation(ctx context.Context) (situation, error) {
	m := e.m
	list, err := m.records.members(ctx)
	if err != nil {
		return situation{}, err
	}
	seats, err := m.client.MemberList(ctx)
	if err != nil {
		return situation{}, err
	}
	sound := m.sound(list)
	now := time.Now()
	if e.lastSeen == nil {
		e.lastSeen = map[string]time.Time{}
	}
	s := situation{self: m.id.Member, replaceAfter: m.opts.Node.ReplaceAfter}
	for _, r := range list {
		lives := sound(r.ID)
		if _, counted := e.lastSeen[r.ID]; lives || !counted {
			e.lastSeen[r.ID] = now
		}
		s.members = append(s.members, standing{
			id: r.ID, zone: r.Zone, joined: r.Joined, draining: r.Draining,
			alive: lives, dead: now.Sub(e.lastSeen[r.ID]),
		})
	}
	s.seats = seatsOf(seats.Members, list, sound)
	return s, nil
}

// sound tells of a member whether it can do a voter's work: it is alive, and its copy of the store has not failed.
func (m *Member) sound(list []Record) func(id string) bool {
	living, _ := m.alive.now()
	failed := map[string]bool{}
	for _, r := range list {
		failed[r.ID] = r.StoreFailed
	}
	return func(id string) bool {
		_, lives := living[id]
		return (lives || id == m.id.Member) && !failed[id]
	}
}

// seatsOf matches the store's members with ours, by the address that both have.
func seatsOf(seats []*pb.Member, list []Record, lives func(id string) bool) []seat {
	at := map[string]string{}
	for _, r := range list {
		at[peerURL(r.PeerAddress)] = r.ID
	}
	var out []seat
	for _, p := range seats {
		v := seat{id: p.ID, learner: p.IsLearner}
		for _, u := range p.PeerURLs {
			// Who has another name is an earlier node at the same address.
			if id, ok := at[u]; ok && (p.Name == "" || p.Name == id) {
				v.member = id
			}
		}
		v.healthy = v.member != "" && p.Name != "" && lives(v.member)
		out = append(out, v)
	}
	return out
}

// recordVotes writes into the members' records what the store's list says: it is how a member learns that it is to have a
// copy of the store.
func (m *Member) recordVotes(ctx context.Context, seats []seat) error {
	votes := map[string]Vote{}
	for _, v := range seats {
		votes[v.member] = Voter
		if v.learner {
			votes[v.member] = Learner
		}
	}
	list, err := m.records.members(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		want := votes[r.ID]
		if want == "" {
			want = Standby
		}
		if r.Vote == want {
			continue
		}
		err := m.records.change(ctx, r.ID, func(r *Record) bool {
			changes := r.Vote != want
			r.Vote = want
			return changes
		})
		if err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

// take carries a step out.
func (e *election) take(ctx context.Context, next step) error {
	m := e.m
	var err error
	switch next.kind {
	case stepAdd:
		r, ok, lookErr := m.records.member(ctx, next.member)
		if lookErr != nil || !ok {
			return errors.Join(lookErr, errGone)
		}
		_, err = m.client.MemberAddAsLearner(ctx, []string{peerURL(r.PeerAddress)})
	case stepPromote:
		_, err = m.client.MemberPromote(ctx, next.seat.id)
		if errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
			m.log.Debug("the learner is not in step yet", "member", next.seat.member)
			return nil
		}
	case stepRemove:
		_, err = m.client.MemberRemove(ctx, next.seat.id)
	}
	if err != nil {
		return err
	}
	m.log.Info("who votes was changed", "step", next.String(), "reason", next.why)
	return nil
}

func (s step) String() string {
	switch s.kind {
	case stepAdd:
		return "member " + s.member + " learns"
	case stepPromote:
		return "member " + s.seat.member + " votes"
	case stepRemove:
		return fmt.Sprintf("member %s has no vote (seat %x)", s.seat.member, s.seat.id)
	}
	return "none"
}

// followVote has this node run a copy of the store exactly while the store's list has a seat for it. The record is the
// cause to look; the list is what counts.
func (m *Member) followVote(ctx context.Context, own Record) error {
	if m.id.Store != config.StoreEmbedded {
		return nil
	}
	s := m.server.Load()
	if s != nil && !s.working() {
		return m.serverEnded(ctx, s)
	}
	if (s != nil) == (own.Vote != Standby) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := m.client.MemberList(ctx)
	if err != nil {
		return err
	}
	seated := false
	for _, p := range list.Members {
		for _, u := range p.PeerURLs {
			seated = seated || u == peerURL(own.PeerAddress) && (p.Name == "" || p.Name == own.ID)
		}
	}
	switch {
	case seated && s == nil:
		return m.startCopy(list.Members, own)
	case !seated && s != nil:
		return m.dropCopy(s, "the vote went to another node")
	}
	return nil
}

// startCopy starts a copy that takes in what the others have.
func (m *Member) startCopy(seats []*pb.Member, own Record) error {
	if err := m.state.remove(dirStore); err != nil { // of an earlier seat
		return err
	}
	var cluster []string
	for _, p := range seats {
		name := p.Name
		for _, u := range p.PeerURLs {
			if u == peerURL(own.PeerAddress) {
				name = own.ID
			}
			if name != "" {
				cluster = append(cluster, name+"="+u)
			}
		}
	}
	o := m.serverOptions()
	o.cluster = strings.Join(cluster, ",")
	s, err := startServer(o)
	if err != nil {
		return errors.Join(err, m.state.remove(dirStore))
	}
	m.server.Store(s)
	m.log.Info("this node has a copy of the store now")
	return nil
}

// dropCopy stops the copy and forgets it: what is in it others have.
func (m *Member) dropCopy(s *server, why string) error {
	m.server.Store(nil)
	m.steer(nil)
	s.stop()
	if err := m.state.remove(dirStore); err != nil {
		return err
	}
	m.log.Info("this node has no copy of the store any more", "reason", why)
	return nil
}

// serverEnded deals with a copy that stopped by itself: the store's list does not have it any more, or its disk failed.
func (m *Member) serverEnded(ctx context.Context, s *server) error {
	if broken := s.broken.Load(); broken != nil {
		if m.storeBroken.CompareAndSwap(false, true) {
			m.steer(nil)
			m.log.Error("this node's copy of the store has stopped; the node goes on with the others' copies until it is restarted", "reason", *broken)
			go s.abandon()
		}
		return m.tellFailed(ctx)
	}
	m.steer(nil)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := m.client.MemberList(ctx)
	if err != nil {
		return err
	}
	for _, p := range list.Members {
		if p.ID == uint64(s.etcd.Server.MemberID()) {
			return fmt.Errorf("this node's copy of the store has stopped though it has a seat; restart cofferd")
		}
	}
	return m.dropCopy(s, "the store's list does not have it any more")
}

// tellFailed has the others know that this node's vote counts for nothing. It goes through their copies of the store.
func (m *Member) tellFailed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return m.records.change(ctx, m.id.Member, func(r *Record) bool {
		changes := !r.StoreFailed
		r.StoreFailed = true
		return changes
	})
}

// hasCopy reports whether there is a copy of the store in the state directory.
func (s *State) hasCopy() bool {
	info, err := os.Stat(s.path(dirStore))
	return err == nil && info.IsDir()
}
