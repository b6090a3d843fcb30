package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/url"
)

// usages are what the kinds of certificates may be used for. A node calls other nodes and a peer other peers, so both are
// servers and clients.
var usages = map[Kind][]x509.ExtKeyUsage{
	Node:   {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	Peer:   {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	Client: {x509.ExtKeyUsageClientAuth},
}

// NewRequest makes a certificate request (DER) for an identity at some hosts: names or addresses. It asks for all that the
// certificate needs, so that an authority of somebody else's has only to copy its extensions.
func NewRequest(key *ecdsa.PrivateKey, id Identity, hosts []string) ([]byte, error) {
	uri, err := id.uri()
	if err != nil {
		return nil, err
	}
	extensions, err := requestedUse(id.Kind)
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: id.Name, OrganizationalUnit: []string{string(id.Kind)}},
		URIs: []*url.URL{uri}, ExtraExtensions: extensions}
	template.DNSNames, template.IPAddresses = namesAndAddresses(hosts)
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}

// ParseRequest checks a request: its own signature, and that its key is on P-256.
func ParseRequest(der []byte) (*x509.CertificateRequest, *ecdsa.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate request cannot be read: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, nil, errors.New("the certificate request is not for a key on P-256")
	}
	return r, key, nil
}

// namesAndAddresses sorts hosts by what a certificate has them as.
func namesAndAddresses(hosts []string) (names []string, addresses []net.IP) {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, h)
		}
	}
	return names, addresses
}

// The extensions by which a certificate says what its key may do (RFC 5280, 4.2.1.3 and 4.2.1.12).
var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

	oidsOfUsage = map[x509.ExtKeyUsage]asn1.ObjectIdentifier{
		x509.ExtKeyUsageServerAuth: {1, 3, 6, 1, 5, 5, 7, 3, 1},
		x509.ExtKeyUsageClientAuth: {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
)

// requestedUse is what a request asks for: digitalSignature, and the usages of the kind.
func requestedUse(kind Kind) ([]pkix.Extension, error) {
	sign, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})
	if err != nil {
		return nil, err
	}
	var oids []asn1.ObjectIdentifier
	for _, usage := range usages[kind] {
		oids = append(oids, oidsOfUsage[usage])
	}
	extended, err := asn1.Marshal(oids)
	if err != nil {
		return nil, err
	}
	return []pkix.Extension{{Id: oidKeyUsage, Critical: true, Value: sign}, {Id: oidExtendedKeyUsage, Value: extended}}, nil
}
