package member

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
)

// seed is bootstrap.sealed: what the first start of the first node writes into the store.
type seed struct {
	Label      string    `json:"label"`
	Activation []byte    `json:"activation,omitempty"` // none: the token stays uninitialised
	Nodes      authority `json:"nodes"`
	Peers      authority `json:"peers"`
	Member     Record    `json:"member"`
	// Certificates are the clients', of a node without others: it keeps its seed.
	Certificates []certificate `json:"certificates,omitempty"`
}

const kindSeed = "bootstrap"

// Create makes the first node of a new cluster in an empty state directory. Nothing runs yet when it returns: the
// daemon's first start makes the store. Errors are sentences for an operator; ErrExists and ErrInUse among them.
func Create(ctx context.Context, o CreateOptions) (*Created, error) {
	if err := checkLabel(o.Label); err != nil {
		return nil, err
	}
	if err := checkNode(o.Node); err != nil {
		return nil, err
	}
	s, err := openState(o.Node.StateDir, true)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	id, err := s.identity()
	switch {
	case errors.Is(err, ErrNoState):
		cluster := randomHex(8)
		id = identity{Format: identityFormat, Cluster: cluster, Member: randomHex(8), Serial: serialFor(cluster),
			Label: o.Label, Store: o.Node.Store, Customer: o.CSR, Waiting: true, Created: time.Now().Unix()}
	case err != nil:
		return nil, err
	case !id.Waiting || s.has(fileRoot):
		return nil, fmt.Errorf("%w: member %s of cluster %s in %s; zeroize it first if it is to be given up", ErrExists, id.Member, id.Cluster, s.dir)
	}
	// Written first, so that a ceremony that is begun again goes on with the same identity.
	if err := s.writeJSON(fileIdentity, id); err != nil {
		return nil, err
	}
	key, err := s.key(fileNodeKey)
	if err != nil {
		return nil, err
	}
	out := &Created{Cluster: id.Cluster, Member: id.Member, Serial: id.Serial}
	who := pki.Identity{Kind: pki.Node, Cluster: id.Cluster, Name: id.Member}
	request, err := s.request(key, who, hosts(o.Node.Advertise))
	if err != nil {
		return nil, err
	}
	if id.Customer && len(o.Certificate) == 0 {
		out.Request = s.path(fileNodeCSR)
		return out, nil
	}
	id.Label = o.Label
	first := seed{Label: o.Label}
	chain, err := first.certify(request, who, key, o)
	if err != nil {
		return nil, err
	}
	if err := s.found(ctx, &id, &first, chain, o, out); err != nil {
		return nil, err
	}
	return out, nil
}

// certify makes or takes the nodes' authority, and returns this node's chain.
func (f *seed) certify(request []byte, who pki.Identity, key *ecdsa.PrivateKey, o CreateOptions) ([][]byte, error) {
	if len(o.Certificate) == 0 {
		a, err := pki.NewAuthority("Coffer cluster " + who.Cluster)
		if err != nil {
			return nil, err
		}
		if f.Nodes.Key, err = a.Marshal(); err != nil {
			return nil, err
		}
		f.Nodes.Certificates = [][]byte{a.Certificate().Raw}
		return f.Nodes.issue(request, who, hosts(o.Node.Advertise))
	}
	roots, err := pki.ParseCertificates(o.Authority)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be used: %w", err)
	}
	chain, err := pki.ParseCertificates(o.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the node's certificate cannot be used: %w", err)
	}
	pool, err := pki.Pool(roots...)
	if err != nil {
		return nil, err
	}
	if err := pki.Check(chain, pool, &key.PublicKey, who, hosts(o.Node.Advertise)); err != nil {
		return nil, err
	}
	f.Nodes.Certificates = roots
	return withRoot(chain, roots), nil
}

// withRoot appends the authority that a chain ends at, if it is not there: who joins looks for it.
func withRoot(chain, roots [][]byte) [][]byte {
	last, err := x509.ParseCertificate(chain[len(chain)-1])
	if err != nil {
		return chain
	}
	for _, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err == nil && !root.Equal(last) && last.CheckSignatureFrom(root) == nil {
			return append(chain, der)
		}
	}
	return chain
}

// found makes all that is left: the root key, the peers' authority, what the first start writes.
func (s *State) found(ctx context.Context, id *identity, first *seed, chain [][]byte, o CreateOptions, out *Created) error {
	root, err := vault.NewRoot()
	if err != nil {
		return err
	}
	defer root.Zero()
	sealed, err := custody.Seal(ctx, root, custody.Binding{Cluster: id.Cluster, Member: id.Member}, o.Method)
	if err != nil {
		return fmt.Errorf("the root key cannot be sealed: %w", err)
	}
	peers, err := pki.NewAuthority("Coffer store " + id.Cluster)
	if err != nil {
		return err
	}
	if first.Peers.Key, err = peers.Marshal(); err != nil {
		return err
	}
	first.Peers.Certificates = [][]byte{peers.Certificate().Raw}
	peerKey, err := s.key(filePeerKey)
	if err != nil {
		return err
	}
	who := pki.Identity{Kind: pki.Peer, Cluster: id.Cluster, Name: id.Member}
	request, err := pki.NewRequest(peerKey, who, hosts(o.Node.PeerAdvertise, o.Node.StoreAdvertise))
	if err != nil {
		return err
	}
	peerChain, err := first.Peers.issue(request, who, hosts(o.Node.PeerAdvertise, o.Node.StoreAdvertise))
	if err != nil {
		return err
	}
	first.Member = recordOf(o.Node, id.Member, o.Version, serialOf(peerChain[0]))
	first.Member.Vote = Voter
	if o.Node.Store != config.StoreEmbedded {
		first.Member.Vote = Standby
	}
	if !o.Open {
		out.Activation = activationCode()
		first.Activation = out.Activation.Expose()
	}
	b, err := vault.NewBarrier(root, "cluster/"+id.Cluster)
	if err != nil {
		return err
	}
	defer b.Destroy()
	bootstrap, err := first.sealWith(b, id.Cluster)
	if err != nil {
		return err
	}
	id.Waiting = false
	near := []neighbour{{ID: id.Member, Address: o.Node.Advertise, PeerAddress: o.Node.PeerAdvertise, StoreAddress: o.Node.StoreAdvertise, Votes: true}}
	out.Authority = s.path(fileNodeCA)
	out.Fingerprint = fingerprint(first.Nodes.Certificates)
	// node.json comes last: until it says that nothing is waited for, the ceremony may be begun again.
	return errors.Join(
		s.write(fileNodeCert, pki.CertificatesPEM(chain...)),
		s.write(fileNodeCA, pki.CertificatesPEM(first.Nodes.Certificates...)),
		s.write(filePeerCert, pki.CertificatesPEM(peerChain...)),
		s.write(filePeerCA, pki.CertificatesPEM(first.Peers.Certificates...)),
		s.writeRevoked(nil),
		s.writeJSON(fileMembers, near),
		s.write(fileBootstrap, bootstrap),
		s.write(fileRoot, sealed),
		s.writeJSON(fileIdentity, *id),
		s.remove(fileNodeCSR),
	)
}

func (f *seed) sealWith(b *vault.Barrier, cluster string) ([]byte, error) {
	plain, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	return b.Seal(label(kindSeed, cluster), plain)
}

func fingerprint(certs [][]byte) string {
	if len(certs) == 0 {
		return ""
	}
	c, err := x509.ParseCertificate(certs[0])
	if err != nil {
		return ""
	}
	return pki.Fingerprint(c)
}

// recordOf is a new member's record.
func recordOf(n *config.Node, id, version, peerSerial string) Record {
	return Record{ID: id, Name: n.Name, Zone: n.Zone, Address: n.Advertise, PeerAddress: n.PeerAdvertise, StoreAddress: n.StoreAdvertise,
		PeerSerial: peerSerial, Vote: Standby, Version: version, Joined: time.Now().Unix()}
}

// bootstrap writes the seed into the store, once. It may be interrupted anywhere and goes on at the next start.
func (m *Member) bootstrap(ctx context.Context) error {
	if !m.state.has(fileBootstrap) {
		return nil
	}
	first, err := m.state.seed(m.id, m.root)
	if err != nil {
		return err
	}
	defer secret.Wipe(first.Nodes.Key)
	defer secret.Wipe(first.Peers.Key)
	defer secret.Wipe(first.Activation)
	var ops []store.Op
	var compares []store.Compare
	for _, r := range []struct {
		kind, id string
		v        any
	}{{kindMember, m.id.Member, first.Member}, {kindAuthority, authorityNodes, first.Nodes}, {kindAuthority, authorityPeers, first.Peers}} {
		op, err := m.records.put(r.kind, r.id, r.v)
		if err != nil {
			return err
		}
		ops = append(ops, op)
		compares = append(compares, store.Compare{Key: op.Key})
	}
	if _, err := m.records.store.Commit(ctx, compares, ops); err != nil && !errors.Is(err, store.ErrConflict) { // a start before this one did it
		return fmt.Errorf("the cluster's first records cannot be written: %w", err)
	}
	if _, err := m.token.Get(ctx, "token"); len(first.Activation) > 0 && errors.Is(err, store.ErrNotFound) {
		if err := m.opts.Bootstrap(ctx, m.token, m.root, m.id.Serial, first.Label, first.Activation); err != nil {
			return fmt.Errorf("the token cannot be made: %w", err)
		}
	}
	return errors.Join(overwrite(m.state.path(fileBootstrap)), m.state.remove(fileBootstrap))
}

// key reads a private key, or makes it.
func (s *State) key(name string) (*ecdsa.PrivateKey, error) {
	if s.has(name) {
		b, err := s.read(name)
		if err != nil {
			return nil, err
		}
		defer secret.Wipe(b)
		return pki.ParseKey(b)
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	b, err := pki.KeyPEM(key)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	return key, s.write(name, b)
}

// serialFor is the token's serial number: the cluster's identity, as the standard writes serial numbers.
func serialFor(cluster string) string { return strings.ToUpper(cluster) }

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// activationCode is 80 random bits that a person can type: four groups of four letters and digits.
func activationCode() *secret.Bytes {
	b := make([]byte, 10)
	rand.Read(b)
	defer secret.Wipe(b)
	text := []byte(base32.NewEncoding("abcdefghjkmnpqrstuvwxyz023456789").WithPadding(base32.NoPadding).EncodeToString(b))
	defer secret.Wipe(text)
	code := make([]byte, 0, 19)
	for i := 0; i < len(text); i += 4 {
		if i > 0 {
			code = append(code, '-')
		}
		code = append(code, text[i:i+4]...)
	}
	return secret.Take(code)
}

const maxTokenLabel = 32 // bytes of CK_TOKEN_INFO.label

func checkLabel(l string) error {
	if l == "" || len(l) > maxTokenLabel || !utf8.ValidString(l) || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("the label %q is not 1 to %d bytes of text in one line; choose another with --label", l, maxTokenLabel)
	}
	return nil
}

// checkNode refuses a configuration with which no cluster can be.
func checkNode(n *config.Node) error {
	switch {
	case n.Store == config.StoreFile:
		return nil
	case n.Listen == "" || n.Advertise == "":
		return fmt.Errorf("a node of a cluster is reached by others; set listen and advertise in its configuration")
	case n.Store == config.StoreEmbedded && (n.PeerAdvertise == "" || n.StoreAdvertise == ""):
		return fmt.Errorf("a node with a copy of the store is reached by others; set peer_advertise and store_advertise in its configuration")
	}
	return nil
}

// seed opens bootstrap.sealed.
func (s *State) seed(id identity, root *secret.Bytes) (seed, error) {
	var first seed
	sealed, err := s.read(fileBootstrap)
	if err != nil {
		return first, err
	}
	b, err := vault.NewBarrier(root, "cluster/"+id.Cluster)
	if err != nil {
		return first, err
	}
	defer b.Destroy()
	plain, err := b.Open(label(kindSeed, id.Cluster), sealed)
	if err != nil {
		return first, fmt.Errorf("%s does not open: %w", s.path(fileBootstrap), err)
	}
	defer secret.Wipe(plain)
	return first, json.Unmarshal(plain, &first)
}
