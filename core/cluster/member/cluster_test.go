package member

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestClusterGrowsAndEveryNodeHasEveryKey(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(2)
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.generate(n.user()).ID())
	}
	for _, n := range nodes {
		n.current()
		cred := n.user()
		for _, id := range ids {
			require.NoError(t, n.sign(cred, id))
		}
		n.eventually("all nodes have all keys", func() bool {
			got, members, err := n.m.Coverage(within(t), ids)
			require.NoError(t, err)
			return members == 3 && slices.Equal(got, []uint32{3, 3, 3})
		})
		n.eventually("all are ready and one leads", func() bool {
			s, err := n.m.Status(within(t))
			require.NoError(t, err)
			ready, leaders := 0, 0
			for _, w := range s.Members {
				if w.State == "ready" && w.Revision >= 1 {
					ready++
				}
				if w.Leader {
					leaders++
				}
			}
			return s.Quorum && s.Voters == 3 && ready == 3 && len(s.Members) == 3 && leaders == 1
		})
		n.eventually("and each knows that by itself", func() bool {
			s, leaders := n.m.Stats(), 0
			for _, n := range nodes {
				if n.m.Stats().Leads {
					leaders++
				}
			}
			return n.m.Ready() == nil && s.Quorum && s.Votes && s.Voters == 3 && s.States["ready"] == 3 && leaders == 1
		})
		size := n.m.Size()
		require.Positive(t, size.Used)
		require.LessOrEqual(t, size.Used, size.Bytes)
		require.Less(t, size.Bytes, size.Limit)
		ends := n.m.Expiries()
		require.Len(t, ends, 4)
		require.WithinDuration(t, time.Now().Add(pki.LeafLifetime), ends["peer"], time.Hour)
		require.Greater(t, time.Until(ends["node-authority"]), 9*365*24*time.Hour)
		n.eventually("nodes that know the same say the same", func() bool { return nodes[0].m.Members().Version == n.m.Members().Version })
	}

	// What is destroyed is gone from all when the call returns.
	for round := range 5 {
		from := nodes[round%3]
		cred := from.user()
		id := from.generate(cred).ID()
		for _, n := range nodes {
			require.True(t, n.holds(id))
		}
		require.NoError(t, from.engine.Destroy(within(t), cred, from.engine.TokenObject(id, true)))
		for _, n := range nodes {
			require.False(t, n.holds(id))
			require.ErrorIs(t, n.sign(n.user(), id), pkcs11.CKR_KEY_HANDLE_INVALID)
		}
	}

	// A node that drains says so to everyone.
	require.NoError(t, nodes[0].m.Drain(within(t), nodes[1].m.id.Member, true))
	nodes[1].eventually("draining", nodes[1].m.Draining)
	require.NoError(t, nodes[2].m.Drain(within(t), nodes[1].m.id.Member, false))
	nodes[1].eventually("not draining", func() bool { return !nodes[1].m.Draining() })
	require.ErrorIs(t, nodes[0].m.Drain(within(t), "0123456789abcdef", true), pkcs11.CKR_ARGUMENTS_BAD)

	// All stop and start again from what is on their disks.
	for _, n := range nodes {
		n.stop()
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			if err := n.tryStart(within(t)); err != nil {
				t.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	for _, n := range nodes {
		require.NoError(t, n.sign(n.user(), ids[0]))
	}
	nodes[0].settled(3)
}

func TestDeadVoterIsReplacedAndComesBackWithoutAVote(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(3)
	id := nodes[0].generate(nodes[0].user()).ID()
	votes := func(of *machine, seen *machine) bool {
		for _, w := range seen.m.Members().Members {
			if w.Name == of.conf.Name {
				return w.Votes
			}
		}
		return false
	}
	var dead, standby, other *machine
	for _, n := range nodes[1:] {
		switch {
		case !votes(n, nodes[0]):
			standby = n
		case dead == nil:
			dead = n
		default:
			other = n
		}
	}
	require.NotNil(t, standby)
	dead.kill()
	nodes[0].eventually("the standby votes", func() bool { return votes(standby, nodes[0]) && !votes(dead, nodes[0]) })
	// With the new vote another one may die, and there still is a majority.
	other.kill()
	nodes[0].eventually("changes go on", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := nodes[0].m.token.Linearize(ctx)
		return err == nil
	})
	made := nodes[0].generate(nodes[0].user()).ID()

	dead.start()
	dead.eventually("the one that was dead has caught up", func() bool { return dead.engine.Holds([]string{made})[0] })
	require.NoError(t, dead.sign(dead.user(), id))
	other.start()
	nodes[0].settled(3)
	dead.eventually("it has a copy of the store exactly if it votes", func() bool {
		return (dead.m.server.Load() != nil) == votes(dead, nodes[0])
	})
}

func TestWithoutAQuorumKeysSignAndNothingChanges(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(1)
	a, b := nodes[0], nodes[1]
	cred := a.user()
	id := a.generate(cred).ID()
	a.current()

	b.kill()
	a.eventually("isolated", func() bool {
		isolated, err := a.m.Current(within(t))
		return err == nil && isolated
	})
	require.NoError(t, a.sign(cred, id))
	start := time.Now()
	isolated, err := a.m.Current(within(t))
	require.NoError(t, err)
	require.True(t, isolated)
	require.Less(t, time.Since(start), patience/4)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	require.Error(t, a.engine.Destroy(ctx, cred, a.engine.TokenObject(id, true)))
	s, err := a.m.Status(within(t))
	require.NoError(t, err)
	require.False(t, s.Quorum)
	require.ErrorIs(t, a.m.Remove(within(t), b.m2()), pkcs11.CKR_DEVICE_ERROR)
	require.ErrorContains(t, a.m.Ready(), "no majority")
	cut := a.m.Stats()
	require.False(t, cut.Quorum)
	require.Positive(t, cut.Unconfirmed)
	require.Equal(t, 1, cut.States["dead"], "this node itself, as others must see it; of the other nothing new is known")

	b.start()
	a.current()
	a.eventually("ready", func() bool { return a.m.Ready() == nil })
	require.Equal(t, map[string]int{"ready": 2, "draining": 0, "impaired": 0, "joining": 0, "dead": 0}, a.m.Stats().States)
	require.Less(t, a.m.Stats().Unconfirmed, cut.Unconfirmed)
	require.NoError(t, b.sign(b.user(), a.generate(cred).ID()))
}

func TestRemovedMemberIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(2)
	a, gone := nodes[0], nodes[2]
	id := gone.m.id.Member
	cert, err := gone.m.state.certificate(fileNodeCert, fileNodeKey)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	who, err := a.m.Identify(leaf)
	require.NoError(t, err)
	require.Equal(t, id, who.Member)

	require.ErrorIs(t, gone.m.Remove(within(t), id), wire.ErrElsewhere)
	require.ErrorIs(t, a.m.Remove(within(t), "0123456789abcdef"), pkcs11.CKR_ARGUMENTS_BAD)
	require.NoError(t, a.m.Remove(within(t), id))
	_, err = a.m.Identify(leaf)
	require.ErrorContains(t, err, "removed")
	select {
	case <-gone.m.Removed():
	case <-time.After(patience):
		t.Fatal("the removed node does not know it")
	}
	gone.kill()
	a.settled(2)

	// The store's servers refuse its certificate too, so it cannot even read what is sealed; and it says why it does not
	// start, instead of waiting.
	require.ErrorIs(t, gone.tryStart(within(t)), ErrRemoved)
	// Its name and addresses are free again.
	require.NoError(t, Zeroize(gone.conf.StateDir))
	inv, err := a.m.Invite(within(t), time.Minute)
	require.NoError(t, err)
	gone.join(inv.Token)
	gone.start()
	a.settled(3)
}

func TestInvitationsAreGoodOnce(t *testing.T) {
	t.Parallel()
	a := first(t)
	refused := func(h *machine, token, why string) {
		t.Helper()
		_, err := Join(within(t), JoinOptions{Node: h.conf, Version: "test", Token: token, Method: h.method})
		require.ErrorContains(t, err, why)
	}
	inv, err := a.m.Invite(within(t), time.Minute)
	require.NoError(t, err)
	one := newMachine(t)
	one.join(inv.Token)
	refused(newMachine(t), inv.Token, "not accepted")
	refused(one, inv.Token, "already")

	// A secret that was made up, under a real identity.
	other, err := a.m.Invite(within(t), time.Minute)
	require.NoError(t, err)
	parsed, err := pki.ParseInvitation(other.Token)
	require.NoError(t, err)
	parsed.Secret.Expose()[0] ^= 1
	forged, err := parsed.Token()
	require.NoError(t, err)
	refused(newMachine(t), forged, "not accepted")
	// An authority that was made up: the machine does not speak to the node at all.
	parsed.Secret.Expose()[0] ^= 1
	parsed.Fingerprint[0] ^= 1
	forged, err = parsed.Token()
	require.NoError(t, err)
	refused(newMachine(t), forged, "authority")

	// Names and addresses are unique.
	twin := newMachine(t)
	twin.conf.Name = one.conf.Name
	refused(twin, other.Token, "taken")
	twin.conf.Name = "twin"
	twin.conf.PeerAdvertise = one.conf.PeerAdvertise
	refused(twin, other.Token, "addresses")

	// An expired one, though the machine's own clock let it pass: the token says later than the cluster knows.
	short, err := a.m.Invite(within(t), time.Second)
	require.NoError(t, err)
	time.Sleep(1100 * time.Millisecond)
	parsed, err = pki.ParseInvitation(short.Token)
	require.NoError(t, err)
	refused(newMachine(t), short.Token, "expired")
	parsed.Expires = time.Now().Add(time.Hour)
	forged, err = parsed.Token()
	require.NoError(t, err)
	refused(newMachine(t), forged, "not accepted")

	_, err = a.m.Invite(within(t), 365*24*time.Hour)
	require.ErrorIs(t, err, pkcs11.CKR_ARGUMENTS_BAD)
}

func TestNodeThatDoesNotConfirmIsNotAliveWhenTheChangeReturns(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(1)
	a, b := nodes[0], nodes[1]
	cred := a.user()
	b.server.Close() // it renews its lease, and answers nobody
	gaveUp := b.claims()
	start := time.Now()
	before := a.m.Stats()
	a.generate(cred)
	after := a.m.Stats()
	require.Greater(t, after.Fenced, before.Fenced)
	require.Equal(t, before.Settled.Count+1, after.Settled.Count)
	require.Greater(t, after.Settled.Sum-before.Settled.Sum, patienceFor(fast.Claim), "it has waited")
	require.True(t, gaveUp(), "the change returned while the node that did not confirm it counted as alive")
	require.Less(t, time.Since(start), patience/4)
}

func TestRecoverFromTheLossOfAMajority(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(2)
	id := nodes[0].generate(nodes[0].user()).ID()
	for _, n := range nodes {
		n.kill()
	}
	r, err := Recover(within(t), RecoverOptions{Node: nodes[1].conf, Method: nodes[1].method, Timing: fast})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{nodes[0].conf.Name, nodes[2].conf.Name}, r.Removed)
	survivor := nodes[1].start()
	require.Len(t, survivor.m.Members().Members, 1)
	require.NoError(t, survivor.sign(survivor.user(), id))
	survivor.generate(survivor.user())
}

// m2 is the identity of a node that does not run.
func (h *machine) m2() string {
	s := &State{dir: h.conf.StateDir}
	id, err := s.identity()
	require.NoError(h.t, err)
	return id.Member
}

func TestFiveVote(t *testing.T) {
	if testing.Short() {
		t.Skip("five voters join one after the other, for half a minute")
	}
	t.Parallel()
	nodes := first(t).grow(4)
	require.NoError(t, nodes[0].m.Remove(within(t), nodes[4].m.id.Member))
	nodes[4].kill()
	nodes[0].settled(3)
	id := nodes[3].generate(nodes[3].user()).ID()
	for _, n := range nodes[:4] {
		require.NoError(t, n.sign(n.user(), id))
	}
}

func TestFailedStoreShowsAndItsVoteGoesToAnother(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(3)
	a := nodes[0]
	var failing, standby *machine
	for _, n := range nodes[1:] {
		if n.m.server.Load() != nil {
			failing = n
		} else {
			standby = n
		}
	}
	require.NotNil(t, failing)
	require.NotNil(t, standby)
	id := failing.generate(failing.user()).ID()
	// As etcd ends what cannot write to its disk: in a goroutine of its own, which does not come back.
	go stopsServer{failing.m.server.Load()}.OnWrite(&zapcore.CheckedEntry{Entry: zapcore.Entry{Message: "no space"}}, nil)
	state := func(want string) func() bool {
		return func() bool {
			s, err := a.m.Status(within(t))
			require.NoError(t, err)
			for _, w := range s.Members {
				if w.Member.Id == failing.m2() {
					return w.State == want
				}
			}
			return false
		}
	}
	a.eventually("the failed store shows", state("impaired"))
	require.ErrorContains(t, failing.m.Ready(), "copy of the store")
	require.Nil(t, failing.m.Size())
	require.NoError(t, a.m.Ready())
	require.Equal(t, 1, a.m.Stats().States["impaired"])
	require.NoError(t, failing.sign(failing.user(), id))
	a.eventually("the standby votes in its place", func() bool {
		voters := map[string]bool{}
		for _, w := range a.m.Members().Members {
			voters[w.Id] = w.Votes
		}
		return voters[standby.m.id.Member] && !voters[failing.m.id.Member]
	})
	failing.generate(failing.user())
	failing.kill()
	failing.start()
	a.eventually("it is ready again", state("ready"))
	require.NoError(t, failing.sign(failing.user(), id))
}

// TestNobodyIsPassedOverWhileItMayAnswer: a lease that one change has ended counts for the next change too, until what its
// holder claims is over; and nobody is shown the change before.
func TestNobodyIsPassedOverWhileItMayAnswer(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(1)
	a, b := nodes[0], nodes[1]
	cred := a.user()
	b.server.Close() // it renews its lease, and answers nobody
	var wg sync.WaitGroup
	gaveUp, revision := b.claims(), a.m.token.Applied() // from when on b has given up, it catches up before it answers
	wg.Go(func() { a.generate(cred) })
	a.eventually("the change is on its way", func() bool { return a.m.token.Applied() > revision })
	found, err := a.engine.Find(within(t), cred, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.True(t, gaveUp(), "a change was shown that a node which may answer does not confirm")
	wg.Wait()

	gaveUp = b.claims()
	wg.Go(func() { a.generate(cred) })
	a.eventually("its lease is ended", func() bool {
		now, _, err := a.m.alive.ask(within(t))
		require.NoError(t, err)
		_, marked := now[markPrefix+b.m.id.Member]
		return marked
	})
	a.generate(cred)
	require.True(t, gaveUp(), "a change returned while a node that does not confirm it may answer")
	wg.Wait()
}

// TestVoterStartedAloneServesWhatItsCopyHolds: a key is used by who is logged in, what was changed meanwhile is missing,
// nobody changes anything, and with a majority the node has all.
func TestVoterStartedAloneServesWhatItsCopyHolds(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(2)
	a, b, c := nodes[0], nodes[1], nodes[2]
	cred := a.user()
	id := a.generate(cred).ID()
	sealed, err := a.engine.SealCredential(cred)
	require.NoError(t, err)
	a.stop()
	later := b.generate(b.user()).ID()
	b.kill()
	c.kill()

	a.start()
	isolated, err := a.m.Current(within(t))
	require.NoError(t, err)
	require.True(t, isolated)
	cred, err = a.engine.OpenCredential(sealed, "")
	require.NoError(t, err)
	require.NoError(t, a.sign(cred, id))
	require.Error(t, a.sign(cred, later))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	require.Error(t, a.engine.Destroy(ctx, cred, a.engine.TokenObject(id, true)))
	s, err := a.m.Status(within(t))
	require.NoError(t, err)
	require.False(t, s.Quorum)

	b.start()
	a.current()
	require.NoError(t, a.sign(a.user(), later))
	require.NoError(t, a.engine.Destroy(within(t), cred, a.engine.TokenObject(id, true)))
	c.start()
	a.settled(3)
}

// TestStandbyStartedAloneWaits: without a copy of the store there is nothing to serve.
func TestStandbyStartedAloneWaits(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(3)
	standby := nodes[slices.IndexFunc(nodes, func(h *machine) bool { return h.m.server.Load() == nil })]
	standby.stop()
	for _, h := range nodes {
		h.stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	require.Error(t, standby.tryStart(ctx))

	// A voter that is told to stop while it waits stops.
	o := nodes[slices.IndexFunc(nodes, func(h *machine) bool { return h != standby })].options()
	o.Timing.Alone = time.Hour
	ctx, cancel = context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := Open(ctx, o)
	require.Error(t, err)
	require.Less(t, time.Since(began), patience/4)
}

// TestRevokedCertificateIsRefusedByEveryNode when the revocation returns, and no other one is.
func TestRevokedCertificateIsRefusedByEveryNode(t *testing.T) {
	t.Parallel()
	nodes := first(t).grow(1)
	a, b := nodes[0], nodes[1]
	issue := func(name string) *x509.Certificate {
		key, err := pki.NewKey()
		require.NoError(t, err)
		request, err := pki.NewRequest(key, pki.Identity{Kind: pki.Client, Cluster: a.m.ID(), Name: name}, nil)
		require.NoError(t, err)
		c, err := a.m.Certify(within(t), request, name, time.Hour)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(c.Certificate[0])
		require.NoError(t, err)
		return cert
	}
	lost, other := issue("web"), issue("other")
	for _, n := range nodes {
		_, err := n.m.Identify(lost)
		require.NoError(t, err)
	}
	require.NoError(t, a.m.Revoke(within(t), serialNumber(lost), 0))
	require.NoError(t, b.m.Revoke(within(t), serialNumber(lost), 0), "a second time")
	fresh := issue("web")
	for _, n := range nodes {
		n.current()
		_, err := n.m.Identify(lost)
		require.ErrorIs(t, err, errRevoked)
		for _, good := range []*x509.Certificate{other, fresh} {
			_, err := n.m.Identify(good)
			require.NoError(t, err)
		}
	}
	list, err := b.m.Certificates(within(t))
	require.NoError(t, err)
	require.Len(t, list.Certificates, 3)
	for _, c := range list.Certificates {
		require.Equal(t, c.Serial == serialNumber(lost), c.Revoked != 0)
		require.Len(t, c.Sha256, 32)
	}

	tomorrow := time.Now().Add(24 * time.Hour).Unix()
	require.NoError(t, a.m.Revoke(within(t), "abc123", tomorrow))
	require.NoError(t, a.m.Revoke(within(t), "abc123", 2*tomorrow), "a later certificate of another authority has the same number")
	require.ErrorIs(t, a.m.Revoke(within(t), "abc123", 1), pkcs11.CKR_ARGUMENTS_BAD, "one that has expired")
	for _, bad := range []string{"", "0a", "ABC", "x/y", "\n", strings.Repeat("a", maxSerial+1)} {
		require.ErrorIs(t, a.m.Revoke(within(t), bad, 0), pkcs11.CKR_ARGUMENTS_BAD, "%q", bad)
	}
	a.m.forgetExpired(within(t))
	list, err = a.m.Certificates(within(t))
	require.NoError(t, err)
	require.Len(t, list.Certificates, 4)
	day := int64(24 * 60 * 60)
	require.False(t, certificate{Expires: tomorrow}.past(tomorrow+day), "clocks may be ahead")
	require.True(t, certificate{Expires: tomorrow}.past(tomorrow+8*day))

	b.kill()
	b.start()
	_, err = b.m.Identify(lost)
	require.ErrorIs(t, err, errRevoked)
}
