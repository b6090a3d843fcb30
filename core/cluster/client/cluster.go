package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What the command line asks beside what an HSM has.

// Self is what the node has said of itself that the client is connected to; of any one where there are several.
type Self struct {
	Address string
	Cluster string // the cluster's identity
	Member  string // the node's
	Zone    string
	Version string
}

// Self waits for a node and tells who it is: with Options.Only the one that is meant.
func (c *Client) Self(ctx context.Context) (Self, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	for {
		changes := c.changes()
		if n, x := c.pick(&attempts{}); x != nil {
			h := n.hello.Load()
			c.mu.Lock()
			defer c.mu.Unlock()
			return Self{Address: n.address, Cluster: *c.cluster, Member: h.member, Zone: h.zone, Version: h.version}, nil
		}
		select {
		case <-changes:
		case <-c.ctx.Done():
			return Self{}, errClosed
		case <-ctx.Done():
			return Self{}, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "no node could be reached: %s", c.states())
		}
	}
}

// NodeState is a node as this client sees it.
type NodeState struct {
	Address     string
	Member      string // empty: it has never been reached
	Zone        string
	State       string // "connecting", "ready", "suspect", "draining", "retired"
	Isolated    bool   // it had no quorum when it last answered
	Latency     time.Duration
	Outstanding int
	Err         error // why it is not ready, if that is known
}

// Nodes tells the state of all nodes, by address.
func (c *Client) Nodes() []NodeState {
	var out []NodeState
	now := c.now()
	for _, n := range *c.list.Load() {
		out = append(out, NodeState{
			Address: n.address, Member: n.member(), Zone: n.zone(), State: n.grade().String(), Isolated: n.isolated.Load(),
			Latency: time.Duration(n.latency.value(now)), Outstanding: int(n.busy.Load()), Err: n.reason(),
		})
	}
	slices.SortFunc(out, func(a, b NodeState) int { return strings.Compare(a.Address, b.Address) })
	return out
}

func (g grade) String() string {
	return [...]string{"ready", "ready", "isolated", "draining", "suspect", "retired", "connecting"}[g]
}

// states says in one line why no node answers.
func (c *Client) states() string {
	var parts []string
	for _, n := range c.Nodes() {
		if n.Err != nil {
			parts = append(parts, fmt.Sprintf("%s is %s: %v", n.Address, n.State, n.Err))
		} else {
			parts = append(parts, fmt.Sprintf("%s is %s", n.Address, n.State))
		}
	}
	return strings.Join(parts, "; ")
}

// ask runs a request of a user.
func (c *Client) ask(ctx context.Context, t traits, cred hsm.Credential, q *wire.Request) (*wire.Reply, error) {
	if t.changes {
		if err := c.mayChange(); err != nil {
			return nil, err
		}
	}
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	return c.do(ctx, t, k, q)
}

// Members lists the nodes of the cluster.
func (c *Client) Members(ctx context.Context) (*wire.MemberList, error) {
	r, err := c.do(ctx, pure, nil, &wire.Request{Body: &wire.Request_Members{Members: &wire.Members{}}})
	if err != nil {
		return nil, err
	}
	if r.GetMembersList() == nil {
		return nil, unexpected(r)
	}
	return r.GetMembersList(), nil
}

// Status describes the cluster and the state of each member.
func (c *Client) Status(ctx context.Context, cred hsm.Credential) (*wire.StatusReply, error) {
	r, err := c.ask(ctx, pure, cred, &wire.Request{Body: &wire.Request_Status{Status: &wire.Status{}}})
	if err != nil {
		return nil, err
	}
	if r.GetStatus() == nil {
		return nil, unexpected(r)
	}
	return r.GetStatus(), nil
}

// Invite makes a token for one machine to join with, good for lifetime, in whole seconds.
func (c *Client) Invite(ctx context.Context, cred hsm.Credential, lifetime time.Duration) (*wire.Invitation, error) {
	if lifetime < time.Second || lifetime > 1<<31*time.Second {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "an invitation cannot be good for %v", lifetime)
	}
	r, err := c.ask(ctx, changing, cred, &wire.Request{Body: &wire.Request_Invite{Invite: &wire.Invite{LifetimeS: uint32(lifetime / time.Second)}}})
	if err != nil {
		return nil, err
	}
	if r.GetInvitation() == nil {
		return nil, unexpected(r)
	}
	return r.GetInvitation(), nil
}

// RemoveMember takes a node out of the cluster for good.
func (c *Client) RemoveMember(ctx context.Context, cred hsm.Credential, id string) error {
	if err := checkText("the member's identity", id); err != nil {
		return err
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_RemoveMember{RemoveMember: &wire.RemoveMember{Id: id}}})
}

// DrainMember sends clients away from a node, or lets them come again.
func (c *Client) DrainMember(ctx context.Context, cred hsm.Credential, id string, on bool) error {
	if err := checkText("the member's identity", id); err != nil {
		return err
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_DrainMember{DrainMember: &wire.DrainMember{Id: id, On: on}}})
}

// maxCoverage is how many objects are asked about at once.
const maxCoverage = 4096

// Coverage counts for each token object the nodes that hold it, out of how many.
func (c *Client) Coverage(ctx context.Context, cred hsm.Credential, objects []hsm.Object) (nodes []uint32, members uint32, err error) {
	nodes = make([]uint32, 0, len(objects))
	for batch := range slices.Chunk(objects, maxCoverage) {
		ids := make([]string, len(batch))
		for i, o := range batch {
			ids[i] = o.ID()
		}
		r, err := c.ask(ctx, pure, cred, &wire.Request{Body: &wire.Request_Coverage{Coverage: &wire.Coverage{Ids: ids}}})
		if err != nil {
			return nil, 0, err
		}
		answer := r.GetCoverage()
		if answer == nil || len(answer.GetNodes()) != len(ids) {
			return nil, 0, unexpected(r)
		}
		nodes, members = append(nodes, answer.GetNodes()...), answer.GetMembers()
	}
	return nodes, members, nil
}

// Observe has all answers from now on reflect that revision of the token, or a later one, as if this client had heard of it.
func (c *Client) Observe(revision int64) { raise(&c.observed, revision) }

// Digest is a hash over all objects that a node holds, with the revision that it is of and the number of the public ones. With
// Options.Only the nodes of a cluster can be compared.
func (c *Client) Digest(ctx context.Context) (sum []byte, objects uint64, revision int64, err error) {
	r, err := c.do(ctx, pure, nil, &wire.Request{Body: &wire.Request_Digest{Digest: &wire.Digest{}}})
	if err != nil {
		return nil, 0, 0, err
	}
	d := r.GetDigest()
	if d == nil || len(d.GetSum()) == 0 {
		return nil, 0, 0, unexpected(r)
	}
	return d.GetSum(), d.GetObjects(), d.GetRevision(), nil
}
