package node

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// pipe is what a stream comes over: gRPC, or frames. One goroutine receives at a time, and one sends.
type pipe interface {
	Context() context.Context // ends with the connection, and says who is there
	// Recv also says how many elements the request has (wire.Counted). With errBusy there was no memory for a request of
	// which no more than the number has come.
	Recv() (q *wire.Request, elements int, err error)
	Send(list ...*wire.Reply) error
	// Arriving counts what has come and was not returned by Recv yet. What Recv has returned can be handed over until it is
	// called again.
	Arriving() *arriving
	// Close makes both of the others fail, if it is this side's to do that.
	Close()
}

// rpcPipe is gRPC's; it is closed when Calls returns.
type rpcPipe struct {
	wire.Node_CallsServer
	arriving *arriving
}

// messageHeader is what gRPC puts in front of a message, in bytes.
const messageHeader = 5

// Recv implements pipe, as do the methods below.
func (p rpcPipe) Recv() (*wire.Request, int, error) {
	p.arriving.forgo()
	q := new(wire.Request)
	c := wire.Counted{Message: q}
	if err := p.RecvMsg(&c); err != nil {
		return nil, 0, err
	}
	p.arriving.remove(messageHeader + c.Size)
	return q, c.Elements, nil
}

func (p rpcPipe) Arriving() *arriving { return p.arriving }

func (p rpcPipe) Send(list ...*wire.Reply) error {
	for _, r := range list {
		if err := p.Node_CallsServer.Send(r); err != nil {
			return err
		}
	}
	return nil
}

func (rpcPipe) Close() {}
