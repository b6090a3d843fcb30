package member

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"log/slog"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
)

// renewEvery is how often a node looks whether a certificate of its own is to be renewed.
const renewEvery = time.Hour

// own is a certificate of the node.
type own struct {
	kind      pki.Kind
	authority string
	cert, key string // files
	hosts     []string
}

func asNode(n *config.Node) own {
	return own{pki.Node, authorityNodes, fileNodeCert, fileNodeKey, hosts(n.Advertise)}
}

func asPeer(n *config.Node) own {
	return own{pki.Peer, authorityPeers, filePeerCert, filePeerKey, hosts(n.PeerAdvertise, n.StoreAdvertise)}
}

// signing has a request signed by the authority of a certificate. old is what the new one takes the place of, in DER; the chain
// begins with the new one.
type signing func(o own, id pki.Identity, old, request []byte) (chain [][]byte, err error)

// renew replaces a certificate in the last third of its time, where the cluster's own authority signs it; for the customer's it
// says what is to be done. The file is read at each connection.
func (s *State) renew(id identity, log *slog.Logger, o own, sign signing) {
	have, err := s.certificate(o.cert, o.key)
	if err != nil {
		log.Error("a certificate of this node cannot be read", "reason", err)
		return
	}
	leaf, err := x509.ParseCertificate(have.Certificate[0])
	if err != nil || !pki.NeedsRenewal(leaf, time.Now()) {
		return
	}
	if o.kind == pki.Node && id.Customer {
		log.Warn("this node's certificate expires; have a new one signed and put it in place", "file", s.path(o.cert), "expires", leaf.NotAfter)
		return
	}
	key, ok := have.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		log.Error("this node's private key is not on P-256", "file", s.path(o.key))
		return
	}
	name := pki.Identity{Kind: o.kind, Cluster: id.Cluster, Name: id.Member}
	request, err := pki.NewRequest(key, name, o.hosts)
	if err == nil {
		var chain [][]byte
		if chain, err = sign(o, name, have.Certificate[0], request); err == nil {
			err = s.write(o.cert, pki.CertificatesPEM(chain...))
		}
	}
	if err != nil {
		log.Error("this node's certificate was not renewed and is tried again", "file", s.path(o.cert), "expires", leaf.NotAfter, "reason", err)
		return
	}
	log.Info("this node's certificate was renewed", "file", s.path(o.cert))
}

// renewCertificates renews what has to be. The other nodes are told of a peer's new certificate before it is used.
func (m *Member) renewCertificates(ctx context.Context) {
	for _, o := range []own{asNode(m.opts.Node), asPeer(m.opts.Node)} {
		m.state.renew(m.id, m.log, o, func(o own, id pki.Identity, old, request []byte) ([][]byte, error) {
			var a authority
			if _, err := m.records.get(ctx, kindAuthority, o.authority, &a); err != nil {
				return nil, err
			}
			defer secret.Wipe(a.Key)
			chain, err := a.issue(request, id, o.hosts)
			if err != nil || o.kind != pki.Peer {
				return chain, err
			}
			return chain, m.records.change(ctx, m.id.Member, func(r *Record) bool {
				r.renewPeer(serialOf(old), serialOf(chain[0]))
				return true
			})
		})
	}
}

// renewCertificate is as Member.renewCertificates; nobody is a peer of this node.
func (s *Single) renewCertificate() {
	s.state.renew(s.id, s.opts.Log, asNode(s.opts.Node), func(o own, id pki.Identity, _, request []byte) ([][]byte, error) {
		s.seeds.Lock()
		defer s.seeds.Unlock()
		f, err := s.state.seed(s.id, s.root)
		if err != nil {
			return nil, err
		}
		defer secret.Wipe(f.Nodes.Key)
		return f.Nodes.issue(request, id, o.hosts)
	})
}

// lookAfter renews the node's certificate until Close.
func (s *Single) lookAfter() {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		s.renewCertificate()
		select {
		case <-tick.C:
		case <-s.closing:
			return
		}
	}
}
