package node

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// doorway is open to whoever reaches the port, so it is slow on purpose and takes little.
type doorway struct {
	wire.UnimplementedJoiningServer
	server  *Server
	limit   *rate.Limiter
	waiting atomic.Int32 // requests that are not answered yet
}

// Requests to join, whoever they are from: so many in a second, and so many at once after a quiet time. Few of them may be on
// their way, and of each no more comes than what nobody answers for (arriving.go).
const (
	joinRate    = 2
	joinBurst   = 8
	joinsAtOnce = 4
	maxJoinSize = 64 << 10 // bytes
	joinTime    = time.Minute
)

// Who comes when there are too many: how often on one connection, how much he may send, and in what time.
const (
	turnsAway      = 4
	turnedAwaySize = 16 << 10
	turnAwayTime   = time.Second
)

var errCrowded = status.Error(codes.ResourceExhausted, "too many machines want to join at once; try again later")

func newJoining(s *Server) *doorway {
	return &doorway{server: s, limit: rate.NewLimiter(joinRate, joinBurst)}
}

// Join takes a machine in that shows an invitation.
func (j *doorway) Join(ctx context.Context, r *wire.JoinRequest) (*wire.JoinReply, error) {
	if ctx.Value(turnedAway{}) != nil {
		return nil, errCrowded
	}
	if proto.Size(r) > maxJoinSize {
		return nil, status.Errorf(codes.InvalidArgument, "a request to join has at most %d bytes", maxJoinSize)
	}
	if j.server.isDraining() {
		return nil, status.Error(codes.Unavailable, "the node is draining; join through another")
	}
	reply, err := j.join(ctx, r)
	if err != nil {
		from := "nobody knows where"
		if p, ok := peer.FromContext(ctx); ok {
			from = p.Addr.String()
		}
		j.server.log("a machine at %s that calls itself %.40q was not let in: %w", from, r.GetName(), err)
		code := codes.PermissionDenied
		if pkcs11.RVOf(err) == pkcs11.CKR_DEVICE_ERROR {
			code = codes.Unavailable
		}
		return nil, status.Error(code, wire.FailureOf(err).GetText())
	}
	return reply, nil
}

func (j *doorway) join(ctx context.Context, r *wire.JoinRequest) (reply *wire.JoinReply, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, j.server.panicked("Join", p)
		}
	}()
	return j.server.opts.Cluster.Join(ctx, r)
}
