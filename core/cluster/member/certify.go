package member

import (
	"context"
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
	if err == nil {
		m.log.Info("a client's certificate was signed", "client", name)
	}
	return c, err
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
	first, err := c.single.state.seed(c.single.id, c.single.root)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%w", err)
	}
	return first.Nodes.certify(c.single.id.Cluster, request, name, lifetime)
}
