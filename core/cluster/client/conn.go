package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// conn is one stream to a node. Reading and writing are done by whoever makes a request on an idle stream, else by a
// goroutine each.
type conn struct {
	client  *Client
	node    *node
	pipe    pipe
	cancel  context.CancelFunc
	close   func()
	done    chan struct{} // closed when the stream has ended
	last    atomic.Uint64 // request number
	traffic traffic
	heard   atomic.Int64 // when the last reply came

	wake  chan struct{} // it is the writer's turn
	batch []frame       // what is being sent
	turn  turn          // of reading

	mu      sync.Mutex // guards these
	pending map[uint64]*call
	unheard int // bytes of the requests in pending
	queue   []frame
	sending bool  // it is somebody's turn to send
	err     error // why the stream has ended
	watch   watch
}

// call is one request that waits for its reply. It is used again by later ones.
type call struct {
	answer chan answer // has room for one
	sent   int64
	size   int
	sample bool // its duration tells how fast the node is
}

// answer is what ends the wait: a reply, or an error of the way.
type answer struct {
	reply *wire.Reply
	err   error
}

// Errors of the way. What was asked may have been done, so that they count as ErrUnknown.
var (
	errLost   = errors.New("the connection was lost")
	errSilent = errors.New("the node does not answer")
)

// encode makes a request ready for sending under a number of this stream. excess is the return value for one that is too
// large: sent, it would end the stream.
func (x *conn) encode(q *wire.Request, excess pkcs11.RV) (frame, error) {
	q.Id = x.last.Add(1)
	if n := proto.Size(q); n > wire.MaxMessage {
		return nil, pkcs11.Errorf(excess, "the request takes %d bytes, at most %d can be sent", n, wire.MaxMessage)
	}
	b, err := wire.AppendFrame(nil, q)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "the request cannot be encoded: %v", err)
	}
	return b, nil
}

// start sends a request whose reply goes to k; sent is false if the stream has ended. alone: nobody else waits.
func (x *conn) start(k *call, id uint64, f frame) (sent, alone bool) {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return false, false
	}
	k.sent, k.size = x.client.now(), len(f)
	x.pending[id] = k
	x.unheard += k.size
	idle := len(x.pending) == 1
	if idle {
		x.watchLocked(k.sent)
	}
	// A goroutine less is on the way if the caller sends by himself. There is room for so little in the connection that he
	// does not wait for the node.
	if (idle || x.pipe.mayLead()) && len(f) <= smallFrame && x.unheard <= mostUnheard && len(x.pending) <= mostAlone && !x.sending {
		x.queue, x.sending = append(x.queue, f), true
		x.mu.Unlock()
		x.sendFor(callersRounds)
		return true, idle
	}
	x.enqueueLocked(f)
	x.mu.Unlock()
	return true, idle
}

const (
	smallFrame  = 4 << 10
	mostUnheard = 64 << 10
	mostAlone   = 64 // requests: the kernel counts hundreds of bytes for the smallest
	// callersRounds is how many times a caller sends what has come meanwhile, before he leaves it to the writer.
	callersRounds = 3
)

func (x *conn) enqueueLocked(f frame) {
	x.queue = append(x.queue, f)
	if !x.sending {
		x.sending = true
		x.wake <- struct{}{}
	}
}

// tell sends a request whose reply, if there is one, nobody waits for.
func (x *conn) tell(q *wire.Request) {
	f, err := x.encode(q, pkcs11.CKR_DEVICE_ERROR)
	if err != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.enqueueLocked(f)
	}
}

// forget ends the wait for a reply. Afterwards nothing is or comes into k's channel.
func (x *conn) forget(k *call, id uint64) {
	x.mu.Lock()
	waiting := x.pending[id] == k
	if waiting {
		x.unheard -= k.size
		delete(x.pending, id)
	}
	x.mu.Unlock()
	if !waiting {
		<-k.answer // it is under way or there
	}
}

// write sends what is queued, in the turns that are the writer's, until the stream ends.
func (x *conn) write() {
	for {
		select {
		case <-x.done:
			return
		case <-x.wake:
			x.sendFor(0)
		}
	}
}

// sendFor sends what is queued until there is no more, or for so many rounds. The caller's turn it is, and ends with it.
func (x *conn) sendFor(rounds int) {
	for i := 1; ; i++ {
		x.mu.Lock()
		if len(x.queue) == 0 || x.err != nil {
			x.sending = false
			x.mu.Unlock()
			return
		}
		if rounds > 0 && (i > rounds || x.unheard > mostUnheard) {
			x.mu.Unlock()
			x.wake <- struct{}{} // whose turn it is is told to one at a time, so that there is room
			return
		}
		x.batch, x.queue = x.queue, x.batch[:0]
		x.mu.Unlock()
		err := x.pipe.send(x.batch...)
		clear(x.batch)
		if err != nil {
			x.cancel() // the reader tells why
		}
	}
}

func (x *conn) take(r *wire.Reply) {
	now := x.client.now()
	x.heard.Store(now)
	x.node.recovered()
	x.client.note(x.node, r)
	x.mu.Lock()
	k, ok := x.pending[r.GetId()]
	if ok {
		x.unheard -= k.size
		delete(x.pending, r.GetId())
	}
	x.mu.Unlock()
	if !ok {
		return // a ping's, or one that nobody waits for any more
	}
	x.client.noteQuorum(x.node, r)
	if k.sample && r.GetFailure() == nil {
		x.node.latency.add(now-k.sent, now)
	}
	k.answer <- answer{reply: r}
}

// end closes the stream for good and answers those who wait.
func (x *conn) end(err error) {
	x.close()
	x.mu.Lock()
	x.err = err
	wipe(x.queue)
	x.queue = nil
	x.watch.stop()
	x.mu.Unlock()
	x.giveUp(err)
	close(x.done)
}

// giveUp answers all who wait with an error of the way.
func (x *conn) giveUp(err error) {
	x.mu.Lock()
	waiting := x.pending
	x.pending, x.unheard = map[uint64]*call{}, 0
	x.mu.Unlock()
	for _, k := range waiting {
		k.answer <- answer{err: err}
	}
}

// why is the reason for the stream's end.
func (x *conn) why() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}
