package node

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The cluster. Who may ask is in the table.

func getMembers(c *call, _ *wire.Request_Members) error {
	list, cluster := c.stream.opts.Cluster.Members(), c.stream.opts.Cluster
	self := func(m *wire.Member) bool { return m.GetId() == cluster.Self().GetId() }
	if i := slices.IndexFunc(list.GetMembers(), self); i >= 0 && c.stream.isDraining() && !list.Members[i].Draining {
		list = proto.Clone(list).(*wire.MemberList) // the others may not know yet
		list.Members[i].Draining = true
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_MembersList{MembersList: list}})
}

// await has waited already for the token's records, as every request does.
func await(c *call, b *wire.Request_Await) error {
	if !b.Await.GetCluster() {
		return nil
	}
	return c.stream.opts.Cluster.Await(c.ctx, c.request.MinRevision)
}

const maxCoverage = 10_000 // identities in one request

func coverage(c *call, b *wire.Request_Coverage) error {
	ids := b.Coverage.GetIds()
	if len(ids) > maxCoverage {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d identities, at most %d are taken", len(ids), maxCoverage)
	}
	m := &wire.CoverageReply{}
	if c.cred == nil && c.stream.who.Member == "" {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "which nodes hold an object is told to those who are logged in")
	}
	if b.Coverage.GetHere() {
		m.Members = 1
		m.Nodes = make([]uint32, len(ids))
		for i, has := range c.hsm().Holds(ids) {
			if has {
				m.Nodes[i] = 1
			}
		}
	} else {
		var err error
		if m.Nodes, m.Members, err = c.stream.opts.Cluster.Coverage(c.ctx, ids); err != nil {
			return err
		}
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Coverage{Coverage: m}})
}

func digest(c *call, _ *wire.Request_Digest) error {
	sum, n, revision, err := c.hsm().Digest(c.ctx, c.cred)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Digest{Digest: &wire.DigestReply{Sum: sum, Objects: uint64(n), Revision: revision}}})
}

const usualInvitation = time.Hour

func invite(c *call, b *wire.Request_Invite) error {
	lifetime := usualInvitation
	if s := b.Invite.GetLifetimeS(); s > 0 {
		lifetime = time.Duration(s) * time.Second
	}
	m, err := c.stream.opts.Cluster.Invite(c.ctx, lifetime)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Invitation{Invitation: m}})
}

func removeMember(c *call, b *wire.Request_RemoveMember) error {
	return c.stream.opts.Cluster.Remove(c.ctx, b.RemoveMember.GetId())
}

func drainMember(c *call, b *wire.Request_DrainMember) error {
	return c.stream.opts.Cluster.Drain(c.ctx, b.DrainMember.GetId(), b.DrainMember.GetOn())
}

func certify(c *call, b *wire.Request_Certify) error {
	m, err := c.stream.opts.Cluster.Certify(c.ctx, b.Certify.GetCsr(), b.Certify.GetName(), time.Duration(b.Certify.GetLifetimeS())*time.Second)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Certified{Certified: m}})
}

func getStatus(c *call, _ *wire.Request_Status) error {
	m, err := c.stream.opts.Cluster.Status(c.ctx)
	if err != nil {
		return err
	}
	info, err := c.hsm().Info(c.ctx)
	if err != nil {
		return err
	}
	m.Activated = info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0
	if m.Label == "" {
		m.Label = wire.Text(info.Label)
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Status{Status: m}})
}
