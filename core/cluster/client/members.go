package client

import (
	"context"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// askMembers has the list of members fetched from a node that has told that it is another one than before.
func (c *Client) askMembers(n *node) {
	if c.opts.Only {
		return
	}
	select {
	case c.refresh <- n:
	default: // it will be asked for anyhow
	}
}

const (
	membersPause = 200 * time.Millisecond // between two fetches, for news that come one by one
	membersTime  = 3 * time.Second
)

// followMembers fetches the list of members when it has changed.
func (c *Client) followMembers() {
	for {
		var n *node
		select {
		case <-c.ctx.Done():
			return
		case n = <-c.refresh:
		}
		if n.conn.Load() == nil {
			n = nil // the node that told has gone; any other one knows
		}
		list, err := c.membersOf(n)
		if err == nil {
			c.reconcile(list)
		} else if c.ctx.Err() == nil && n != nil {
			c.askMembers(n)
		}
		sleep(c.ctx, membersPause)
	}
}

// membersOf asks one node, or any.
func (c *Client) membersOf(n *node) (*wire.MemberList, error) {
	ctx, cancel := context.WithTimeout(c.ctx, membersTime)
	defer cancel()
	r, err := c.send(ctx, request{traits: traits{at: n}, q: &wire.Request{Body: &wire.Request_Members{Members: &wire.Members{}}}})
	if err != nil {
		return nil, err
	}
	list := r.GetMembersList()
	if list == nil {
		return nil, unexpected(r)
	}
	return list, nil
}

// reconcile makes the nodes those of a list. The addresses that the user gave stay, as a last resort.
func (c *Client) reconcile(list *wire.MemberList) {
	if len(list.GetMembers()) == 0 {
		return // a node by itself, or a list that cannot be
	}
	c.mu.Lock()
	var gone []*node
	kept := map[*node]bool{}
	for _, m := range list.GetMembers() {
		n := c.findLocked(m)
		if n == nil && m.GetAddress() != "" && (c.opts.TLS != nil || isSocket(m.GetAddress())) {
			c.addLocked(m.GetAddress(), false)
			n = c.nodes[m.GetAddress()]
		}
		if n != nil {
			kept[n] = true
			n.retired.Store(false)
			n.draining.Store(m.GetDraining())
		}
	}
	for _, n := range c.nodes {
		// A seed that has not been reached yet may be a member under another address.
		if !kept[n] && !(n.seed && n.member() == "") {
			gone = append(gone, n)
		}
	}
	c.mu.Unlock()
	for _, n := range gone {
		n.forget()
	}
	c.change()
}

// findLocked returns the node that a member is: by its identity, else by its address. The caller holds mu.
func (c *Client) findLocked(m *wire.Member) *node {
	var same *node
	for _, n := range c.nodes {
		if m.GetId() == "" || n.member() != m.GetId() {
			continue
		}
		if n.conn.Load() != nil {
			return n
		}
		// It has moved if the list says another address, unless it is a seed that goes there its own way.
		if n.address == m.GetAddress() || isSocket(n.address) {
			same = n
		}
	}
	if same != nil {
		return same
	}
	n := c.nodes[m.GetAddress()]
	if n != nil && n.member() != "" && m.GetId() != "" && n.member() != m.GetId() && n.conn.Load() != nil {
		return nil // somebody else is there, for now
	}
	return n
}
