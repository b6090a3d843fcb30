package member

import (
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/store/etcd"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// etcdOfTheirs is an etcd that somebody else runs, and how to reach it.
func etcdOfTheirs(t *testing.T, conf *config.Node) {
	dir := t.TempDir()
	s := &State{dir: dir}
	ca, err := pki.NewAuthority("etcd")
	require.NoError(t, err)
	key, err := s.key("key.pem")
	require.NoError(t, err)
	id := pki.Identity{Kind: pki.Peer, Cluster: "etcd", Name: "etcd"}
	request, err := pki.NewRequest(key, id, nil)
	require.NoError(t, err)
	der, err := ca.Issue(request, id, []string{"127.0.0.1"}, time.Hour)
	require.NoError(t, err)
	require.NoError(t, s.write("cert.pem", pki.CertificatesPEM(der)))
	require.NoError(t, s.write("ca.pem", pki.CertificatesPEM(ca.Certificate().Raw)))
	conf.EtcdCA, conf.EtcdCertificate, conf.EtcdKey = s.path("ca.pem"), s.path("cert.pem"), s.path("key.pem")

	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "data")
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ClientTLSInfo = transport.TLSInfo{CertFile: conf.EtcdCertificate, KeyFile: conf.EtcdKey, TrustedCAFile: conf.EtcdCA,
		ClientCertAuth: true, SkipClientSANVerify: true}
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 20, 300, true
	c.MaxTxnOps, c.MaxRequestBytes = etcd.MaxTxnOps, etcd.MaxRequestBytes
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(c)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(patience):
		t.Fatal("etcd is not ready")
	}
	conf.EtcdEndpoints = []string{e.Clients[0].Addr().String()}
}

func TestClusterOnAnEtcdOfSomebodyElses(t *testing.T) {
	t.Parallel()
	a, b := newMachine(t), newMachine(t)
	etcdOfTheirs(t, a.conf)
	for _, h := range []*machine{a, b} {
		c := *a.conf
		c.Name, c.StateDir, c.Listen, c.Advertise = h.conf.Name, h.conf.StateDir, h.conf.Listen, h.conf.Advertise
		c.Store, c.PeerListen, c.PeerAdvertise, c.StoreListen, c.StoreAdvertise = config.StoreExternal, "", "", "", ""
		h.conf = &c
	}
	made := a.create(CreateOptions{})
	a.start()
	cred, err := a.engine.SetPIN(within(t), pkcs11.CKU_SO, "", made.Activation.Expose(), []byte(soPIN))
	require.NoError(t, err)
	require.NoError(t, a.engine.InitPIN(within(t), cred, []byte(userPIN)))
	inv, err := a.m.Invite(within(t), time.Minute)
	require.NoError(t, err)
	b.join(inv.Token)
	b.start()
	a.eventually("both are alive", func() bool {
		alive := 0
		for _, w := range a.m.Members().Members {
			if w.Alive {
				alive++
			}
		}
		return alive == 2
	})
	id := a.generate(a.user()).ID()
	require.True(t, b.holds(id))
	require.NoError(t, b.sign(b.user(), id))
	b.eventually("one of them does what one does for all", func() bool { return a.m.Leads() != b.m.Leads() })
	require.NoError(t, a.m.Ready())
	require.Contains(t, a.m.Expiries(), "etcd")
	require.Nil(t, a.m.Size())
	require.NoError(t, a.m.Remove(within(t), b.m.id.Member))
	<-b.m.Removed()
	require.Nil(t, b.m.server.Load(), "nobody embeds a store")
}
