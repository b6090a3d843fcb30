package member

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Single is a node without others, whose token is in one file (store = "file"): a state directory in service, and no
// more. The caller opens the file at Path.
type Single struct {
	state *State
	id    identity
	root  *secret.Bytes
	opts  Options

	seeds        sync.Mutex // over the file of the seed
	certificates atomic.Pointer[[]certificate]

	closing chan struct{}
	tasks   sync.WaitGroup
}

// OpenSingle takes the state directory into service. open opens the token's file; what the first start has to write is
// written into it.
func OpenSingle(ctx context.Context, o Options, open func(path string) (store.Store, error)) (_ *Single, _ store.Store, err error) {
	state, err := openState(o.Node.StateDir, false)
	if err != nil {
		return nil, nil, err
	}
	s := &Single{state: state, opts: o, closing: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.id, err = state.identity(); err != nil {
		return nil, nil, err
	}
	if s.id.Waiting || s.id.Store != config.StoreFile {
		return nil, nil, fmt.Errorf("this node was not made for store = \"file\", or not to the end; run coffer cluster create")
	}
	if s.root, err = state.unseal(ctx, s.id, o.Method); err != nil {
		return nil, nil, err
	}
	st, err := open(state.path(fileStore))
	if err != nil {
		return nil, nil, fmt.Errorf("the token's file cannot be opened: %w", err)
	}
	if err := s.bootstrap(ctx, st); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	s.tasks.Go(s.lookAfter)
	return s, st, nil
}

// bootstrap makes the token that is to be activated. The file with the authority stays: there is no other place for it.
func (s *Single) bootstrap(ctx context.Context, st store.Store) error {
	first, err := s.state.seed(s.id, s.root)
	if err != nil {
		return err
	}
	defer secret.Wipe(first.Activation)
	defer secret.Wipe(first.Nodes.Key)
	s.certificates.Store(&first.Certificates)
	if len(first.Activation) == 0 {
		return nil
	}
	if _, err := st.Get(ctx, "token"); errors.Is(err, store.ErrNotFound) {
		if err := s.opts.Bootstrap(ctx, st, s.root, s.id.Serial, first.Label, first.Activation); err != nil {
			return fmt.Errorf("the token cannot be made: %w", err)
		}
	}
	first.Activation = nil
	return s.writeSeed(&first)
}

func (s *Single) writeSeed(f *seed) error {
	b, err := vault.NewBarrier(s.root, "cluster/"+s.id.Cluster)
	if err != nil {
		return err
	}
	defer b.Destroy()
	sealed, err := f.sealWith(b, s.id.Cluster)
	if err != nil {
		return err
	}
	return s.state.write(fileBootstrap, sealed)
}

// changeSeed changes what the node keeps of its authority, and forgets the certificates that have expired.
func (s *Single) changeSeed(change func(*seed) error) error {
	s.seeds.Lock()
	defer s.seeds.Unlock()
	f, err := s.state.seed(s.id, s.root)
	if err != nil {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%w", err)
	}
	defer secret.Wipe(f.Nodes.Key)
	if err := change(&f); err != nil {
		return err
	}
	now := time.Now().Unix()
	f.Certificates = slices.DeleteFunc(f.Certificates, func(c certificate) bool { return c.past(now) })
	if err := s.writeSeed(&f); err != nil {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the clients' certificates cannot be written down: %w", err)
	}
	s.certificates.Store(&f.Certificates)
	return nil
}

// admits is as Member.admits.
func (s *Single) admits(cert *x509.Certificate) error {
	serial := serialNumber(cert)
	if slices.ContainsFunc(*s.certificates.Load(), func(c certificate) bool { return c.Revoked != 0 && c.Serial == serial }) {
		return errRevoked
	}
	return nil
}

// Cluster is the node's, for node.Options.
func (s *Single) Cluster() node.Cluster {
	return singleCluster{node.NewAlone(s.id.Cluster, s.opts.Version), s}
}

// Root is the root key, the Single's until Close. Serial is the token's serial number.
func (s *Single) Root() *secret.Bytes { return s.root }

// Serial is the token's serial number.
func (s *Single) Serial() string { return s.id.Serial }

// ServerTLS is as Member.ServerTLS.
func (s *Single) ServerTLS() (*tls.Config, error) { return s.state.serverTLS(s.id.Cluster, s.opts.Log) }

// Identify is as Member.Identify; there are no other nodes.
func (s *Single) Identify(cert *x509.Certificate) (node.Identity, error) {
	return identify(cert, s.id.Cluster, func(string) error { return errors.New("this node has no others beside it") }, s.admits)
}

// Close wipes the root and unlocks the state directory; the store is the caller's. It is called once.
func (s *Single) Close() error {
	close(s.closing)
	s.tasks.Wait()
	s.root.Zero()
	return s.state.Close()
}

// identify tells who shows a certificate of a cluster; member says whether a node is one of its members, client whether a
// client's certificate is good.
func identify(cert *x509.Certificate, cluster string, member func(string) error, client func(*x509.Certificate) error) (node.Identity, error) {
	if time.Now().After(cert.NotAfter) {
		return node.Identity{}, fmt.Errorf("the certificate has expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	id, err := pki.IdentityOf(cert)
	if err != nil {
		return node.Identity{}, err
	}
	switch {
	case id.Cluster != cluster:
		return node.Identity{}, fmt.Errorf("the certificate is of cluster %q", id.Cluster)
	case id.Kind == pki.Client:
		if err := client(cert); err != nil {
			return node.Identity{}, err
		}
		return node.Identity{Holder: "client:" + id.Name}, nil
	case id.Kind != pki.Node:
		return node.Identity{}, fmt.Errorf("a certificate of kind %q is not for this", id.Kind)
	}
	if err := member(id.Name); err != nil {
		return node.Identity{}, err
	}
	return node.Identity{Holder: "node:" + id.Name, Member: id.Name}, nil
}
