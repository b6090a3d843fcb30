package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Check verifies a chain (DER, leaf first) that another authority has signed: for this key and identity, good for all
// hosts and uses, and now.
func Check(chain [][]byte, roots *x509.CertPool, key *ecdsa.PublicKey, id Identity, hosts []string) error {
	if len(chain) == 0 {
		return errors.New("there is no certificate")
	}
	var certs []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("the certificate cannot be read: %w", err)
		}
		certs = append(certs, c)
	}
	leaf := certs[0]
	if leaf.IsCA {
		return errors.New("the first certificate is an authority's; put the node's own first, and then those that lead to the authority")
	}
	if !key.Equal(leaf.PublicKey) {
		return errors.New("the certificate is for another key; sign the request that this command has written")
	}
	if got, err := IdentityOf(leaf); err != nil || got != id {
		return fmt.Errorf("the certificate is not for %s; have the authority copy the request's extensions into it", id)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("the certificate's key may not sign, and TLS needs that; have the authority add digitalSignature to its key usage")
	}
	middle := x509.NewCertPool()
	for _, c := range certs[1:] {
		middle.AddCert(c)
	}
	for _, usage := range usages[id.Kind] {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			return fmt.Errorf("the certificate is not good for use as a %s: %w", usageNames[usage], err)
		}
	}
	for _, h := range hosts {
		if err := leaf.VerifyHostname(h); err != nil {
			return fmt.Errorf("the certificate does not name this node's host: %w", err)
		}
	}
	return nil
}

var usageNames = map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server", x509.ExtKeyUsageClientAuth: "client"}

// NeedsRenewal reports whether less than a third of a certificate's time is left.
func NeedsRenewal(cert *x509.Certificate, now time.Time) bool {
	return now.After(cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3))
}
