// Package pki is who is who in a cluster: the authorities, the certificates of nodes, clients and the store's peers, what
// each may be used for, and how a new machine proves its invitation and receives the root key.
//
// Two authorities have nothing to do with each other: one signs nodes and clients, the other the peers of the store. A
// certificate says by a URI what its holder is, so that a client's certificate never passes for a node's, nor one of
// another cluster for one of this.
package pki

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// Kind is what a certificate's holder is.
type Kind string

// The kinds.
const (
	Node   Kind = "node"
	Client Kind = "client"
	Peer   Kind = "peer" // of the store
)

// Identity is who a certificate is for. As a URI: coffer:node:CLUSTER/NAME.
type Identity struct {
	Kind    Kind
	Cluster string
	Name    string // a member's identity, or a client's name
}

const scheme = "coffer"

// maxName bounds the parts of an identity, in bytes.
const maxName = 64

func (id Identity) String() string {
	return scheme + ":" + string(id.Kind) + ":" + id.Cluster + "/" + id.Name
}

func (id Identity) uri() (*url.URL, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: scheme, Opaque: string(id.Kind) + ":" + id.Cluster + "/" + id.Name}, nil
}

func (id Identity) check() error {
	switch id.Kind {
	case Node, Client, Peer:
	default:
		return fmt.Errorf("%q is no kind of certificate", id.Kind)
	}
	for _, s := range []string{id.Cluster, id.Name} {
		if s == "" || len(s) > maxName || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
			return fmt.Errorf("%q cannot be in a certificate; use 1 to %d letters, digits, dots, hyphens and underscores", s, maxName)
		}
	}
	return nil
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r)
}

// IdentityOf reads who a certificate is for. It must have been verified.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var found []Identity
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		kind, rest, ok1 := strings.Cut(u.Opaque, ":")
		cluster, name, ok2 := strings.Cut(rest, "/")
		id := Identity{Kind(kind), cluster, name}
		// The whole URI is compared, so that nothing hides in a query or a fragment.
		if !ok1 || !ok2 || id.check() != nil || u.String() != id.String() {
			return Identity{}, fmt.Errorf("the certificate's URI %q is not one of Coffer's", u)
		}
		found = append(found, id)
	}
	if len(found) != 1 {
		return Identity{}, fmt.Errorf("the certificate of %q has %d URIs of Coffer's, and must have one", cert.Subject.CommonName, len(found))
	}
	return found[0], nil
}
