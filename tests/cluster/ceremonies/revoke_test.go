package ceremonies

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// with is a client of one node that shows a certificate of the directory.
func (c *cluster) with(t testing.TB, n *node, dir, name string) *client.Client {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	require.NoError(t, err)
	conf := c.tls(t)
	conf.Certificates = []tls.Certificate{cert}
	conf.GetClientCertificate = nil
	k, err := client.New(client.Options{Nodes: []string{n.addr}, TLS: conf, Only: true, Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	return k
}

// briefly is for what is refused: a client tries again until its time is over.
func briefly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestRevoke: a client's certificate that was revoked is refused by every node at once, on connections that stand too;
// nobody else notices, and a new one for the same name is good.
func TestRevoke(t *testing.T) {
	c := shared(t)
	dir := t.TempDir()
	c.coffer(t, "cluster", "certify", "lost", "--out", dir)
	type standing struct {
		k    *client.Client
		cred hsm.Credential
		key  hsm.Object
	}
	var through []standing
	for _, n := range c.nodes {
		s := standing{k: c.with(t, n, dir, "lost")}
		s.cred = user(t, s.k)
		key, err := s.k.Create(t.Context(), s.cred, secretKey("revoke", make([]byte, 32), false))
		require.NoError(t, err)
		s.key = key
		_, err = mac(t, s.k, s.cred, s.key, "x")
		require.NoError(t, err)
		through = append(through, s)
	}
	var list struct {
		Certificates []struct{ Name, Serial, SHA256, State string }
	}
	serial := func(state string) string {
		t.Helper()
		c.answer(t, &list, "cluster", "certificates")
		found := ""
		for _, x := range list.Certificates {
			if x.Name == "lost" && x.State == state {
				require.Empty(t, found, "one is %s", state)
				found = x.Serial
				require.Len(t, x.SHA256, 64)
			}
		}
		return found
	}
	first := serial("good")
	require.NotEmpty(t, first)
	c.refused(t, "no certificate for", "cluster", "revoke", "zebra", "--yes")
	c.refused(t, "what is to be revoked is not clear", "cluster", "revoke", "lost", "--serial", first, "--yes")
	c.refused(t, "nobody is there to be asked", "cluster", "revoke", "lost")
	c.refused(t, "is no serial number", "cluster", "revoke", "--serial", "zebra", "--yes")
	require.Contains(t, c.coffer(t, "cluster", "revoke", "lost", "--yes"), first)

	for i, s := range through {
		_, err := macIn(briefly(t), s.k, s.cred, s.key, "x")
		require.Error(t, err, "node %d", i)
		_, err = c.with(t, c.nodes[i], dir, "lost").Info(briefly(t))
		require.Error(t, err, "node %d", i)
		_, err = c.through(t, c.nodes[i]).Info(t.Context())
		require.NoError(t, err, "another's certificate")
	}
	require.Equal(t, first, serial("revoked"))

	again := t.TempDir()
	c.coffer(t, "cluster", "certify", "lost", "--out", again)
	for _, n := range c.nodes {
		user(t, c.with(t, n, again, "lost"))
	}
	require.NotEqual(t, first, serial("good"))

	// By the file, and by the digest; both are there after a restart.
	c.coffer(t, "cluster", "revoke", "--certificate", filepath.Join(again, "lost.crt"), "--yes")
	require.Empty(t, serial("good"))
	n := c.nodes[2]
	n.kill()
	n.start(t)
	n.serves(t)
	c.settled(t, c.nodes[0], 3, 3)
	for _, d := range []string{dir, again} {
		_, err := c.with(t, n, d, "lost").Info(briefly(t))
		require.Error(t, err)
	}
}

// TestPoliciesAreCompared: a node that was started with another policy shows.
func TestPoliciesAreCompared(t *testing.T) {
	c := shared(t)
	n := c.nodes[1]
	o := c.try(t, "cluster", "status")
	require.Zero(t, o.code)
	require.NotContains(t, o.err, "policy")
	before, err := os.ReadFile(n.conf)
	require.NoError(t, err)
	restart := func(conf []byte) {
		require.NoError(t, os.WriteFile(n.conf, conf, 0o600))
		n.kill()
		n.start(t)
		n.serves(t)
		c.settled(t, c.nodes[0], 3, 3)
	}
	restart(append(before[:len(before):len(before)], "\n[policy]\ndates = true\n"...))
	defer restart(before)
	o = c.try(t, "cluster", "status")
	require.Zero(t, o.code)
	require.Contains(t, o.err, "do not have the same policy")
	var s struct {
		SamePolicy bool `json:"same_policy"`
		Members    []struct{ Name, Policy string }
	}
	c.answer(t, &s, "cluster", "status")
	require.False(t, s.SamePolicy)
	require.Equal(t, s.Members[0].Policy, s.Members[2].Policy)
	require.NotEqual(t, s.Members[0].Policy, s.Members[1].Policy)
}

// TestStartedAlone: of three nodes that were all stopped one is started, and after a while serves who is logged in.
func TestStartedAlone(t *testing.T) {
	c := shared(t)
	k := c.wide(t)
	cred := user(t, k)
	key, err := k.Create(t.Context(), cred, secretKey("alone", make([]byte, 32), true))
	require.NoError(t, err)
	time.Sleep(time.Second) // what the copies have not written to their database yet, they would not serve
	for _, n := range c.nodes {
		n.kill()
	}
	began := time.Now()
	a := c.nodes[0]
	a.start(t)
	within(t, patience, func() error {
		_, err := mac(t, k, cred, key, "x")
		return err
	})
	t.Logf("the node has signed %v after it was started", time.Since(began).Round(time.Millisecond))
	require.Contains(t, a.tail(), "reaches no majority")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.Error(t, k.Destroy(ctx, cred, key))
	_, err = c.through(t, a).Login(ctx, ck.CKU_USER, "", []byte(harness.UserPIN))
	require.Error(t, err, "an attempt cannot be counted")
	o := c.try(t, "cluster", "status", "--socket", a.sock)
	require.Equal(t, 1, o.code)
	require.Contains(t, o.err, "no quorum")

	for _, n := range c.nodes[1:] {
		n.start(t)
	}
	for _, n := range c.nodes[1:] {
		n.serves(t)
	}
	c.settled(t, a, 3, 3)
	require.NoError(t, k.Destroy(t.Context(), cred, key))
	c.verified(t)
}
