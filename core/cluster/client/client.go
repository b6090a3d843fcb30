// Package client is an hsm.HSM over the nodes of a cluster: it balances requests between them and sends them again when
// a node dies, is silent or cannot. docs/wire-format.md describes what goes over the wire.
//
// A Client keeps one stream to each node. Every request is self-contained, so that any node can answer it; one that
// changes something carries a name that is committed with the change, so that it may be sent to a second node when
// nobody knows what the first one has done. Sessions, running operations and session objects are the caller's process's
// own (sealed where they must be), so that no node has anything to lose.
//
// All methods of a Client may be called from many goroutines at once; a running operation is used by one at a time.
package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Options say where the nodes are.
type Options struct {
	// Socket is the path of a node's unix socket on this machine; Nodes are addresses to begin with, host:port. The other
	// members of the cluster are learned from any of them. An address "unix:/path" is a socket too.
	Socket string
	Nodes  []string
	// TLS is the configuration for host:port, with the client's certificate. Without it only sockets are used.
	TLS *tls.Config
	// Zone is the caller's own; nodes of the same zone are preferred. Empty: no preference.
	Zone string
	// Only: talk to the socket, or to the first of Nodes, and to no other: one node's own view.
	Only bool
	// ReadOnly: what would change the token is refused with CKR_TOKEN_WRITE_PROTECTED.
	ReadOnly bool
	// Timeout is how long one call may take, all attempts together; 30 s by default.
	Timeout time.Duration
	// Version of the program, which the nodes show to people.
	Version string
	// Log hears of what an operator may want to know; it may be nil.
	Log func(error)
}

const defaultTimeout = 30 * time.Second

// Client is an HSM over nodes.
type Client struct {
	opts   Options
	began  time.Time
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines
	dice   atomic.Uint64
	begins beginCache
	info   infoCache

	seen     atomic.Int64 // highest revision of any reply
	observed atomic.Int64 // highest revision of a reply that told of the token's state: what later answers must reflect

	list    atomic.Pointer[[]*node] // of nodes, for reading without a lock
	refresh chan *node              // whom to ask for the list of members
	downLog atomic.Int64            // when the state of all nodes was logged last

	mu      sync.Mutex // guards these
	nodes   map[string]*node
	cluster *string       // the identity that the first node told
	changed chan struct{} // closed and replaced when a node comes, goes, or is in another state
	closed  bool
	held    map[*credential]bool
}

var _ hsm.HSM = (*Client)(nil)

// New returns a Client that connects in the background; the first call waits for a node.
func New(opts Options) (*Client, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	var seeds []string
	if opts.Socket != "" {
		seeds = append(seeds, socketPrefix+strings.TrimPrefix(opts.Socket, socketPrefix))
	}
	seeds = append(seeds, opts.Nodes...)
	if len(seeds) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "no node is given: set the socket or the addresses of the nodes")
	}
	if opts.Only {
		seeds = seeds[:1]
	}
	if opts.TLS == nil {
		for _, s := range seeds {
			if !isSocket(s) {
				return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "node %s is reached over TLS only: set the certificates", s)
			}
		}
	}
	c := &Client{
		opts: opts, began: time.Now(), refresh: make(chan *node, 1), changed: make(chan struct{}),
		nodes: map[string]*node{}, held: map[*credential]bool{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var seed [8]byte
	rand.Read(seed[:])
	c.dice.Store(binary.NativeEndian.Uint64(seed[:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seeds {
		c.addLocked(s, true)
	}
	if !opts.Only {
		c.tasks.Go(c.followMembers)
	}
	return c, nil
}

// Close ends the connections, and with them all calls that are under way.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	for k := range c.held {
		k.end()
	}
	clear(c.held)
	c.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	return nil
}

// errClosed answers whoever calls after Close.
var errClosed = pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the connection to the cluster was closed")

// task runs f in a goroutine that Close waits for, unless the client is closed.
func (c *Client) task(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(f)
	}
}

// now is a clock that only goes forward, in nanoseconds; never 0.
func (c *Client) now() int64 { return int64(time.Since(c.began)) + 1 }

// random is for balancing and for pauses: cheap, and no secret. The step is 2^64 divided by the golden ratio, the rest
// the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func (c *Client) random() uint64 {
	x := c.dice.Add(0x9e3779b97f4a7c15)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// jitter returns between a half and all of d.
func (c *Client) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.random()%uint64(d/2+1))
}

func (c *Client) log(format string, args ...any) {
	if c.opts.Log != nil {
		c.opts.Log(fmt.Errorf(format, args...))
	}
}

// change tells everybody who waits that a node is in another state.
func (c *Client) change() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// changes returns a channel that is closed at the next change. Whoever waits takes it before he looks.
func (c *Client) changes() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// raise makes mark at least revision.
func raise(mark *atomic.Int64, revision int64) {
	for {
		old := mark.Load()
		if revision <= old || mark.CompareAndSwap(old, revision) {
			return
		}
	}
}

// note takes in what every reply tells beside its answer.
func (c *Client) note(n *node, r *wire.Reply) {
	raise(&c.seen, r.GetRevision())
	if n.membersVersion.Swap(r.GetMembers()) != r.GetMembers() {
		c.askMembers(n)
	}
}

// noteQuorum takes in whether the node had a quorum when it answered a request. Pings and refusals are answered without
// looking, so that what they do not say means nothing.
func (c *Client) noteQuorum(n *node, r *wire.Reply) {
	if r.GetIsolated() {
		n.isolatedUntil.Store(c.now() + int64(isolatedFor))
	} else if r.GetFailure() != nil {
		return
	}
	if was := n.isolated.Swap(r.GetIsolated()); was != r.GetIsolated() {
		if was {
			c.log("node %s has a quorum again", n.name())
		} else {
			c.log("node %s has no quorum: it uses the keys that it holds, changes nothing and checks no PIN", n.name())
		}
	}
}

// mayChange refuses changes through a Client that makes none.
func (c *Client) mayChange() error {
	if c.opts.ReadOnly {
		return pkcs11.Errorf(pkcs11.CKR_TOKEN_WRITE_PROTECTED, "this slot shows one node and changes nothing: use the cluster's slot")
	}
	return nil
}

// unexpected answers for a reply with a body that does not belong to the request.
func unexpected(r *wire.Reply) error {
	return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered with %T, which is no answer to this request", r.GetBody())
}

// isRetry says whether another node may be asked.
func isRetry(err error) bool {
	return errors.Is(err, wire.ErrElsewhere) || errors.Is(err, wire.ErrUnknown)
}
