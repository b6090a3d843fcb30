package conformance

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/release"
	hidden "github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
)

// The stacks over nodes: the machine over a client, the wire, nodes and their engines, which share one store. The nodes
// are in this process, their connections are real.
var (
	oneNode      = overNodes("node", site{nodes: 1})
	oneTLS       = overNodes("tls", site{nodes: 1, tls: true})
	threeNodes   = overNodes("three", site{nodes: 3, tls: true})
	threeOneDead = overNodes("three, one dead", site{nodes: 3, tls: true, dead: 1})
	threeKilled  = overNodes("three, killed in turn", site{nodes: 3, tls: true, every: 300 * time.Millisecond})
)

// site says what there is.
type site struct {
	nodes int
	tls   bool
	dead  int           // of the nodes, from the beginning
	every time.Duration // one after another is killed and started again
	// policy is that of the nodes, one for each; nil: roomy.
	policy func(i int) policy.Policy
}

func overNodes(name string, s site) *Stack {
	return &Stack{
		Name: name,
		Bare: func(t *testing.T) Module { return s.library(t) },
		Open: func(t *testing.T) Module {
			l := s.library(t)
			require.NoError(t, l.Initialize(nil))
			setUp(t, l)
			return l
		},
	}
}

func (s site) library(t *testing.T) *cryptoki.Library {
	c := s.start(t)
	l := cryptoki.New(cryptoki.Options{
		Version: release.Number(),
		Slots: func() ([]cryptoki.Slot, error) {
			return []cryptoki.Slot{{Description: "conformance", Open: func() (hsm.HSM, error) { return client.New(c.options) }}}, nil
		},
	})
	t.Cleanup(func() { l.Finalize(false) })
	return l
}

// nodesAtWork are the nodes of one test.
type nodesAtWork struct {
	site
	t       *testing.T
	store   store.Store
	root    *hidden.Bytes
	ca      *pki.Authority
	pool    *x509.CertPool
	members *wire.MemberList
	options client.Options
	servers []*nodeAtWork
}

type nodeAtWork struct {
	host    string // of TLS
	address string // host:port, or a path
	server  *node.Server
	engine  *engine.Engine
}

// among is the Cluster of a node that has others beside it.
type among struct {
	*node.Alone
	self    int
	members *wire.MemberList
}

func (w among) Self() *wire.Member        { return w.members.Members[w.self] }
func (w among) Members() *wire.MemberList { return w.members }

const clusterID = "conformance"

func (s site) start(t *testing.T) *nodesAtWork {
	t.Helper()
	c := &nodesAtWork{site: s, t: t, store: kept{mem.New()}, members: &wire.MemberList{Version: 1}}
	var err error
	c.root, err = vault.NewRoot()
	require.NoError(t, err)
	c.ca, err = pki.NewAuthority("conformance")
	require.NoError(t, err)
	c.pool, err = pki.Pool(c.ca.Certificate().Raw)
	require.NoError(t, err)
	// Making the trees of an HSS key takes seconds, begins anew when its node is killed, and the machine has other work.
	c.options.Timeout = 2 * time.Minute
	for i := range s.nodes {
		n := &nodeAtWork{}
		c.servers = append(c.servers, n)
		if s.tls {
			n.host = loopback()
			n.address = net.JoinHostPort(n.host, "2223")
			c.options.Nodes = append(c.options.Nodes, n.address)
		} else {
			dir, err := os.MkdirTemp("", "coffer") // a socket's path is short
			require.NoError(t, err)
			t.Cleanup(func() { os.RemoveAll(dir) })
			n.address = filepath.Join(dir, "s")
			c.options.Socket = n.address
		}
		c.members.Members = append(c.members.Members, &wire.Member{Id: fmt.Sprintf("n%d", i), Name: fmt.Sprintf("n%d", i), Alive: true})
		if s.tls {
			c.members.Members[i].Address = n.address
		}
	}
	if s.tls {
		c.options.TLS = pki.ClientTLS(c.certificate(pki.Identity{Kind: pki.Client, Cluster: clusterID, Name: "tests"}, nil), c.pool, clusterID)
	}
	for i := range c.servers[s.dead:] {
		c.up(s.dead + i)
	}
	stop := make(chan struct{})
	var killer sync.WaitGroup
	if s.every > 0 {
		killer.Go(func() { c.kill(stop) })
	}
	t.Cleanup(func() {
		close(stop)
		killer.Wait()
		for i := range c.servers {
			c.down(i)
		}
	})
	return c
}

// loopback returns an address of this machine that nobody else uses. With one of its own a node comes back at the same
// address and port; at 127.0.0.1 an outgoing connection might have got the port meanwhile.
func loopback() string {
	var b [3]byte
	rand.Read(b[:])
	return net.IPv4(127, b[0]&0x7f|1, b[1], b[2]|1).String()
}

func (c *nodesAtWork) certificate(id pki.Identity, hosts []string) tls.Certificate {
	key, err := pki.NewKey()
	require.NoError(c.t, err)
	request, err := pki.NewRequest(key, id, nil)
	require.NoError(c.t, err)
	der, err := c.ca.Issue(request, id, hosts, time.Hour)
	require.NoError(c.t, err)
	return tls.Certificate{Certificate: [][]byte{der, c.ca.Certificate().Raw}, PrivateKey: key}
}

// up starts a node.
func (c *nodesAtWork) up(i int) {
	n := c.servers[i]
	registry, err := all.Registry()
	require.NoError(c.t, err)
	n.engine, err = engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return c.store, nil },
		Mechanisms: registry, Policy: c.policyOf(i), KDF: cheap,
		Node: &engine.NodeOptions{Root: c.root, Serial: "0123456789ABCDEF", CredentialLifetime: time.Minute},
	})
	require.NoError(c.t, err)
	n.server, err = node.New(node.Options{
		HSM: n.engine, Version: "tests", CredentialLifetime: time.Minute,
		Cluster: among{node.NewAlone(clusterID, "tests"), i, c.members},
		Identify: func(cert *x509.Certificate) (node.Identity, error) {
			id, err := pki.IdentityOf(cert)
			return node.Identity{Holder: "client:" + id.Name}, err
		},
	})
	require.NoError(c.t, err)
	if !c.tls {
		os.Remove(n.address)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: n.address, Net: "unix"})
		require.NoError(c.t, err)
		go n.server.ServeUnix(l, node.Peers{})
		return
	}
	l, err := net.Listen("tcp", n.address)
	require.NoError(c.t, err)
	cert := c.certificate(pki.Identity{Kind: pki.Node, Cluster: clusterID, Name: fmt.Sprintf("n%d", i)}, []string{n.host})
	go n.server.ServeTLS(l, pki.ServerTLS(cert, c.pool, clusterID))
}

func (c *nodesAtWork) policyOf(i int) policy.Policy {
	if c.policy == nil {
		return roomy
	}
	return c.policy(i)
}

// down cuts a node's connections, in the middle of whatever it does.
func (c *nodesAtWork) down(i int) {
	if n := c.servers[i]; n.server != nil {
		n.server.Close()
		n.engine.Close()
		n.server = nil
	}
}

// kill takes one node after another away and brings it back.
func (c *nodesAtWork) kill(stop chan struct{}) {
	var first [1]byte
	rand.Read(first[:])
	for i := int(first[0]); ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(c.every):
		}
		c.down(i % c.nodes)
		c.up(i % c.nodes)
	}
}
