// Package remote puts together a token that is behind a node or a cluster: the slot's certificates and a client.
package remote

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Open returns the token of a slot that has a socket or nodes. It connects in the background.
func Open(slot config.Slot, log func(error)) (*client.Client, error) {
	options, err := optionsOf(slot, log)
	if err != nil {
		return nil, err
	}
	return client.New(options)
}

// OpenNode returns one node's own view of a slot's token, by its place among the slot's nodes. It is read-only.
func OpenNode(slot config.Slot, node int, log func(error)) (*client.Client, error) {
	options, err := optionsOf(slot, log)
	if err != nil {
		return nil, err
	}
	options.Nodes, options.Only, options.ReadOnly = slot.Nodes[node:node+1], true, true
	return client.New(options)
}

func optionsOf(slot config.Slot, log func(error)) (client.Options, error) {
	options := client.Options{Socket: slot.Socket, Nodes: slot.Nodes, Zone: slot.Zone, Timeout: slot.Timeout, Log: log}
	if len(slot.Nodes) == 0 {
		return options, nil
	}
	var err error
	options.TLS, err = certificates(slot)
	return options, err
}

// certificates reads the slot's files. They are read once for each opening: a client whose certificate was renewed takes it
// at the next C_Initialize.
func certificates(slot config.Slot) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(slot.Certificate, slot.Key)
	if err != nil {
		return nil, unreadable("certificate and key", err)
	}
	text, err := os.ReadFile(slot.CA)
	if err != nil {
		return nil, unreadable("authority", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, unreadable("authority", fmt.Errorf("%s has no certificate in PEM format", slot.CA))
	}
	id, err := pki.IdentityOf(cert.Leaf)
	if err != nil {
		return nil, unreadable("certificate", err)
	}
	return pki.ClientTLS(cert, pool, id.Cluster), nil
}

func unreadable(what string, err error) error {
	return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the client's %s cannot be used: %w", what, err)
}
