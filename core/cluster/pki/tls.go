package pki

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// ServerTLS is a node's: whoever shows a certificate of these authorities must be a node or a client of this cluster.
// Who shows none may join and nothing else, which is the server's business.
func ServerTLS(cert tls.Certificate, authorities *x509.CertPool, cluster string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: authorities, ClientAuth: tls.VerifyClientCertIfGiven,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			return demand(s, cluster, Node, Client)
		},
	}
}

// ClientTLS is for who connects to nodes, with a client's or a node's own certificate: only a node of these authorities is
// spoken to, and if cluster is not empty, only one of this cluster.
func ClientTLS(cert tls.Certificate, authorities *x509.CertPool, cluster string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: authorities,
		VerifyConnection: func(s tls.ConnectionState) error { return demand(s, cluster, Node) },
	}
}

// PeerTLS is for both ends of the store's connections.
func PeerTLS(cert tls.Certificate, authority *x509.CertPool, cluster string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: authority, ClientCAs: authority,
		ClientAuth:       tls.RequireAndVerifyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error { return demand(s, cluster, Peer) },
	}
}

func demand(s tls.ConnectionState, cluster string, kinds ...Kind) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("no certificate was shown")
	}
	id, err := IdentityOf(s.PeerCertificates[0])
	switch {
	case err != nil:
		return err
	case !slices.Contains(kinds, id.Kind):
		return fmt.Errorf("the certificate is that of a %s", id.Kind)
	case cluster != "" && id.Cluster != cluster:
		return fmt.Errorf("the certificate is of cluster %q", id.Cluster)
	}
	return nil
}

// JoinTLS is for a machine without a certificate: it speaks to a node whose chain holds the authority of that SHA-256,
// whatever the node's host is called.
func JoinTLS(fingerprint [sha256.Size]byte, cluster string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The chain is verified below, against the one authority that the invitation names instead of the system's.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates {
				sum := sha256.Sum256(c.Raw)
				if subtle.ConstantTimeCompare(sum[:], fingerprint[:]) != 1 {
					continue
				}
				roots, middle := x509.NewCertPool(), x509.NewCertPool()
				roots.AddCert(c)
				for _, m := range s.PeerCertificates[1:] {
					middle.AddCert(m)
				}
				if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle,
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
					return err
				}
				return demand(s, cluster, Node)
			}
			return errors.New("the node's certificate is not from the authority that the invitation names")
		},
	}
}
