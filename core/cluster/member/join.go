package member

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// joinWithin is how long one node is waited for.
const joinWithin = 30 * time.Second

// Join makes this machine a member of a cluster, in an empty state directory: it shows the invitation to one of the
// cluster's nodes and gets its certificates and the root key. Nothing runs yet when it returns: the daemon is started
// next. An invitation is used up by the first node that accepts it. Errors are sentences for an operator; ErrExists and
// ErrInUse among them.
func Join(ctx context.Context, o JoinOptions) (*Joined, error) {
	if err := checkNode(o.Node); err != nil {
		return nil, err
	}
	inv, err := pki.ParseInvitation(o.Token)
	if err != nil {
		return nil, err
	}
	defer inv.Secret.Zero()
	s, err := openState(o.Node.StateDir, true)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	id, err := s.identity()
	switch {
	case errors.Is(err, ErrNoState):
		id = identity{Format: identityFormat, Cluster: inv.Cluster, Member: randomHex(8), Serial: serialFor(inv.Cluster), Store: o.Node.Store,
			Customer: o.CSR, Waiting: true, Created: time.Now().Unix()}
	case err != nil:
		return nil, err
	case !id.Waiting || s.has(fileRoot):
		return nil, fmt.Errorf("%w: member %s of cluster %s in %s; zeroize it first if it is to be given up", ErrExists, id.Member, id.Cluster, s.dir)
	case id.Cluster != inv.Cluster:
		return nil, fmt.Errorf("the state directory %s waits to join cluster %s, and the invitation is of %s; zeroize it first", s.dir, id.Cluster, inv.Cluster)
	}
	// Written first, so that a ceremony that is begun again goes on with the same identity.
	if err := s.writeJSON(fileIdentity, id); err != nil {
		return nil, err
	}
	key, err := s.key(fileNodeKey)
	if err != nil {
		return nil, err
	}
	who := pki.Identity{Kind: pki.Node, Cluster: id.Cluster, Name: id.Member}
	request, err := s.request(key, who, hosts(o.Node.Advertise))
	if err != nil {
		return nil, err
	}
	out := &Joined{Cluster: id.Cluster, Member: id.Member}
	if id.Customer && len(o.Certificate) == 0 {
		out.Request = s.path(fileNodeCSR)
		return out, nil
	}
	if time.Now().After(inv.Expires) {
		return nil, fmt.Errorf("the invitation expired at %s by this machine's clock; ask an administrator for a new one", inv.Expires.UTC().Format(time.RFC3339))
	}
	j := &joiner{options: o, state: s, id: id, invitation: inv, key: key, request: request, log: logger(o.Log)}
	return out, j.join(ctx, out)
}

// request returns the certificate request that lies in the state directory, or makes it: a customer's authority may have
// seen it already.
func (s *State) request(key *ecdsa.PrivateKey, who pki.Identity, at []string) ([]byte, error) {
	if b, err := s.read(fileNodeCSR); err == nil {
		if block, _ := pem.Decode(b); block != nil {
			return block.Bytes, nil
		}
	}
	request, err := pki.NewRequest(key, who, at)
	if err != nil {
		return nil, err
	}
	return request, s.write(fileNodeCSR, requestPEM(request))
}

func requestPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// joiner is one Join under way.
type joiner struct {
	options    JoinOptions
	state      *State
	id         identity
	invitation *pki.Invitation
	key        *ecdsa.PrivateKey
	request    []byte
	log        interface{ Info(string, ...any) }
}

func (j *joiner) join(ctx context.Context, out *Joined) error {
	n := j.options.Node
	peerKey, err := j.state.key(filePeerKey)
	if err != nil {
		return err
	}
	peer := pki.Identity{Kind: pki.Peer, Cluster: j.id.Cluster, Name: j.id.Member}
	peerRequest, err := pki.NewRequest(peerKey, peer, hosts(n.PeerAdvertise, n.StoreAdvertise))
	if err != nil {
		return err
	}
	q := &wire.JoinRequest{
		Invitation: j.invitation.ID, NodeCsr: j.request, PeerCsr: peerRequest, Name: n.Name, Zone: n.Zone,
		Address: n.Advertise, PeerAddress: n.PeerAdvertise, StoreAddress: n.StoreAdvertise, Version: j.options.Version,
		Proof: pki.Proof(j.invitation.Secret, j.request, peerRequest),
	}
	if len(j.options.Certificate) > 0 {
		chain, err := pki.ParseCertificates(j.options.Certificate)
		if err != nil {
			return fmt.Errorf("the node's certificate cannot be used: %w", err)
		}
		q.NodeCertificate = slices.Concat(chain...)
	}
	r, err := j.ask(ctx, q)
	if err != nil {
		return err
	}
	return j.settle(ctx, r, out)
}

// ask goes through the nodes until one answers.
func (j *joiner) ask(ctx context.Context, q *wire.JoinRequest) (*wire.JoinReply, error) {
	var failures []error
	for _, address := range slices.Concat(j.options.Addresses, j.invitation.Addresses) {
		j.log.Info("asking a node to let this machine in", "node", address)
		r, err := j.askOne(ctx, address, q)
		if err == nil {
			return r, nil
		}
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.InvalidArgument {
			return nil, fmt.Errorf("%s refused: %s", address, status.Convert(err).Message())
		}
		failures = append(failures, fmt.Errorf("%s: %s", address, status.Convert(err).Message()))
	}
	return nil, fmt.Errorf("no node of the cluster answered; check that this machine reaches one of them, or name one with --address: %w", errors.Join(failures...))
}

func (j *joiner) askOne(ctx context.Context, address string, q *wire.JoinRequest) (*wire.JoinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(pki.JoinTLS(j.invitation.Fingerprint, j.invitation.Cluster))))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return wire.NewJoiningClient(conn).Join(ctx, q)
}

// settle checks the answer and writes the state directory.
func (j *joiner) settle(ctx context.Context, r *wire.JoinReply, out *Joined) error {
	if r.Cluster != j.id.Cluster || r.Member != j.id.Member {
		return fmt.Errorf("the node answered for member %q of cluster %q; ask the cluster's administrator", r.Member, r.Cluster)
	}
	root, err := pki.OpenRoot(j.key, r.SealedRoot, r.Encapsulated, j.request, r.Cluster, r.Member)
	if err != nil {
		return err
	}
	defer root.Zero()
	sealed, err := custody.Seal(ctx, root, custody.Binding{Cluster: r.Cluster, Member: r.Member}, j.options.Method)
	if err != nil {
		return fmt.Errorf("the root key cannot be sealed: %w; have an administrator remove member %s and ask for a new invitation", err, r.Member)
	}
	var near []neighbour
	for i, e := range r.StoreEndpoints {
		near = append(near, neighbour{ID: fmt.Sprintf("unknown-%d", i), StoreAddress: e, Votes: true})
	}
	var files [4][][]byte
	for i, der := range [][]byte{r.NodeCertificate, r.PeerCertificate, r.NodeCa, r.PeerCa} {
		if files[i], err = splitDER(der); err != nil {
			return fmt.Errorf("the node answered with certificates that cannot be read: %w", err)
		}
	}
	id := j.id
	id.Waiting = false
	out.Authority, out.Fingerprint = j.state.path(fileNodeCA), fingerprint(files[2])
	return errors.Join(
		j.state.write(fileNodeCert, pki.CertificatesPEM(files[0]...)),
		j.state.write(filePeerCert, pki.CertificatesPEM(files[1]...)),
		j.state.write(fileNodeCA, pki.CertificatesPEM(files[2]...)),
		j.state.write(filePeerCA, pki.CertificatesPEM(files[3]...)),
		j.state.writeRevoked(nil),
		j.state.writeJSON(fileMembers, near),
		j.state.write(fileRoot, sealed),
		j.state.writeJSON(fileIdentity, id),
		j.state.remove(fileNodeCSR),
	)
}

// validAddress checks host:port with a host that others can use.
func validAddress(a string) bool {
	host, port, err := net.SplitHostPort(a)
	return err == nil && host != "" && port != "" && port != "0" && !net.ParseIP(host).IsUnspecified() && !strings.ContainsAny(a, " \t\n,=")
}

// splitDER cuts concatenated certificates apart.
func splitDER(b []byte) ([][]byte, error) {
	certs, err := x509.ParseCertificates(b)
	if err == nil && len(certs) == 0 {
		err = errors.New("there is none")
	}
	out := make([][]byte, 0, len(certs))
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out, err
}
