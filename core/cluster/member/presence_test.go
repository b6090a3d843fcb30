package member

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// TestClaimOfOthers: who waits for the end of another node's claim waits for as long as that one has said, and for the former
// second where it says nothing.
func TestClaimOfOthers(t *testing.T) {
	for _, x := range []struct {
		value string
		claim time.Duration
	}{
		{claimValue(750 * time.Millisecond), 750 * time.Millisecond},
		{claimValue(defaultTiming.Claim), defaultTiming.Claim},
		{"", time.Second},
		{"no number", time.Second},
		{"-1", time.Second},
		{"70000", time.Second},
	} {
		p := presenceOf(&mvccpb.KeyValue{Value: []byte(x.value), Lease: 7, ModRevision: 9})
		assert.Equal(t, presence{lease: 7, since: 9, claim: x.claim}, p, "%q", x.value)
		assert.Greater(t, p.claimOver(), x.claim)
	}
}

// TestLongerClaimOfAnotherIsWaitedFor: of a node that died, a change waits for what that one may have claimed.
func TestLongerClaimOfAnotherIsWaitedFor(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(2)
	a, b := nodes[0], nodes[1]
	cred := a.user()
	b.stop()
	b.timing.Lease, b.timing.Claim = 2*fast.Lease, 2*fast.Claim
	b.start()
	a.eventually("it is known to be alive again", func() bool {
		known, _ := a.m.alive.now()
		return known[b.m.id.Member].claim == b.timing.Claim
	})
	b.eventually("it may answer", b.m.alive.fresh)
	began := time.Now() // whoever changes something from now on finds b dead, and what it has waited counts
	b.kill()
	a.generate(cred)
	assert.Greater(t, time.Since(began), b.timing.Claim)
}
