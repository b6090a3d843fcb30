package member

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Certify implements node.Cluster.
func (m *Member) Certify(ctx context.Context, request []byte, name string, lifetime time.Duration) (*wire.Certified, error) {
	var nodes authority
	if _, err := m.records.get(ctx, kindAuthority, authorityNodes, &nodes); err != nil {
		return nil, unavailable(errMissing("the nodes' authority", err))
	}
	c, err := nodes.certify(m.id.Cluster, request, name, lifetime)
	if err != nil {
		return nil, err
	}
	kept, err := remembered(c.Certificate[0], name, m.opts.Now())
	if err != nil {
		return nil, err
	}
	if err := m.remember(ctx, kept); err != nil {
		return nil, err
	}
	m.log.Info("a client's certificate was signed", "client", name, "serial", kept.Serial)
	return c, nil
}

// certify signs a client's request, and wipes the authority's key.
func (a authority) certify(cluster string, request []byte, name string, lifetime time.Duration) (*wire.Certified, error) {
	defer secret.Wipe(a.Key)
	signer, err := a.open()
	if err != nil {
		return nil, err
	}
	if lifetime <= 0 {
		lifetime = pki.LeafLifetime
	}
	der, err := signer.Issue(request, pki.Identity{Kind: pki.Client, Cluster: cluster, Name: name}, nil, lifetime)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", err)
	}
	return &wire.Certified{Certificate: [][]byte{der}, Authority: a.Certificates}, nil
}

// singleCluster is the cluster of a node without others, which has an authority of its own.
type singleCluster struct {
	*node.Alone
	single *Single
}

// Certify implements node.Cluster.
func (c singleCluster) Certify(_ context.Context, request []byte, name string, lifetime time.Duration) (*wire.Certified, error) {
	var out *wire.Certified
	err := c.single.changeSeed(func(f *seed) (err error) {
		signer := f.Nodes
		signer.Key = bytes.Clone(signer.Key) // certify wipes it, and the seed is written again
		if out, err = signer.certify(c.single.id.Cluster, request, name, lifetime); err != nil {
			return err
		}
		kept, err := remembered(out.Certificate[0], name, time.Now())
		f.Certificates = append(f.Certificates, kept)
		return err
	})
	return out, err
}

// Certificates implements node.Cluster.
func (c singleCluster) Certificates(context.Context) (*wire.CertificateList, error) {
	return certificateList(slices.Clone(*c.single.certificates.Load())), nil
}

// Revoke implements node.Cluster.
func (c singleCluster) Revoke(_ context.Context, serial string, expires int64) error {
	return c.single.changeSeed(func(f *seed) error {
		i := slices.IndexFunc(f.Certificates, func(k certificate) bool { return k.Serial == serial })
		if i < 0 {
			f.Certificates = append(f.Certificates, certificate{})
			i = len(f.Certificates) - 1
		}
		next, _, err := f.Certificates[i].revoke(serial, expires, time.Now())
		f.Certificates[i] = next
		return err
	})
}
