package client

import (
	"context"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Certify has the cluster's authority sign a certificate request (DER) for a client of that name, for an administrator.
// Lifetime 0: a year.
func (c *Client) Certify(ctx context.Context, cred hsm.Credential, request []byte, name string, lifetime time.Duration) (*wire.Certified, error) {
	if err := checkText("the client's name", name); err != nil {
		return nil, err
	}
	if lifetime < 0 || lifetime > 1<<31*time.Second {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "a certificate cannot be good for %v", lifetime)
	}
	if err := c.mayChange(); err != nil {
		return nil, err
	}
	// Sent again it signs a second certificate for the same key and name, which gives nobody anything more.
	r, err := c.ask(ctx, pure, cred, &wire.Request{Body: &wire.Request_Certify{Certify: &wire.Certify{
		Csr: request, Name: name, LifetimeS: uint32(lifetime / time.Second)}}})
	if err != nil {
		return nil, err
	}
	if len(r.GetCertified().GetCertificate()) == 0 {
		return nil, unexpected(r)
	}
	return r.GetCertified(), nil
}

// Certificates lists the clients' certificates that the cluster has signed, and those that were revoked, for an
// administrator.
func (c *Client) Certificates(ctx context.Context, cred hsm.Credential) ([]*wire.ClientCertificate, error) {
	r, err := c.ask(ctx, pure, cred, &wire.Request{Body: &wire.Request_Certificates{Certificates: &wire.Certificates{}}})
	if err != nil {
		return nil, err
	}
	if r.GetCertificates() == nil {
		return nil, unexpected(r)
	}
	return r.GetCertificates().GetCertificates(), nil
}

// RevokeCertificate has all nodes refuse a client's certificate. The serial number is in lower-case hex; expires, if it is
// not zero, counts for a certificate that the cluster has not signed.
func (c *Client) RevokeCertificate(ctx context.Context, cred hsm.Credential, serial string, expires time.Time) error {
	if err := checkText("the serial number", serial); err != nil {
		return err
	}
	m := &wire.RevokeCertificate{Serial: serial}
	if !expires.IsZero() {
		m.Expires = expires.Unix()
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_RevokeCertificate{RevokeCertificate: m}})
}
