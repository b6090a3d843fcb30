package client

import (
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestOptions(t *testing.T) {
	_, err := New(Options{})
	assert.Error(t, err)
	_, err = New(Options{Nodes: []string{"host:2223"}})
	assert.ErrorContains(t, err, "TLS")
}

func TestNodeOfAnotherClusterIsNotUsed(t *testing.T) {
	var l logs
	a := newFake(t, "a", eight)
	c := connect(t, Options{Log: l.add}, a)
	b := newFake(t, "b", eight)
	b.hello.Cluster = "another"
	a.members.Store(&wire.MemberList{Version: 7, Members: []*wire.Member{a.member(), b.member()}})
	require.NoError(t, random(c))
	eventually(t, func() bool {
		return len(c.Nodes()) == 2 && c.Nodes()[0].Err != nil || len(c.Nodes()) == 2 && c.Nodes()[1].Err != nil
	})
	for range 20 {
		require.NoError(t, random(c))
	}
	assert.Zero(t, b.count())
	assert.Contains(t, l.String(), "another cluster")
}

func TestProtocolThatIsNotSpokenHere(t *testing.T) {
	for name, greeting := range map[string]*wire.Reply{
		"later":    {Body: &wire.Reply_Hello{Hello: &wire.HelloReply{Protocol: wire.Protocol + 1}}},
		"none":     {Body: &wire.Reply_Hello{Hello: &wire.HelloReply{}}},
		"refusal":  failure(pkcs11.CKR_DEVICE_ERROR, wire.Retry_RETRY_NO),
		"no hello": done(nil),
	} {
		t.Run(name, func(t *testing.T) {
			a := newFake(t, "a", eight)
			a.greeting = func(*wire.Request) *wire.Reply { return greeting }
			c := connecting(t, Options{Timeout: 500 * time.Millisecond}, a)
			assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(random(c)))
			eventually(t, func() bool { return c.Nodes()[0].Err != nil })
			assert.Zero(t, a.count())
		})
	}
}

func TestHelloTellsTheProtocol(t *testing.T) {
	a := newFake(t, "a", eight)
	a.hello.Version = "9.9"
	connect(t, Options{Version: "1.2"}, a)
	c := connect(t, Options{Version: "1.2"}, a)
	self, err := c.Self(ctx)
	require.NoError(t, err)
	assert.Equal(t, Self{Address: a.address(), Cluster: "the cluster", Member: "a", Version: "9.9"}, self)
}

func TestMembersComeAndGo(t *testing.T) {
	a, b, d := newFake(t, "a", eight), newFake(t, "b", eight), newFake(t, "d", eight)
	c := connect(t, Options{}, a)
	list := func(version uint64, nodes ...*fake) *wire.MemberList {
		l := &wire.MemberList{Version: version}
		for _, f := range nodes {
			l.Members = append(l.Members, f.member())
		}
		return l
	}
	set := func(l *wire.MemberList) {
		for _, f := range []*fake{a, b, d} {
			f.members.Store(l)
		}
		require.NoError(t, random(c)) // the reply tells that there is another list
	}
	set(list(2, a, b))
	eventually(t, func() bool { return ready(c) == 2 })
	set(list(3, a, d))
	eventually(t, func() bool { return ready(c) == 2 && state(c, b) == "" && state(c, d) == "ready" })
	before := b.count()
	for range 30 {
		require.NoError(t, random(c))
	}
	assert.Equal(t, before, b.count(), "who was removed is not asked any more")

	// The seed leaves too, and is a last resort.
	set(list(4, d))
	eventually(t, func() bool { return state(c, a) == "retired" })
	before = a.count()
	for range 30 {
		require.NoError(t, random(c))
	}
	assert.Equal(t, before, a.count())
	d.stop()
	assert.NoError(t, random(c))
	assert.Greater(t, a.count(), before)
}

func state(c *Client, f *fake) string {
	for _, s := range c.Nodes() {
		if s.Address == f.address() {
			return s.State
		}
	}
	return ""
}

func TestDrainingNodeIsLeftAlone(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	c := connect(t, Options{}, a, b)
	m := b.member()
	m.Draining = true
	l := &wire.MemberList{Version: 2, Members: []*wire.Member{a.member(), m}}
	a.members.Store(l)
	b.members.Store(l)
	require.NoError(t, random(c))
	eventually(t, func() bool { return state(c, b) == "draining" })
	before := b.count()
	for range 30 {
		require.NoError(t, random(c))
	}
	assert.Equal(t, before, b.count())
	a.stop()
	assert.NoError(t, random(c), "better than nobody")
}

func TestOneNodeUnderTwoAddressesIsConnectedOnce(t *testing.T) {
	a := newFake(t, "a", eight)
	again := newFake(t, "x", eight)
	again.hello.Member = "a"
	c := connecting(t, Options{}, a, again)
	eventually(t, func() bool { return ready(c) == 1 })
	require.NoError(t, random(c))
	// The other one takes over when the first is gone.
	if a.count() > 0 {
		a.stop()
	} else {
		again.stop()
	}
	assert.NoError(t, random(c))
	assert.Equal(t, 1, a.count())
	assert.Equal(t, 1, again.count())
}

func TestOnlyOne(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	a.members.Store(&wire.MemberList{Version: 2, Members: []*wire.Member{a.member(), b.member()}})
	c := connecting(t, Options{Only: true}, a, b)
	for range 30 {
		require.NoError(t, random(c))
	}
	assert.Zero(t, b.count())
	assert.Len(t, c.Nodes(), 1)
}

func TestZoneIsPreferred(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	a.hello.Zone, b.hello.Zone = "here", "there"
	c := connect(t, Options{Zone: "here"}, a, b)
	for _, n := range *c.list.Load() { // no first impression
		n.latency.set(int64(time.Millisecond), c.now())
	}
	for range 100 {
		x := attempts{}
		n, _ := c.pick(&x)
		assert.Equal(t, "a", n.member())
	}
	// A node of another zone that is much cheaper is taken all the same.
	for _, n := range *c.list.Load() {
		if n.member() == "a" {
			n.busy.Add(50)
		}
	}
	x := attempts{}
	for range 100 {
		n, _ := c.pick(&x)
		if n.member() == "b" {
			return
		}
	}
	t.Error("the other zone never helps")
}

// TestSlowNodeGetsLess: three nodes of which one takes much longer; the callers hardly notice.
func TestSlowNodeGetsLess(t *testing.T) {
	var nodes []*fake
	for i := range 3 {
		wait := time.Millisecond
		if i == 0 {
			wait = 60 * time.Millisecond
		}
		nodes = append(nodes, newFake(t, fmt.Sprint("n", i), func(q *wire.Request) *wire.Reply {
			time.Sleep(wait)
			return &wire.Reply{Body: &wire.Reply_Size{Size: &wire.Size{Bytes: 1}}}
		}))
	}
	c := connect(t, Options{}, nodes...)
	o := tokenObject(c, "x")
	var callers sync.WaitGroup
	for range 12 {
		callers.Go(func() {
			for range 60 {
				_, err := c.Size(ctx, nil, o)
				assert.NoError(t, err)
			}
		})
	}
	callers.Wait()
	slow, fast, other := nodes[0].count(), nodes[1].count(), nodes[2].count()
	t.Logf("slow %d, fast %d and %d", slow, fast, other)
	assert.Less(t, slow, (fast+other)/6)
	assert.Greater(t, fast, 100)
	assert.Greater(t, other, 100)
}

// TestPickIsFair: the draw gives all nodes the same chance.
func TestPickIsFair(t *testing.T) {
	c := &Client{began: time.Now()}
	c.dice.Store(rand.Uint64())
	counts := map[*node]int{}
	nodes := make([]*node, 7)
	for i := range nodes {
		nodes[i] = &node{}
	}
	const draws = 14000
	for range draws {
		var w crowd
		for _, n := range nodes {
			w.add(n, c.random())
		}
		require.NotSame(t, w.seats[0], w.seats[1])
		counts[w.seats[0]]++
		counts[w.seats[1]]++
	}
	for _, n := range nodes {
		assert.InDelta(t, 2*draws/len(nodes), counts[n], 400)
	}
}

func TestLatencyFades(t *testing.T) {
	var l latency
	l.set(int64(time.Second), 1)
	assert.Equal(t, int64(time.Second), l.value(1))
	assert.Less(t, l.value(1+10*int64(time.Second)), int64(2*time.Millisecond))
	assert.GreaterOrEqual(t, l.value(1<<60), latencyFloor)
	l.set(0, 1)
	for range 50 {
		l.add(int64(time.Millisecond), 1)
	}
	assert.InDelta(t, float64(time.Millisecond), float64(l.value(1)), float64(10*time.Microsecond))
}

func TestIsolationIsLoggedOnceEachWay(t *testing.T) {
	var l logs
	a := newFake(t, "a", eight)
	c := connect(t, Options{Log: l.add}, a)
	for _, isolated := range []bool{true, true, true, false, false} {
		a.isolated.Store(isolated)
		require.NoError(t, random(c))
		assert.Equal(t, isolated, c.Nodes()[0].Isolated)
		// What nobody asked about a key tells nothing: a ping, a request that was not admitted.
		x := (*c.list.Load())[0].conn.Load()
		x.take(&wire.Reply{Id: 1 << 60, Body: &wire.Reply_Done{Done: &wire.Done{}}})
		c.noteQuorum(x.node, &wire.Reply{Failure: &wire.Failure{Rv: uint64(pkcs11.CKR_DEVICE_MEMORY)}})
		assert.Equal(t, isolated, c.Nodes()[0].Isolated)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Len(t, l.lines, 2)
}

func TestReadYourWrites(t *testing.T) {
	a := newFake(t, "a", func(q *wire.Request) *wire.Reply {
		switch q.Body.(type) {
		case *wire.Request_InitToken:
			return &wire.Reply{Revision: 41, Body: &wire.Reply_Done{Done: &wire.Done{}}}
		case *wire.Request_Random:
			r := eight(q)
			r.Revision = 99 // tells nothing of the state
			return r
		}
		return &wire.Reply{Body: &wire.Reply_Objects{Objects: &wire.ObjectList{}}}
	})
	c := connect(t, Options{}, a)
	require.NoError(t, c.InitToken(ctx, nil, ""))
	require.NoError(t, random(c))
	_, err := c.Find(ctx, nil, nil)
	require.NoError(t, err)
	got := all(a)
	assert.EqualValues(t, 41, got[1].MinRevision)
	assert.EqualValues(t, 41, got[2].MinRevision, "a key's use proves nothing that a later answer must reflect")
}

func TestMechanismsAreWhatAllOffer(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	b.hello.Mechanisms = append(b.hello.Mechanisms, &wire.MechanismInfo{Type: uint64(pkcs11.CKM_AES_GCM)})
	c := connect(t, Options{}, a, b)
	assert.Equal(t, []pkcs11.MechanismType{pkcs11.CKM_ECDSA}, c.Mechanisms())
	info, ok := c.Mechanism(pkcs11.CKM_ECDSA)
	assert.True(t, ok)
	assert.Equal(t, pkcs11.CKF_SIGN, info.Flags)
	_, ok = c.Mechanism(pkcs11.CKM_AES_GCM)
	assert.False(t, ok)
}

// TestManyCallersWhileNodesDie: no call fails, whatever happens to one node.
func TestManyCallersWhileNodesDie(t *testing.T) {
	a, b := newFake(t, "a", eight), newFake(t, "b", eight)
	c := connect(t, Options{}, a, b)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					assert.NoError(t, random(c))
				}
			}
		})
	}
	for range 4 {
		a.stop()
		time.Sleep(20 * time.Millisecond)
		a.start()
		eventually(t, func() bool { return ready(c) == 2 })
	}
	close(stop)
	callers.Wait()
}
