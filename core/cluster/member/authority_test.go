package member

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// customer signs what is in a request's file, as a customer's own authority would.
func customer(t *testing.T, a *pki.Authority, cluster, member string, h *machine, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block)
	der, err := a.Issue(block.Bytes, pki.Identity{Kind: pki.Node, Cluster: cluster, Name: member}, []string{h.host()}, time.Hour)
	require.NoError(t, err)
	return pki.CertificatesPEM(der)
}

func TestCustomersOwnAuthoritySignsTheNodes(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority("customer")
	require.NoError(t, err)
	root := pki.CertificatesPEM(ca.Certificate().Raw)
	a := newMachine(t)
	made := a.create(CreateOptions{CSR: true})
	require.NotEmpty(t, made.Request)
	require.Nil(t, made.Activation)
	_, err = Open(within(t), a.options())
	require.ErrorContains(t, err, "certificate")

	options := CreateOptions{Node: a.conf, Version: "test", Method: a.method, Label: "token", CSR: true, Authority: root}
	for name, bad := range map[string][]byte{
		"another member's": customer(t, ca, made.Cluster, "0000000000000000", a, made.Request),
		"no certificate":   []byte("x"),
	} {
		options.Certificate = bad
		_, err = Create(within(t), options)
		require.Error(t, err, name)
	}
	signed := customer(t, ca, made.Cluster, made.Member, a, made.Request)
	again := a.create(CreateOptions{CSR: true, Certificate: signed, Authority: root})
	require.Equal(t, made.Member, again.Member)
	require.Empty(t, again.Request)
	require.NotNil(t, again.Activation)
	a.start()

	_, err = a.m.Certify(within(t), nil, "web", 0)
	require.ErrorIs(t, err, pkcs11.CKR_ACTION_PROHIBITED)

	inv, err := a.m.Invite(within(t), time.Minute)
	require.NoError(t, err)
	b := newMachine(t)
	_, err = Join(within(t), JoinOptions{Node: b.conf, Token: inv.Token, Method: b.method})
	require.ErrorContains(t, err, "--certificate")
	require.NoError(t, Zeroize(b.conf.StateDir))
	joined, err := Join(within(t), JoinOptions{Node: b.conf, Token: inv.Token, Method: b.method, CSR: true})
	require.NoError(t, err)
	require.NotEmpty(t, joined.Request)
	_, err = Join(within(t), JoinOptions{Node: b.conf, Token: inv.Token, Method: b.method, CSR: true,
		Certificate: customer(t, ca, joined.Cluster, joined.Member, b, joined.Request)})
	require.NoError(t, err)
	b.start()
	a.settled(2)
}

func TestCertificatesAreRenewedAndClientsCertified(t *testing.T) {
	t.Parallel()
	a := first(t)
	before, err := a.m.state.certificate(filePeerCert, filePeerKey)
	require.NoError(t, err)
	// One that has nearly run out takes the place of the good one.
	var short string
	for _, c := range []struct {
		name, cert, key string
		kind            pki.Kind
	}{{authorityPeers, filePeerCert, filePeerKey, pki.Peer}, {authorityNodes, fileNodeCert, fileNodeKey, pki.Node}} {
		var record authority
		_, err = a.m.records.get(within(t), kindAuthority, c.name, &record)
		require.NoError(t, err)
		signer, err := record.open()
		require.NoError(t, err)
		key, err := a.m.state.key(c.key)
		require.NoError(t, err)
		id := pki.Identity{Kind: c.kind, Cluster: a.m.id.Cluster, Name: a.m.id.Member}
		request, err := pki.NewRequest(key, id, []string{a.host()})
		require.NoError(t, err)
		der, err := signer.Issue(request, id, []string{a.host()}, 10*time.Minute)
		require.NoError(t, err)
		require.NoError(t, a.m.state.write(c.cert, pki.CertificatesPEM(der, signer.Certificate().Raw)))
		if c.kind == pki.Peer {
			short = serialOf(der)
		}
	}
	a.m.renewCertificates(within(t))
	for _, c := range [][2]string{{filePeerCert, filePeerKey}, {fileNodeCert, fileNodeKey}} {
		after, err := a.m.state.certificate(c[0], c[1])
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(after.Certificate[0])
		require.NoError(t, err)
		require.Greater(t, time.Until(leaf.NotAfter), 300*24*time.Hour)
	}
	after, err := a.m.state.certificate(filePeerCert, filePeerKey)
	require.NoError(t, err)
	require.NotEqual(t, before.Certificate[0], after.Certificate[0])
	r, _, err := a.m.records.member(within(t), a.m.id.Member)
	require.NoError(t, err)
	require.Equal(t, serialOf(after.Certificate[0]), r.PeerSerial)
	require.Equal(t, short, r.FormerSerials)

	key, err := pki.NewKey()
	require.NoError(t, err)
	request, err := pki.NewRequest(key, pki.Identity{Kind: pki.Client, Cluster: a.m.ID(), Name: "whatever"}, nil)
	require.NoError(t, err)
	c, err := a.m.Certify(within(t), request, "web", time.Hour)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	require.NoError(t, err)
	who, err := a.m.Identify(leaf)
	require.NoError(t, err)
	require.Equal(t, "client:web", who.Holder)
	require.Empty(t, who.Member)
	_, err = a.m.Certify(within(t), request, "not a name", time.Hour)
	require.ErrorIs(t, err, pkcs11.CKR_ARGUMENTS_BAD)

	// The node serves it, and refuses a certificate of another authority.
	pool, err := pki.Pool(c.Authority...)
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", a.conf.Advertise, pki.ClientTLS(tls.Certificate{Certificate: c.Certificate, PrivateKey: key}, pool, a.m.ID()))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	leaf.NotAfter = time.Now().Add(-time.Second)
	_, err = a.m.Identify(leaf)
	require.ErrorContains(t, err, "expired")
}

// shorten has the node use a certificate that ends in ten minutes.
func shorten(t *testing.T, s *Single, host string) {
	t.Helper()
	f, err := s.state.seed(s.id, s.root)
	require.NoError(t, err)
	signer, err := f.Nodes.open()
	require.NoError(t, err)
	key, err := s.state.key(fileNodeKey)
	require.NoError(t, err)
	id := pki.Identity{Kind: pki.Node, Cluster: s.id.Cluster, Name: s.id.Member}
	request, err := pki.NewRequest(key, id, []string{host})
	require.NoError(t, err)
	der, err := signer.Issue(request, id, []string{host}, 10*time.Minute)
	require.NoError(t, err)
	require.NoError(t, s.state.write(fileNodeCert, pki.CertificatesPEM(der, signer.Certificate().Raw)))
	require.Less(t, time.Until(s.Expiries()[expiresNode]), time.Hour)
}

func TestNodeWithItsTokenInAFile(t *testing.T) {
	t.Parallel()
	h := newMachine(t)
	h.conf.Store = config.StoreFile
	made := h.create(CreateOptions{})
	registry, err := all.Registry()
	require.NoError(t, err)
	var revoked []*x509.Certificate
	for round := range 2 {
		s, st, err := OpenSingle(within(t), h.options(), func(path string) (store.Store, error) {
			return sqlite.Open(path, sqlite.Options{Create: true})
		})
		require.NoError(t, err)
		e, err := engine.New(engine.Options{OpenStore: func(bool) (store.Store, error) { return st, nil }, Mechanisms: registry,
			KDF: vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1}, Node: &engine.NodeOptions{Root: s.Root(), Serial: s.Serial()}})
		require.NoError(t, err)
		if round == 0 {
			_, err = e.SetPIN(within(t), pkcs11.CKU_SO, "", made.Activation.Expose(), []byte(soPIN))
			require.NoError(t, err)
		}
		_, err = e.Login(within(t), pkcs11.CKU_SO, "", []byte(soPIN))
		require.NoError(t, err)
		key, err := pki.NewKey()
		require.NoError(t, err)
		request, err := pki.NewRequest(key, pki.Identity{Kind: pki.Client, Cluster: made.Cluster, Name: "web"}, nil)
		require.NoError(t, err)
		c, err := s.Cluster().Certify(within(t), request, "web", 0)
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		require.NoError(t, err)
		who, err := s.Identify(leaf)
		require.NoError(t, err)
		require.Equal(t, "client:web", who.Holder)
		require.NoError(t, s.Cluster().Revoke(within(t), serialNumber(leaf), 0))
		revoked = append(revoked, leaf)
		for _, cert := range revoked { // of before the restart too
			_, err = s.Identify(cert)
			require.ErrorIs(t, err, errRevoked)
		}
		list, err := s.Cluster().Certificates(within(t))
		require.NoError(t, err)
		require.Len(t, list.Certificates, len(revoked))
		_, err = s.ServerTLS()
		require.NoError(t, err)
		require.Eventually(t, func() bool { return time.Until(s.Expiries()[expiresNode]) > 300*24*time.Hour }, 20*time.Second, 10*time.Millisecond,
			"the node's own is not renewed")
		if round == 0 {
			shorten(t, s, h.host())
		}
		require.NoError(t, e.Close())
		require.NoError(t, s.Close())
	}
	_, err = Open(within(t), h.options())
	require.ErrorContains(t, err, "file")
}

func TestCreateRefusesWhatCannotBe(t *testing.T) {
	h := newMachine(t)
	for name, o := range map[string]CreateOptions{
		"no label":       {},
		"a long label":   {Label: "123456789012345678901234567890123"},
		"several lines":  {Label: "a\nb"},
		"invalid UTF-8":  {Label: "\xff"},
		"trailing bytes": {Label: "a\x00"},
	} {
		o.Node, o.Method = h.conf, h.method
		_, err := Create(within(t), o)
		require.ErrorContains(t, err, "label", name)
	}
	h.create(CreateOptions{})
	_, err := Create(within(t), CreateOptions{Node: h.conf, Method: h.method, Label: "again"})
	require.ErrorIs(t, err, ErrExists)
	nobody := newMachine(t)
	nobody.conf.PeerAdvertise = ""
	_, err = Create(within(t), CreateOptions{Node: nobody.conf, Method: nobody.method, Label: "l"})
	require.ErrorContains(t, err, "peer_advertise")
}
