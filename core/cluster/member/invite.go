package member

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	// MaxMembers is how many nodes a cluster may have.
	MaxMembers = 28

	maxInvitation = 30 * 24 * time.Hour
	maxName       = 64 // bytes of a node's name and zone
)

// roster is a record that every join and removal writes, so that two of them at once do not both find room, or the name
// free.
const (
	kindRoster = "roster"
	rosterID   = "members"
)

// Invite implements node.Cluster.
func (m *Member) Invite(ctx context.Context, lifetime time.Duration) (*wire.Invitation, error) {
	if lifetime < time.Second || lifetime > maxInvitation {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "an invitation is good for a second to %s", maxInvitation)
	}
	list, err := m.records.members(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if len(list) >= MaxMembers {
		return nil, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the cluster has %d members, and at most %d are possible", len(list), MaxMembers)
	}
	var nodes authority
	if _, err := m.records.get(ctx, kindAuthority, authorityNodes, &nodes); err != nil {
		return nil, unavailable(errMissing("the nodes' authority", err))
	}
	root, err := m.authorityOfOwn(nodes)
	if err != nil {
		return nil, err
	}
	living, _ := m.alive.now()
	addresses := []string{m.opts.Node.Advertise}
	for _, r := range list {
		if _, lives := living[r.ID]; lives && r.ID != m.id.Member && len(addresses) < 8 {
			addresses = append(addresses, r.Address)
		}
	}
	inv := pki.NewInvitation(m.id.Cluster, root, addresses, m.opts.Now().Add(lifetime))
	defer inv.Secret.Zero()
	token, err := inv.Token()
	if err != nil {
		return nil, err
	}
	op, err := m.records.put(kindInvite, inv.ID, invitation{Secret: inv.Secret.Expose(), Expires: inv.Expires.Unix()})
	if err != nil {
		return nil, err
	}
	if _, err := m.records.store.Commit(ctx, []store.Compare{{Key: op.Key}}, []store.Op{op}); err != nil {
		return nil, unavailable(err)
	}
	m.log.Info("an invitation was given out", "invitation", inv.ID, "expires", inv.Expires.UTC())
	return &wire.Invitation{Token: token, Expires: inv.Expires.Unix()}, nil
}

// authorityOfOwn is the authority that this node's certificate chains to: what a joining machine will see.
func (m *Member) authorityOfOwn(a authority) (*x509.Certificate, error) {
	cert, err := m.state.certificate(fileNodeCert, fileNodeKey)
	if err != nil {
		return nil, err
	}
	for _, der := range a.Certificates {
		if slices.ContainsFunc(cert.Certificate, func(c []byte) bool { return slices.Equal(c, der) }) {
			return x509.ParseCertificate(der)
		}
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "%s does not end with the authority that signed it; append that certificate to it", m.state.path(fileNodeCert))
}

// errInvitation is the one answer to all that is wrong with an invitation; why stands in this node's log alone.
var errInvitation = pkcs11.Errorf(pkcs11.CKR_PIN_INCORRECT, "the invitation is not accepted; ask an administrator for a new one")

// Join implements node.Cluster.
func (m *Member) Join(ctx context.Context, q *wire.JoinRequest) (*wire.JoinReply, error) {
	for {
		r, err := m.joinOnce(ctx, q)
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return r, err
		}
	}
}

func (m *Member) joinOnce(ctx context.Context, q *wire.JoinRequest) (*wire.JoinReply, error) {
	// Whatever is asked must be so now: an invitation that another node has taken back must not be good here.
	if err := m.catchUp(ctx); err != nil {
		return nil, unavailable(err)
	}
	invited, err := m.accept(ctx, q)
	if err != nil {
		return nil, err
	}
	who, err := m.applicant(ctx, q)
	if err != nil {
		return nil, err
	}
	var nodes, peers authority
	if _, err := m.records.get(ctx, kindAuthority, authorityNodes, &nodes); err != nil {
		return nil, unavailable(errMissing("the nodes' authority", err))
	}
	if _, err := m.records.get(ctx, kindAuthority, authorityPeers, &peers); err != nil {
		return nil, unavailable(errMissing("the peers' authority", err))
	}
	chain, err := nodes.admit(q, who)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", err)
	}
	peerChain, err := peers.issue(q.PeerCsr, pki.Identity{Kind: pki.Peer, Cluster: m.id.Cluster, Name: who.Name}, hosts(q.PeerAddress, q.StoreAddress))
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", err)
	}
	sealed, encapsulated, err := pki.SealRoot(m.root, q.NodeCsr, m.id.Cluster, who.Name)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%w", err)
	}
	record := Record{ID: who.Name, Name: q.Name, Zone: q.Zone, Address: q.Address, PeerAddress: q.PeerAddress, StoreAddress: q.StoreAddress,
		PeerSerial: serialOf(peerChain[0]), Vote: Standby, Version: q.Version, Joined: time.Now().Unix()}
	if err := m.enlist(ctx, q.Invitation, invited, record); err != nil {
		return nil, err
	}
	m.log.Info("a machine was let in", "member", who.Name, "name", q.Name, "address", q.Address, "invitation", q.Invitation)
	return &wire.JoinReply{
		SealedRoot: sealed, Encapsulated: encapsulated,
		NodeCertificate: slices.Concat(chain...), PeerCertificate: slices.Concat(peerChain...),
		NodeCa: slices.Concat(nodes.Certificates...), PeerCa: slices.Concat(peers.Certificates...),
		Cluster: m.id.Cluster, Member: who.Name, StoreEndpoints: m.storeEndpoints(ctx),
	}, nil
}

// accept checks the invitation and returns the revision of its record.
func (m *Member) accept(ctx context.Context, q *wire.JoinRequest) (int64, error) {
	refuse := func(why string) (int64, error) {
		m.log.Warn("an invitation was refused", "invitation", printable(q.Invitation), "reason", why)
		return 0, errInvitation
	}
	if store.CheckKey(q.Invitation) != nil || len(q.Invitation) > maxName || strings.Contains(q.Invitation, "/") {
		return refuse("it is not one")
	}
	var inv invitation
	revision, err := m.records.get(ctx, kindInvite, q.Invitation, &inv)
	if errors.Is(err, store.ErrNotFound) {
		return refuse("it is not known, or was used")
	}
	if err != nil {
		return 0, unavailable(err)
	}
	s := secret.Take(inv.Secret)
	defer s.Zero()
	switch {
	case !pki.CheckProof(s, q.Proof, q.NodeCsr, q.PeerCsr):
		return refuse("the proof is wrong")
	case m.opts.Now().Unix() >= inv.Expires:
		_, _ = m.records.store.Commit(ctx, nil, []store.Op{{Key: key(kindInvite, q.Invitation), Delete: true}})
		return refuse("it has expired")
	}
	return revision, nil
}

// applicant checks who asks. The machine has chosen its identity itself, for a customer's authority had to know it.
func (m *Member) applicant(ctx context.Context, q *wire.JoinRequest) (pki.Identity, error) {
	bad := func(format string, args ...any) (pki.Identity, error) {
		return pki.Identity{}, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, format, args...)
	}
	request, _, err := pki.ParseRequest(q.NodeCsr)
	if err != nil {
		return bad("%w", err)
	}
	who, err := pki.IdentityOf(&x509.Certificate{URIs: request.URIs, Subject: request.Subject})
	if err != nil {
		return bad("%w", err)
	}
	if who.Kind != pki.Node || who.Cluster != m.id.Cluster || len(who.Name) != 16 || strings.Trim(who.Name, "0123456789abcdef") != "" {
		return bad("the certificate request is for %s, which is no node of this cluster", who)
	}
	list, err := m.records.members(ctx)
	if err != nil {
		return pki.Identity{}, unavailable(err)
	}
	embedded := m.id.Store == config.StoreEmbedded
	switch {
	case !validName(q.Name):
		return bad("a node's name is 1 to %d bytes of text without blanks at its ends", maxName)
	case q.Zone != "" && !validName(q.Zone):
		return bad("a zone is at most %d bytes of text without blanks at its ends", maxName)
	case !validAddress(q.Address):
		return bad("others cannot reach the node at %q; set advertise in its configuration", printable(q.Address))
	case embedded && (!validAddress(q.PeerAddress) || !validAddress(q.StoreAddress)):
		return bad("others cannot reach the node's store at %q and %q; set peer_advertise and store_advertise in its configuration, and store = \"etcd\"", printable(q.PeerAddress), printable(q.StoreAddress))
	case !embedded && q.PeerAddress != "":
		return bad("this cluster uses an etcd of its own; set store = \"external\" in the node's configuration")
	case len(list) >= MaxMembers:
		return pki.Identity{}, pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the cluster has %d members, and at most %d are possible", len(list), MaxMembers)
	}
	for _, r := range list {
		switch {
		case r.ID == who.Name:
			return bad("this machine is a member already")
		case r.Name == q.Name:
			return bad("the name %q is taken; remove the member of that name first, or choose another", printable(q.Name))
		case r.Address == q.Address || embedded && (r.PeerAddress == q.PeerAddress || r.StoreAddress == q.StoreAddress):
			return bad("member %q has one of these addresses; remove it first, or choose others", printable(r.Name))
		}
	}
	return who, nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// printable cuts what a stranger has sent to what may stand in a line of a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s[:min(len(s), maxName)], "?"))
}

// admit returns the node's chain: signed here, or brought along from the customer's authority.
func (a authority) admit(q *wire.JoinRequest, who pki.Identity) ([][]byte, error) {
	if len(a.Key) > 0 {
		if len(q.NodeCertificate) > 0 {
			return nil, errors.New("this cluster signs its nodes' certificates itself; join without one")
		}
		return a.issue(q.NodeCsr, who, hosts(q.Address))
	}
	if len(q.NodeCertificate) == 0 {
		return nil, errors.New("this cluster's nodes have certificates from the customer's own authority; join with --csr first, have the request signed, and join with --certificate")
	}
	chain, err := splitDER(q.NodeCertificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	_, public, err := pki.ParseRequest(q.NodeCsr)
	if err != nil {
		return nil, err
	}
	roots, err := pki.Pool(a.Certificates...)
	if err != nil {
		return nil, err
	}
	if err := pki.Check(chain, roots, public, who, hosts(q.Address)); err != nil {
		return nil, err
	}
	return withRoot(chain, a.Certificates), nil
}

// enlist uses the invitation up and writes the member, both or neither. store.ErrConflict: look again.
func (m *Member) enlist(ctx context.Context, inviteID string, invited int64, r Record) error {
	op, err := m.records.put(kindMember, r.ID, r)
	if err != nil {
		return err
	}
	compares := []store.Compare{{Key: key(kindInvite, inviteID), Modified: invited}, {Key: op.Key}}
	ops := []store.Op{{Key: key(kindInvite, inviteID), Delete: true}, op}
	return m.withRoster(ctx, compares, ops)
}

// withRoster commits a change of who is a member.
func (m *Member) withRoster(ctx context.Context, compares []store.Compare, ops []store.Op) error {
	var n int64
	revision, err := m.records.get(ctx, kindRoster, rosterID, &n)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return unavailable(err)
	}
	op, err := m.records.put(kindRoster, rosterID, n+1)
	if err != nil {
		return err
	}
	_, err = m.records.store.Commit(ctx, append(compares, store.Compare{Key: op.Key, Modified: revision}), append(ops, op))
	if errors.Is(err, store.ErrConflict) {
		return err
	}
	return unavailable(err)
}

func (m *Member) storeEndpoints(ctx context.Context) []string {
	list, err := m.records.members(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, r := range list {
		if r.Vote == Voter && r.StoreAddress != "" {
			out = append(out, r.StoreAddress)
		}
	}
	return out
}

// unavailable gives an error of the store its return value; nil stays nil.
func unavailable(err error) error {
	var e *pkcs11.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the store does not do it now: %w", err)
}
