package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// node is one address and what is known of who is there.
type node struct {
	client  *Client
	address string
	seed    bool // given by the user: never forgotten
	cancel  context.CancelFunc

	conn     atomic.Pointer[conn] // nil while there is none
	hello    atomic.Pointer[hello]
	busy     atomic.Int64 // requests that wait
	latency  latency
	draining atomic.Bool
	suspect  atomic.Bool // it does not answer
	retired  atomic.Bool // it is no member any more
	isolated atomic.Bool // it has no quorum
	// isolatedUntil is when a node that had no quorum is asked again although there are others.
	isolatedUntil atomic.Int64

	membersVersion atomic.Uint64 // the version of the list of members that it knows

	mu      sync.Mutex
	lastErr error
}

// hello is what a node has said of itself.
type hello struct {
	member, zone, version string
	mechanisms            map[pkcs11.MechanismType]pkcs11.MechanismInfo
}

func newHello(r *wire.HelloReply) *hello {
	h := &hello{member: r.GetMember(), zone: r.GetZone(), version: r.GetVersion(),
		mechanisms: make(map[pkcs11.MechanismType]pkcs11.MechanismInfo, len(r.GetMechanisms()))}
	for _, m := range r.GetMechanisms() {
		t, info := wire.ToMechanismInfo(m)
		h.mechanisms[t] = info
	}
	return h
}

func (n *node) member() string {
	if h := n.hello.Load(); h != nil {
		return h.member
	}
	return ""
}

func (n *node) zone() string {
	if h := n.hello.Load(); h != nil {
		return h.zone
	}
	return ""
}

// name is for the log.
func (n *node) name() string {
	if m := n.member(); m != "" {
		return fmt.Sprintf("%s (%s)", n.address, m)
	}
	return n.address
}

// addLocked begins with a node. The caller holds mu.
func (c *Client) addLocked(address string, seed bool) {
	if c.closed || c.nodes[address] != nil {
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	n := &node{client: c, address: address, seed: seed, cancel: cancel}
	c.nodes[address] = n
	c.listLocked()
	c.tasks.Go(func() { n.run(ctx) })
}

// listLocked makes the list that is read without the lock.
func (c *Client) listLocked() {
	list := make([]*node, 0, len(c.nodes))
	for _, n := range c.nodes {
		list = append(list, n)
	}
	c.list.Store(&list)
}

// Pauses between attempts to reach a node.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
	stable     = 5 * time.Second // a connection that has lived so long was a good one
)

// errTwice: the node is connected under another address.
var errTwice = errors.New("the node is connected under another address")

// run keeps a node connected until ctx ends.
func (n *node) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := n.client.now()
		err := n.serve(ctx)
		if errors.Is(err, errForeign) && !errors.Is(n.reason(), errForeign) {
			n.client.log("a node is not used: %w", err)
		}
		n.failed(err)
		switch {
		case errors.Is(err, errTwice):
			n.waitForOther(ctx)
			pause = firstPause
			continue
		case errors.Is(err, errForeign):
			pause = lastPause
		case time.Duration(n.client.now()-began) > stable:
			pause = firstPause
		}
		sleep(ctx, n.client.jitter(pause))
		pause = min(2*pause, lastPause)
	}
}

// serve connects and returns when the connection has ended.
func (n *node) serve(ctx context.Context) error {
	c := n.client
	x, r, err := n.open(ctx)
	if err != nil {
		return err
	}
	if err := c.admit(n, x, r.GetHello()); err != nil {
		x.close()
		return err
	}
	n.suspect.Store(false)
	n.failed(nil)
	c.note(n, r)
	var tasks sync.WaitGroup
	tasks.Go(x.write)
	tasks.Go(x.idle)
	c.change()
	c.askMembers(n)
	x.read()
	n.conn.CompareAndSwap(x, nil)
	c.change()
	tasks.Wait()
	return x.why()
}

// errForeign: the address leads to another cluster.
var errForeign = errors.New("it belongs to another cluster")

// admit checks that a node is of this cluster and makes the connection its own.
func (c *Client) admit(n *node, x *conn, h *wire.HelloReply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := h.GetCluster()
	if c.cluster != nil && *c.cluster != id {
		return fmt.Errorf("node %s: %w, %.64q, and this one is %.64q", n.address, errForeign, id, *c.cluster)
	}
	if !c.opts.Only && h.GetMember() != "" {
		for _, o := range c.nodes {
			if o != n && o.conn.Load() != nil && o.member() == h.GetMember() {
				return fmt.Errorf("node %s: %w, %s", n.address, errTwice, o.address)
			}
		}
	}
	c.cluster = &id
	n.hello.Store(newHello(h))
	n.conn.Store(x)
	return nil
}

// waitForOther returns when no other node is the same member, or a while has passed.
func (n *node) waitForOther(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastPause)
	defer cancel()
	select {
	case <-n.client.changes():
		sleep(ctx, firstPause)
	case <-ctx.Done():
	}
}

// failed remembers why a node is not used; nil: it is.
func (n *node) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastErr = err
}

func (n *node) reason() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lastErr
}

// recovered: something has come from the node.
func (n *node) recovered() {
	if n.suspect.Load() && n.suspect.CompareAndSwap(true, false) {
		n.failed(nil)
		n.client.change()
	}
}

// forget ends a node that is no member any more, when its requests have ended.
func (n *node) forget() {
	if n.retired.Swap(true) {
		return
	}
	n.client.change()
	n.client.task(func() {
		deadline := n.client.now() + int64(n.client.opts.Timeout)
		for n.busy.Load() > 0 && n.client.now() < deadline && n.client.ctx.Err() == nil && n.retired.Load() {
			sleep(n.client.ctx, firstPause)
		}
		n.client.drop(n)
	})
}

func (c *Client) drop(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.seed || !n.retired.Load() { // it is back among the members
		return
	}
	n.cancel()
	if c.nodes[n.address] == n {
		delete(c.nodes, n.address)
		c.listLocked()
	}
}

// sleep returns after d or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
