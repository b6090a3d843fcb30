package member

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The authorities' names as records.
const (
	authorityNodes = "node" // signs nodes and clients; there is none where the customer's own does
	authorityPeers = "peer" // signs the store's peers
)

// authority is the record of one.
type authority struct {
	// Sealed is pki's form with the private key; empty where the key is the customer's.
	Key []byte `json:"key,omitempty"`
	// Certificates are DER: all that certificates are trusted by.
	Certificates [][]byte `json:"certificates"`
}

func (a authority) open() (*pki.Authority, error) {
	if len(a.Key) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the customer's own authority signs the nodes of this cluster: bring a certificate")
	}
	return pki.ParseAuthority(a.Key)
}

// hosts are what a node is called at these addresses.
func hosts(addresses ...string) []string {
	var out []string
	for _, a := range addresses {
		if h, _, err := net.SplitHostPort(a); err == nil && h != "" && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// certificate reads a certificate with its key.
func (s *State) certificate(cert, key string) (*tls.Certificate, error) {
	chain, err := s.read(cert)
	if err != nil {
		return nil, fmt.Errorf("this node's certificate cannot be read: %w; put it back from a backup, or zeroize this node and join again", err)
	}
	k, err := s.read(key)
	if err != nil {
		return nil, fmt.Errorf("this node's private key cannot be read: %w; put it back from a backup, or zeroize this node and join again", err)
	}
	defer secret.Wipe(k)
	c, err := tls.X509KeyPair(chain, k)
	if err != nil {
		return nil, fmt.Errorf("%s and %s do not fit: %w", s.path(cert), s.path(key), err)
	}
	return &c, nil
}

func (s *State) pool(name string) (*x509.CertPool, error) {
	b, err := s.read(name)
	if err != nil {
		return nil, fmt.Errorf("the authorities' certificates cannot be read: %w; put them back from a backup", err)
	}
	certs, err := pki.ParseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(name), err)
	}
	return pki.Pool(certs...)
}

// storeTLS is for the client of the store. The certificate is read again for each connection, for it may have been renewed.
func (m *Member) storeTLS() (*tls.Config, error) {
	cert, err := m.state.certificate(filePeerCert, filePeerKey)
	if err != nil {
		return nil, err
	}
	roots, err := m.state.pool(filePeerCA)
	if err != nil {
		return nil, err
	}
	conf := pki.PeerTLS(*cert, roots, m.id.Cluster)
	conf.Certificates = nil
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return m.state.certificate(filePeerCert, filePeerKey)
	}
	return conf, nil
}

// externalTLS is for an etcd that somebody else runs.
func externalTLS(n *config.Node) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(n.EtcdCertificate, n.EtcdKey)
	if err != nil {
		return nil, fmt.Errorf("the certificate for etcd cannot be used: %w; check etcd_certificate and etcd_key", err)
	}
	ca, err := os.ReadFile(n.EtcdCA)
	if err != nil {
		return nil, fmt.Errorf("the authority of etcd cannot be read: %w; check etcd_ca", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate in PEM format; check etcd_ca", n.EtcdCA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: roots}, nil
}

// ServerTLS is for node.Server.ServeTLS. What is in the state directory is read again for each connection.
func (m *Member) ServerTLS() (*tls.Config, error) { return m.state.serverTLS(m.id.Cluster, m.log) }

func (s *State) serverTLS(cluster string, log *slog.Logger) (*tls.Config, error) {
	build := func() (*tls.Config, error) {
		cert, err := s.certificate(fileNodeCert, fileNodeKey)
		if err != nil {
			return nil, err
		}
		roots, err := s.pool(fileNodeCA)
		if err != nil {
			return nil, err
		}
		return pki.ServerTLS(*cert, roots, cluster), nil
	}
	conf, err := build()
	if err != nil {
		return nil, err
	}
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		fresh, err := build()
		if err != nil {
			log.Error("a connection was refused", "reason", err)
			return nil, err
		}
		fresh.NextProtos = []string{"h2"}
		return fresh, nil
	}
	return conf, nil
}

// peerTLS is for calling another node: nobody else may answer.
func (m *Member) peerTLS(id string) (*tls.Config, error) {
	cert, err := m.state.certificate(fileNodeCert, fileNodeKey)
	if err != nil {
		return nil, err
	}
	roots, err := m.state.pool(fileNodeCA)
	if err != nil {
		return nil, err
	}
	conf := pki.ClientTLS(*cert, roots, m.id.Cluster)
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return m.state.certificate(fileNodeCert, fileNodeKey)
	}
	isNode := conf.VerifyConnection
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		if err := isNode(s); err != nil {
			return err
		}
		got, err := pki.IdentityOf(s.PeerCertificates[0])
		if err == nil && got.Name != id {
			err = fmt.Errorf("member %s answers where member %s is expected", got.Name, id)
		}
		return err
	}
	return conf, nil
}

// Identify tells who shows a certificate, for node.Options.Identify: a node must be a member now, and a client's
// certificate not revoked.
func (m *Member) Identify(cert *x509.Certificate) (node.Identity, error) {
	return identify(cert, m.id.Cluster, func(id string) error {
		_, ok, err := m.records.member(context.Background(), id)
		if err == nil && !ok {
			err = fmt.Errorf("member %s was removed from the cluster", id)
		}
		return err
	}, m.admits)
}

// issue signs a request. The chain ends with the authority itself: a machine that joins knows no more than its digest.
func (a authority) issue(request []byte, id pki.Identity, at []string) ([][]byte, error) {
	signer, err := a.open()
	if err != nil {
		return nil, err
	}
	leaf, err := signer.Issue(request, id, at, pki.LeafLifetime)
	if err != nil {
		return nil, err
	}
	return [][]byte{leaf, bytes.Clone(signer.Certificate().Raw)}, nil // that one is a part of a.Key, which the caller wipes
}

func serialOf(der []byte) string {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(c.SerialNumber.Bytes())
}

// ensureRevocations makes sure that there is a list of revocations, without which the store's listeners let nobody in.
func (m *Member) ensureRevocations() error {
	if m.state.has(fileRevoked) {
		return nil
	}
	return m.state.writeRevoked(nil)
}

// writeRevocations writes the serial numbers of the removed peers for the store's listeners, which look at each
// connection. It also forgets those that have expired.
func (m *Member) writeRevocations(ctx context.Context) error {
	if m.id.Store != config.StoreEmbedded {
		return nil
	}
	generation := m.cluster.Changed()
	if m.revokedAt == generation+1 {
		return nil
	}
	list, err := every[revocation](ctx, m.records, kindRevoked)
	if err != nil {
		return err
	}
	serials := make([]string, 0, len(list))
	for _, r := range list {
		serials = append(serials, r.Serial)
	}
	slices.Sort(serials)
	if err := m.state.writeRevoked(serials); err != nil {
		return err
	}
	m.revokedAt = generation + 1
	return nil
}

// writeRevoked writes a CRL (RFC 5280). Its readers are this machine's own listeners, which read it for the serial numbers
// and do not look at who signed it, so a key that is thrown away signs it.
func (s *State) writeRevoked(serials []string) error {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().AddDate(10, 0, 0)}
	for _, hexed := range serials {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			return err
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: new(big.Int).SetBytes(b), RevocationTime: time.Now()})
	}
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "removed peers"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer, key)
	if err != nil {
		return err
	}
	if have, err := s.read(fileRevoked); err == nil && bytes.Equal(have, der) {
		return nil
	}
	return s.write(fileRevoked, der)
}

// errMissing tells a record that a cluster must have.
func errMissing(what string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%s is not in the store: %w", what, err)
	}
	return err
}
