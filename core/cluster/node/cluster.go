package node

import (
	"context"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// Cluster is what a node must know of the cluster that it is in, and may do to it. Package member has the real one;
// Alone is that of a node without others. Errors carry return values of the standard.
type Cluster interface {
	// ID is the cluster's identity, Self what others know of this node.
	ID() string
	Self() *wire.Member
	// Members is the list as it is now; its version changes when it does. The message is not to be changed.
	Members() *wire.MemberList

	// Current returns once this node's copy may be answered from: at once while the node is known to the others to be
	// alive, else when it has caught up. Without a quorum it answers isolated at once.
	Current(ctx context.Context) (isolated bool, err error)
	// Draining says that clients are to go elsewhere; what has begun is still answered.
	Draining() bool

	// Coverage counts, for each identity of a token object, the members that hold it, this one included, out of how many.
	Coverage(ctx context.Context, ids []string) (nodes []uint32, members uint32, err error)
	Invite(ctx context.Context, lifetime time.Duration) (*wire.Invitation, error)
	Remove(ctx context.Context, id string) error
	Drain(ctx context.Context, id string, on bool) error
	Status(ctx context.Context) (*wire.StatusReply, error)
	// Certify has the cluster's authority sign a client's certificate request (DER). Lifetime 0: a year.
	Certify(ctx context.Context, request []byte, name string, lifetime time.Duration) (*wire.Certified, error)
	// Certificates lists the clients' certificates that the authority has signed, and those that were revoked.
	Certificates(ctx context.Context) (*wire.CertificateList, error)
	// Revoke has every node refuse a client's certificate from when it returns. The serial number is lower-case hex; expires
	// (Unix seconds, 0: not known) counts for a certificate that the cluster has not signed.
	Revoke(ctx context.Context, serial string, expires int64) error
	// Await returns once this node has taken in what the cluster keeps of itself, up to a revision.
	Await(ctx context.Context, revision int64) error
	// Join takes a new member in. Nobody has shown a certificate: the invitation is all there is.
	Join(ctx context.Context, r *wire.JoinRequest) (*wire.JoinReply, error)
}
