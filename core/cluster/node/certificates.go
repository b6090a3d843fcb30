package node

import "github.com/coffer-hsm/coffer/core/cluster/wire"

// The clients' certificates.

func certificates(c *call, _ *wire.Request_Certificates) error {
	m, err := c.stream.opts.Cluster.Certificates(c.ctx)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Certificates{Certificates: m}})
}

func revokeCertificate(c *call, b *wire.Request_RevokeCertificate) error {
	return c.stream.opts.Cluster.Revoke(c.ctx, b.RevokeCertificate.GetSerial(), b.RevokeCertificate.GetExpires())
}
