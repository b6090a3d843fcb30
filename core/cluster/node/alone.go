package node

import (
	"context"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Alone is the Cluster of a node without others: what it has is all there is.
type Alone struct {
	id      string
	members *wire.MemberList
}

// NewAlone returns the Cluster of one node; id is its identity, the same at each start.
func NewAlone(id, version string) *Alone {
	self := &wire.Member{Id: id, Name: "alone", Alive: true, Votes: true, Version: wire.Text(version)}
	return &Alone{id: id, members: &wire.MemberList{Version: 1, Members: []*wire.Member{self}}}
}

var errAlone = pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "this node is not of a cluster")

// ID implements Cluster, as do the methods below.
func (a *Alone) ID() string                            { return a.id }
func (a *Alone) Self() *wire.Member                    { return a.members.Members[0] }
func (a *Alone) Members() *wire.MemberList             { return a.members }
func (a *Alone) Current(context.Context) (bool, error) { return false, nil }
func (a *Alone) Draining() bool                        { return false }

// Coverage cannot be told apart from being there: the caller has the objects from this very node.
func (a *Alone) Coverage(_ context.Context, ids []string) ([]uint32, uint32, error) {
	nodes := make([]uint32, len(ids))
	for i := range nodes {
		nodes[i] = 1
	}
	return nodes, 1, nil
}

func (a *Alone) Invite(context.Context, time.Duration) (*wire.Invitation, error) {
	return nil, errAlone
}
func (a *Alone) Remove(context.Context, string) error      { return errAlone }
func (a *Alone) Drain(context.Context, string, bool) error { return errAlone }
func (a *Alone) Join(context.Context, *wire.JoinRequest) (*wire.JoinReply, error) {
	return nil, errAlone
}

func (a *Alone) Certify(context.Context, []byte, string, time.Duration) (*wire.Certified, error) {
	return nil, errAlone
}

func (a *Alone) Certificates(context.Context) (*wire.CertificateList, error) { return nil, errAlone }
func (a *Alone) Revoke(context.Context, string, int64) error                 { return errAlone }
func (a *Alone) Await(context.Context, int64) error                          { return nil }

// Status tells of the one node.
func (a *Alone) Status(context.Context) (*wire.StatusReply, error) {
	return &wire.StatusReply{Cluster: a.id, Quorum: true, Voters: 1,
		Members: []*wire.MemberStatus{{Member: a.Self(), State: "ready", Leader: true, Revision: -1}}}, nil
}
