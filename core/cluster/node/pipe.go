package node

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// pipe is what a stream comes over: gRPC, or frames. One goroutine receives at a time, and one sends.
type pipe interface {
	Context() context.Context // ends with the connection, and says who is there
	// Recv also says how many elements the request has (wire.Counted).
	Recv() (q *wire.Request, elements int, err error)
	Send(list ...*wire.Reply) error
	// Close makes both of the others fail, if it is this side's to do that.
	Close()
}

// rpcPipe is gRPC's; it is closed when Calls returns.
type rpcPipe struct{ wire.Node_CallsServer }

// Recv implements pipe, as do the methods below.
func (p rpcPipe) Recv() (*wire.Request, int, error) {
	q := new(wire.Request)
	c := wire.Counted{Message: q}
	err := p.RecvMsg(&c)
	return q, c.Elements, err
}

func (p rpcPipe) Send(list ...*wire.Reply) error {
	for _, r := range list {
		if err := p.Node_CallsServer.Send(r); err != nil {
			return err
		}
	}
	return nil
}

func (rpcPipe) Close() {}
