package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// Identity is who is at the other end of a connection.
type Identity struct {
	// Holder is what credentials and operations are bound to: "uid:1000" on a socket; "client:web", "node:MEMBER" for the
	// names in certificates.
	Holder string
	// Member is a node's identity; empty for clients.
	Member string
}

// identityIn reads a certificate's URI. A node's is good while the node is a member.
func identityIn(c Cluster, cert *x509.Certificate) (Identity, error) {
	id, err := pki.IdentityOf(cert)
	switch {
	case err != nil:
		return Identity{}, err
	case id.Cluster != c.ID():
		return Identity{}, fmt.Errorf("it is of cluster %q, this is %q", id.Cluster, c.ID())
	case id.Kind == pki.Client:
		return Identity{Holder: "client:" + id.Name}, nil
	case id.Kind != pki.Node:
		return Identity{}, fmt.Errorf("it is that of a %s", id.Kind)
	case !slices.ContainsFunc(c.Members().GetMembers(), func(m *wire.Member) bool { return m.GetId() == id.Name }):
		return Identity{}, fmt.Errorf("node %s is not a member", id.Name)
	}
	return Identity{Holder: "node:" + id.Name, Member: id.Name}, nil
}

// Peers are the local users who may use a socket, beside root and the daemon's own user: by their user, or by the primary
// group of their process. With neither list, whoever the permissions of the socket's file let in.
type Peers struct {
	UIDs, GIDs []uint32
}

func (p Peers) admits(u *unix.Ucred) bool {
	if len(p.UIDs) == 0 && len(p.GIDs) == 0 || u.Uid == 0 || int(u.Uid) == unix.Geteuid() {
		return true
	}
	return slices.Contains(p.UIDs, u.Uid) || slices.Contains(p.GIDs, u.Gid)
}

// socketCredentials are gRPC's transport security on a unix socket: the kernel says who has connected.
type socketCredentials struct {
	allow  Peers
	log    func(string, ...any)
	frames func(net.Conn, credentials.AuthInfo) // takes connections that are not for gRPC
}

type socketPeer struct {
	credentials.CommonAuthInfo
	uid uint32
}

func (p socketPeer) holder() string { return fmt.Sprintf("uid:%d", p.uid) }

// AuthType implements credentials.AuthInfo.
func (socketPeer) AuthType() string { return "unix" }

// ServerHandshake implements credentials.TransportCredentials, as do the methods below.
func (c socketCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	user, err := userOf(conn)
	if err == nil && !c.allow.admits(user) {
		err = fmt.Errorf("user %d may not use this socket", user.Uid)
	}
	if err != nil {
		c.log("the socket refused a process: %w", err)
		return nil, nil, err
	}
	who := socketPeer{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, user.Uid}
	frames, begun, err := startsFrames(conn)
	if err == nil {
		err = identified(conn, who.holder())
	}
	switch {
	case err != nil:
		return nil, nil, err
	case frames:
		c.frames(begun, who)
		return nil, nil, credentials.ErrConnDispatched
	}
	counted, info := countArrivals(begun, who)
	return counted, info, nil
}

func userOf(conn net.Conn) (user *unix.Ucred, err error) {
	u, ok := bare(conn).(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { user, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failure); err != nil {
		return nil, fmt.Errorf("who has connected cannot be told: %w", err)
	}
	return user, nil
}

func (socketCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are a server's credentials")
}

func (socketCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}
func (c socketCredentials) Clone() credentials.TransportCredentials { return c }
func (socketCredentials) OverrideServerName(string) error           { return nil }

// guest is who has opened a stream, and by what.
type guest struct {
	Identity
	chain []*x509.Certificate // nil on a socket
}

// identify tells who has opened a stream.
func (s *Server) identify(ctx context.Context) (guest, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return guest{}, status.Error(codes.Unauthenticated, "nobody knows who this is")
	}
	auth := p.AuthInfo
	if c, ok := auth.(metered); ok {
		auth = c.AuthInfo
	}
	switch info := auth.(type) {
	case socketPeer:
		return guest{Identity{Holder: info.holder()}, nil}, nil
	case credentials.TLSInfo:
		if len(info.State.VerifiedChains) == 0 {
			break
		}
		g := guest{chain: info.State.VerifiedChains[0]}
		who, err := s.welcome(g)
		if err != nil {
			s.refusing(notAllowed)("%v: certificate of %q refused: %w", p.Addr, g.chain[0].Subject.CommonName, err)
			return guest{}, errUnwelcome
		}
		g.Identity = who
		return g, nil
	}
	s.refusing(notAllowed)("%v: no certificate was shown", p.Addr)
	return guest{}, status.Error(codes.Unauthenticated, "a client certificate is needed")
}

var errUnwelcome = status.Error(codes.PermissionDenied, "this certificate is not accepted here; the node's log says why")

// welcome tells whose a certificate is and that it is good now: it may have been good when the connection was made only.
func (s *Server) welcome(g guest) (Identity, error) {
	if g.chain == nil {
		return g.Identity, nil
	}
	now := time.Now()
	for _, c := range g.chain {
		if now.After(c.NotAfter) {
			return Identity{}, fmt.Errorf("it, or its authority's, has expired at %v", c.NotAfter)
		}
	}
	who, err := s.opts.Identify(g.chain[0])
	switch {
	case err != nil:
		return Identity{}, err
	case who.Holder == "":
		return Identity{}, errors.New("it names nobody")
	case g.Holder != "" && who != g.Identity:
		return Identity{}, fmt.Errorf("it was that of %s, and is that of %s", g.Holder, who.Holder)
	}
	return who, nil
}
