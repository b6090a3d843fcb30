package client

import (
	"sync/atomic"
	"time"
)

// latency is how long a node takes for a small request: an average that forgets, and that fades when nothing is asked,
// so that a node that was slow is tried again.
type latency struct {
	average atomic.Int64 // nanoseconds
	at      atomic.Int64 // of the last sample
}

const (
	latencyWeight = 8 // the newest sample counts for one in so many
	latencyFloor  = int64(time.Microsecond)
	fade          = time.Second // in which an old average halves
	foreignZone   = 4           // how many times dearer a node of another zone is
)

func (l *latency) set(d, now int64) {
	l.average.Store(max(d, latencyFloor))
	l.at.Store(now)
}

// add takes a sample in. Samples that come at the same time may push each other out, which does not matter.
func (l *latency) add(d, now int64) {
	old := l.value(now)
	l.set(old+(max(d, latencyFloor)-old)/latencyWeight, now)
}

func (l *latency) value(now int64) int64 {
	age := max(now-l.at.Load(), 0) / int64(fade)
	return max(l.average.Load()>>min(age, 20), latencyFloor)
}

// cost estimates what asking a node would take.
func (n *node) cost(now int64) int64 {
	return (n.busy.Load() + 1) * n.latency.value(now)
}

// grade says how good a node is before anything is measured; lower is better.
type grade uint8

const (
	gradeNear grade = iota
	gradeFar
	gradeIsolated // it had no quorum a moment ago: what was destroyed may still be there
	gradeDraining
	gradeSuspect
	gradeRetired // a seed that is no member any more
	gradeNone    // not connected
)

// isolatedFor is how long a node without a quorum is left alone where there are others.
const isolatedFor = 3 * time.Second

func (n *node) grade() grade {
	switch {
	case n.conn.Load() == nil:
		return gradeNone
	case n.retired.Load():
		return gradeRetired
	case n.suspect.Load():
		return gradeSuspect
	case n.draining.Load():
		return gradeDraining
	case n.isolatedUntil.Load() > n.client.now():
		return gradeIsolated
	case n.client.opts.Zone != "" && n.zone() != n.client.opts.Zone:
		return gradeFar
	}
	return gradeNear
}

// crowd is candidates of one kind of which some are drawn by lot without being collected: the size is only known at the
// end, so each one that comes takes a seat with the probability that makes all equal.
type crowd struct {
	seen  uint64
	seats [2]*node
}

func (w *crowd) add(n *node, dice uint64) {
	w.seen++
	if w.seen <= uint64(len(w.seats)) {
		w.seats[w.seen-1] = n
		return
	}
	if i := dice % w.seen; i < uint64(len(w.seats)) {
		w.seats[i] = n
	}
}

// pick chooses a node that has not been tried: the cheaper of two drawn by lot (Mitzenmacher: The power of two choices in
// randomized load balancing). Where there are nodes of the own zone, two of them are drawn, and one of the others, which
// must be much cheaper.
func (c *Client) pick(tried *attempts) (*node, *conn) {
	var near, far, rest crowd
	worst := gradeNone
	for _, n := range *c.list.Load() {
		if tried.has(n) {
			continue
		}
		switch g := n.grade(); {
		case g == gradeNear:
			near.add(n, c.random())
		case g == gradeFar:
			far.add(n, c.random())
		case g < worst:
			worst, rest = g, crowd{}
			rest.add(n, c.random())
		case g == worst && g != gradeNone:
			rest.add(n, c.random())
		}
	}
	best := near.seats[0]
	if best == nil && far.seats[0] == nil {
		best = rest.seats[0]
	} else {
		best = c.cheapest(near, far)
	}
	if best == nil {
		return nil, nil
	}
	return best, best.conn.Load() // nil if it has gone this moment
}

func (c *Client) cheapest(near, far crowd) *node {
	if near.seen+far.seen == 1 {
		if near.seen == 1 {
			return near.seats[0]
		}
		return far.seats[0]
	}
	now := c.now()
	var best *node
	var least int64
	consider := func(n *node, factor int64) {
		if n == nil {
			return
		}
		if cost := n.cost(now) * factor; best == nil || cost < least {
			best, least = n, cost
		}
	}
	consider(near.seats[0], 1)
	consider(near.seats[1], 1)
	if near.seen > 0 {
		consider(far.seats[c.random()%min(far.seen+1, 2)], foreignZone)
		return best
	}
	consider(far.seats[0], 1)
	consider(far.seats[1], 1)
	return best
}

// otherThan says whether there is a good node beside n.
func (c *Client) otherThan(n *node) bool {
	for _, m := range *c.list.Load() {
		if m != n && m.grade() <= gradeDraining {
			return true
		}
	}
	return false
}
