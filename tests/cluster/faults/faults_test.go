// Package faults runs a cluster of real nodes, each in a network namespace of its own, with applications that create, find,
// use and destroy keys while nodes are killed, stopped, cut off, slowed down and short of disk. What was answered must be
// linearizable for each name of a key, nothing that was acknowledged may be lost or come back, and no use of a key may fail.
//
// COFFER_SEED repeats the choices of a run (the timing of processes is never the same), COFFER_FAULT_TIME is how long faults
// happen (45s by default), COFFER_FAULTS a regular expression of those that do, COFFER_KEEP=1 keeps the nodes' files.
package faults

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	usualTime = 45 * time.Second
	calm      = 2 * time.Second // before the first fault and after the last
	// whole is how long a cluster may take to be whole again when a fault is over, on a machine that may have other things to
	// do: how long it took is reported.
	whole = 2 * time.Minute
)

// event is a fault that has happened. Times are the history's.
type event struct {
	fault      fault
	node       string
	begin, end int64
	mended     int64 // when the cluster was whole again
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("not in short runs")
	}
	seed, limit := settings(t)
	t.Logf("COFFER_SEED=%d COFFER_FAULT_TIME=%v", seed, limit)
	c := newCluster(t)
	w := newWorkload(seed)
	c.alone(w)
	stop := w.start(t, c)
	defer stop()
	time.Sleep(calm)
	events := c.misfortunes(w.history, rand.New(rand.NewPCG(seed, 1<<32)), limit)
	time.Sleep(calm)
	stop()
	c.final(w)
	w.history.complete()
	report(t, w.history, events)
	assert.Empty(t, w.lost, "a login failed although there was a quorum throughout")
	checkUses(t, w.history)
	checkLinear(t, w.history)
}

// alone measures how long it takes to create a key when nothing else happens.
func (c *cluster) alone(w *workload) {
	const keys = 50
	k := w.worker(c, workers)
	for i := range keys {
		k.create(fmt.Sprintf("key-%d", i%names))
	}
	var took []int64
	for _, o := range w.history.list {
		require.NoError(c.t, o.err)
		took = append(took, o.ret-o.call)
		k.destroy(o.name, k.objects[o.id])
	}
	slices.Sort(took)
	c.t.Logf("creating a key, one after the other: median %v, longest %v of %d", time.Duration(took[keys/2]), time.Duration(took[keys-1]), keys)
}

func settings(t *testing.T) (seed uint64, limit time.Duration) {
	t.Helper()
	seed, limit = rand.Uint64N(1e6), usualTime
	var err error
	if s := os.Getenv("COFFER_SEED"); s != "" {
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	if s := os.Getenv("COFFER_FAULT_TIME"); s != "" {
		limit, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	return seed, limit
}

// misfortunes lets one fault after the other happen, in an order drawn by lot in which none is repeated before all have
// been. The next one comes when the cluster is whole.
func (c *cluster) misfortunes(h *history, dice *rand.Rand, limit time.Duration) []event {
	var events []event
	var deck []fault
	for until := time.Now().Add(limit); time.Now().Before(until); {
		if len(deck) == 0 {
			deck = available(c, dice)
		}
		f := deck[0]
		deck = deck[1:]
		e := c.strike(h, f, c.victim(f, dice), f.lasts+time.Duration(dice.Int64N(int64(time.Second))))
		events = append(events, e)
	}
	return events
}

func available(c *cluster, dice *rand.Rand) []fault {
	var list []fault
	only, err := regexp.Compile(os.Getenv("COFFER_FAULTS"))
	require.NoError(c.t, err)
	for _, f := range faults {
		if !only.MatchString(f.name) {
			continue
		}
		if _, err := exec.LookPath(f.needs); f.needs != "" && err != nil {
			c.t.Logf("NOT TESTED: %s, for %s is missing", f.name, f.needs)
			continue
		}
		list = append(list, f)
	}
	require.NotEmpty(c.t, list, "COFFER_FAULTS leaves nothing")
	dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (c *cluster) victim(f fault, dice *rand.Rand) *daemon {
	n := c.nodes[dice.IntN(len(c.nodes))]
	switch {
	case f.ownDisk:
		n = c.nodes[onOwnDisk]
	case f.leads:
		n = c.leader()
	}
	return n
}

func (c *cluster) strike(h *history, f fault, n *daemon, lasts time.Duration) event {
	e := event{fault: f, node: n.name, begin: h.now()}
	c.t.Logf("%7.3fs (%s UTC) node %s: %s", time.Duration(e.begin).Seconds(), time.Now().UTC().Format("15:04:05.000"), n.name, f.name)
	require.NoError(c.t, f.begin(c, n), "%s: %s", f.name, n.name)
	for until := time.Now().Add(lasts); time.Now().Before(until); {
		if f.during == nil {
			time.Sleep(time.Until(until))
			break
		}
		require.NoError(c.t, f.during(c, n), "%s: %s", f.name, n.name)
	}
	require.NoError(c.t, f.end(c, n), "%s: %s", f.name, n.name)
	e.end = h.now()
	took := c.healthy(whole)
	e.mended = h.now()
	c.t.Logf("%7.3fs node %s: %s for %.1fs, whole again after %.1fs",
		time.Duration(e.mended).Seconds(), n.name, f.name, time.Duration(e.end-e.begin).Seconds(), took.Seconds())
	return e
}

// final compares the copies, and what is there with what was answered.
func (c *cluster) final(w *workload) {
	t := c.t
	out, err := c.tryCoffer("cluster", "verify")
	assert.NoError(t, err)
	t.Logf("coffer cluster verify\n%s", out)
	k := w.worker(c, workers+1)
	there := map[string]bool{}
	for name := range w.names {
		var o *operation
		for range 20 { // on a busy machine a node may still take itself to be cut off, for a moment
			k.find(name)
			if o = w.history.list[len(w.history.list)-1]; !o.stale {
				break
			}
			c.healthy(whole)
			time.Sleep(calm / 2)
		}
		assert.NoError(t, o.err)
		assert.False(t, o.stale, "a node has no quorum although all is healed")
		for _, id := range o.found {
			there[id] = true
		}
	}
	alive, gone := w.history.fates()
	for id, name := range alive {
		assert.True(t, there[id], "%s %s was made and is lost", name, id)
	}
	for id, name := range gone {
		assert.False(t, there[id], "%s %s was destroyed and is there", name, id)
	}
	list, err := k.hsm.Find(context.Background(), k.cred, nil)
	require.NoError(t, err)
	for _, o := range list {
		if _, mine := alive[o.ID()]; mine {
			mac, err := k.mac(o)
			assert.NoError(t, err)
			assert.Nil(t, w.sameMAC(o.ID(), mac))
		}
	}
	t.Logf("%d objects must be there, %d must not", len(alive), len(gone))
}

// checkUses counts uses that failed. One node is in trouble at a time, so that there is a quorum throughout, and a use with
// an error is a fault of the cluster or of its client.
func checkUses(t *testing.T, h *history) {
	t.Helper()
	uses := 0
	for _, o := range h.list {
		if o.verb == use {
			uses++
			assert.False(t, o.unknown, "%7.3fs..%7.3fs use of %s failed: %s: %v",
				time.Duration(o.call).Seconds(), time.Duration(o.ret).Seconds(), o.id, pkcs11.RVOf(o.err), o.err)
		}
	}
	assert.Greater(t, uses, 100)
}

// report says how long things took.
func report(t *testing.T, h *history, events []event) {
	t.Helper()
	count := map[string]int{}
	var creates []int64
	for _, o := range h.list {
		count[o.verb.String()]++
		if o.unknown {
			count["unknown "+o.verb.String()]++
		}
		if o.stale {
			count["perhaps stale "+o.verb.String()]++
		}
		quiet := !slices.ContainsFunc(events, func(e event) bool { return o.ret >= e.begin && o.call <= e.mended })
		if o.verb == create && !o.unknown && quiet {
			creates = append(creates, o.ret-o.call)
		}
	}
	t.Logf("operations: %v", count)
	if slices.Sort(creates); len(creates) > 0 {
		t.Logf("creating a key under load, nothing wrong: median %v of %d", time.Duration(creates[len(creates)/2]), len(creates))
	}
	for _, e := range events {
		t.Logf("node %s %s: %s", e.node, e.fault.name, e.measure(h))
	}
}

// measure tells the longest calls that were under way while a fault lasted, and how long it took from its beginning until
// a create that began after it was acknowledged.
func (e event) measure(h *history) string {
	var longest [4]time.Duration
	made := map[string]int64{} // when a key's making was acknowledged
	for _, o := range h.list {
		if o.verb == create && !o.unknown {
			made[o.id] = o.ret
		}
	}
	var old time.Duration // the longest use of a key that every node has had for a while
	next := time.Duration(math.MaxInt64)
	for _, o := range h.list {
		if o.verb == create && !o.unknown && o.call >= e.begin {
			next = min(next, time.Duration(o.ret-e.begin))
		}
		if o.ret >= e.begin && o.call <= e.end {
			longest[o.verb] = max(longest[o.verb], time.Duration(o.ret-o.call))
			if at, known := made[o.id]; o.verb == use && o.there && known && at < e.begin {
				old = max(old, time.Duration(o.ret-o.call))
			}
		}
	}
	s := fmt.Sprintf("next create after %v; longest", next.Round(time.Millisecond))
	for v, d := range longest {
		s += fmt.Sprintf(" %v %v", verb(v), d.Round(time.Millisecond))
	}
	return s + fmt.Sprintf(", of a key that was there before %v", old.Round(time.Millisecond))
}
