package node

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// places are the connections that a listener has. Who has not shown yet who he is gets a place beside those of the others, one of
// a few: when they are all taken, whoever has waited longest loses his, so that silence keeps nobody out. Of the places of those
// who are known one holder has three quarters at most.
type places struct {
	net.Listener
	most, strange int // of connections with a holder, and without
	log           func(string, ...any)

	mu      sync.Mutex
	known   map[string]int        // connections of each holder
	all     int                   // of all holders
	unknown map[string]*list.List // *visitor by where they come from, the first comer in front
	waiting int                   // in all of unknown
	came    uint64
}

// visitor is a connection in one of the places.
type visitor struct {
	net.Conn
	at   *places
	from string
	came uint64 // in the order of their coming

	// Guarded by the places.
	queued *list.Element // nil: known, or gone
	holder string        // once known
	gone   bool
}

func newPlaces(l net.Listener, most int, log func(string, ...any)) *places {
	return &places{Listener: l, most: most, strange: max(1, most/4), log: log, known: map[string]int{}, unknown: map[string]*list.List{}}
}

// Accept implements net.Listener.
func (p *places) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	v := &visitor{Conn: c, at: p, from: sourceOf(c)}
	if old := p.enter(v); old != nil {
		p.log("%s: a connection was closed, for %d have not said who they are", old.from, p.strange)
		_ = old.Conn.Close()
	}
	return v, nil
}

// sourceOf names whom silent connections are counted against: an IPv4 address, a network of IPv6, a user of this machine.
func sourceOf(c net.Conn) string {
	if u, err := userOf(c); err == nil {
		return fmt.Sprintf("uid:%d", u.Uid)
	}
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	addr := a.Addr().Unmap()
	if addr.Is6() {
		if net, err := addr.Prefix(64); err == nil {
			return net.String()
		}
	}
	return addr.String()
}

// enter takes a connection in; the one that has lost its place to it, if there is one, is to be closed.
func (p *places) enter(v *visitor) (old *visitor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == p.strange {
		old = p.first()
		p.unqueue(old)
		old.gone = true
	}
	p.came++
	v.came = p.came
	q := p.unknown[v.from]
	if q == nil {
		q = list.New()
		p.unknown[v.from] = q
	}
	v.queued = q.PushBack(v)
	p.waiting++
	return old
}

// first is the oldest stranger of those who come from where the most are from. The caller holds mu.
func (p *places) first() (v *visitor) {
	most := 0
	for _, q := range p.unknown {
		if f := q.Front().Value.(*visitor); q.Len() > most || q.Len() == most && f.came < v.came {
			most, v = q.Len(), f
		}
	}
	return v
}

// unqueue takes v out of the strangers. The caller holds mu.
func (p *places) unqueue(v *visitor) {
	q := p.unknown[v.from]
	q.Remove(v.queued)
	if q.Len() == 0 {
		delete(p.unknown, v.from)
	}
	v.queued = nil
	p.waiting--
}

var errNoPlace = errors.New("no place is left for the connection")

// identified gives a connection a place among those of its holder. It may be called once.
func (v *visitor) identified(holder string) error {
	err := v.settle(holder)
	if errors.Is(err, errNoPlace) {
		v.at.log("%s: refused: %w", holder, err)
	}
	return err
}

// settle is identified, without the log, which may be slow: others wait for mu.
func (v *visitor) settle(holder string) error {
	p := v.at
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.most
	if strings.HasPrefix(holder, "node:") {
		most += kept(most)
	}
	switch {
	case v.gone:
		return net.ErrClosed
	case p.all >= most:
		return fmt.Errorf("%w: %d are open", errNoPlace, p.all)
	case p.known[holder] == share(p.most):
		return fmt.Errorf("%w: so many connections of this client are open that others need the rest", errNoPlace)
	}
	p.unqueue(v)
	v.holder = holder
	p.known[holder]++
	p.all++
	return nil
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.at.leave(v)
	return v.Conn.Close()
}

func (p *places) leave(v *visitor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case v.gone:
		return
	case v.queued != nil:
		p.unqueue(v)
	default:
		if p.known[v.holder]--; p.known[v.holder] == 0 {
			delete(p.known, v.holder)
		}
		p.all--
	}
	v.gone = true
}

// identified tells the listener whose a connection is, if it is one of a listener's.
func identified(conn net.Conn, holder string) error {
	if v, ok := conn.(*visitor); ok {
		return v.identified(holder)
	}
	return nil
}

// bare is the connection itself.
func bare(conn net.Conn) net.Conn {
	if v, ok := conn.(*visitor); ok {
		return v.Conn
	}
	return conn
}
