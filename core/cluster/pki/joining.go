package pki

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/secret"
)

// Invitation is what a machine needs to join a cluster once. Its text form is as secret as the cluster's root key.
type Invitation struct {
	ID          string
	Secret      *secret.Bytes // InvitationSecret bytes
	Cluster     string
	Fingerprint [sha256.Size]byte // of the nodes' authority
	Addresses   []string          // nodes to ask, host:port
	Expires     time.Time
}

// InvitationSecret is the length of an invitation's secret in bytes.
const InvitationSecret = 32

const (
	tokenPrefix   = "coffer-join-1-"
	tokenChecksum = 4
	maxAddresses  = 32
	maxToken      = 4096
)

var tokenCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewInvitation makes an invitation with a secret of its own.
func NewInvitation(cluster string, authority *x509.Certificate, addresses []string, expires time.Time) *Invitation {
	id := make([]byte, 8)
	rand.Read(id)
	s := secret.New(InvitationSecret)
	rand.Read(s.Expose())
	return &Invitation{ID: fmt.Sprintf("%x", id), Secret: s, Cluster: cluster, Fingerprint: sha256.Sum256(authority.Raw),
		Addresses: addresses, Expires: expires}
}

// Token is the text form.
func (i *Invitation) Token() (string, error) {
	var b cryptobyte.Builder
	text := func(s string) { b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) }) }
	text(i.ID)
	b.AddBytes(i.Secret.Expose())
	b.AddBytes(i.Fingerprint[:])
	text(i.Cluster)
	b.AddUint64(uint64(i.Expires.Unix()))
	b.AddUint8(uint8(min(len(i.Addresses), maxAddresses)))
	for _, a := range i.Addresses[:min(len(i.Addresses), maxAddresses)] {
		text(a)
	}
	raw, err := b.Bytes()
	if err != nil {
		return "", err
	}
	defer secret.Wipe(raw)
	sum := sha256.Sum256(raw)
	return tokenPrefix + tokenCoding.EncodeToString(append(raw, sum[:tokenChecksum]...)), nil
}

// ParseInvitation reads the text form; blanks around it do not count.
func ParseInvitation(token string) (*Invitation, error) {
	token = strings.TrimSpace(token)
	body, ok := strings.CutPrefix(token, tokenPrefix)
	switch {
	case len(token) > maxToken:
		return nil, errors.New("the invitation is too long; copy the token alone")
	case !ok && strings.HasPrefix(token, "coffer-join-"):
		return nil, errors.New("the invitation is of a later version; use a program of the cluster's version")
	case !ok:
		return nil, fmt.Errorf("this is no invitation; it begins with %s", tokenPrefix)
	}
	raw, err := tokenCoding.DecodeString(strings.ToLower(body))
	if err != nil || len(raw) < tokenChecksum {
		return nil, errors.New("the invitation is mistyped or cut off; copy the whole token")
	}
	defer secret.Wipe(raw)
	content := raw[:len(raw)-tokenChecksum]
	if sum := sha256.Sum256(content); string(sum[:tokenChecksum]) != string(raw[len(content):]) {
		return nil, errors.New("the invitation is mistyped or cut off; copy the whole token")
	}
	s := cryptobyte.String(content)
	text := func(out *string) bool {
		var b cryptobyte.String
		if !s.ReadUint8LengthPrefixed(&b) {
			return false
		}
		*out = string(b)
		return true
	}
	i := &Invitation{Secret: secret.New(InvitationSecret)}
	var expires uint64
	var n uint8
	ok = text(&i.ID) && s.CopyBytes(i.Secret.Expose()) && s.CopyBytes(i.Fingerprint[:]) && text(&i.Cluster) && s.ReadUint64(&expires) && s.ReadUint8(&n)
	for range n {
		var a string
		ok = ok && text(&a)
		i.Addresses = append(i.Addresses, a)
	}
	if !ok || !s.Empty() || expires > 1<<40 {
		i.Secret.Zero()
		return nil, errors.New("the invitation cannot be read; ask for a new one")
	}
	i.Expires = time.Unix(int64(expires), 0)
	return i, nil
}

// Proof shows that who sends these parts has an invitation's secret: HMAC-SHA-256 over them, each with its length.
func Proof(s *secret.Bytes, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, s.Expose())
	h.Write([]byte("coffer/join/1"))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}

// CheckProof compares in constant time.
func CheckProof(s *secret.Bytes, proof []byte, parts ...[]byte) bool {
	return hmac.Equal(proof, Proof(s, parts...))
}

// The suite of the root's way to a new node: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180).
func rootInfo(cluster, member string, request []byte) []byte {
	var b cryptobyte.Builder
	for _, part := range [][]byte{[]byte("coffer/join-root-key/1"), []byte(cluster), []byte(member), request} {
		b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(part) })
	}
	return b.BytesOrPanic()
}

// SealRoot encrypts the root key to the key of a certificate request (DER). Cluster, member and the request are bound in.
func SealRoot(root *secret.Bytes, request []byte, cluster, member string) (sealed, encapsulated []byte, err error) {
	_, key, err := ParseRequest(request)
	if err != nil {
		return nil, nil, err
	}
	dh, err := key.ECDH()
	if err != nil {
		return nil, nil, err
	}
	public, err := hpke.NewDHKEMPublicKey(dh)
	if err != nil {
		return nil, nil, err
	}
	encapsulated, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), rootInfo(cluster, member, request))
	if err != nil {
		return nil, nil, err
	}
	sealed, err = sender.Seal(nil, root.Expose())
	return sealed, encapsulated, err
}

// OpenRoot is the reverse, with the private key of the request.
func OpenRoot(key *ecdsa.PrivateKey, sealed, encapsulated, request []byte, cluster, member string) (*secret.Bytes, error) {
	dh, err := key.ECDH()
	if err != nil {
		return nil, err
	}
	private, err := hpke.NewDHKEMPrivateKey(dh)
	if err != nil {
		return nil, err
	}
	recipient, err := hpke.NewRecipient(encapsulated, private, hpke.HKDFSHA256(), hpke.AES256GCM(), rootInfo(cluster, member, request))
	if err != nil {
		return nil, fmt.Errorf("the root key was not sealed to this machine: %w", err)
	}
	root, err := recipient.Open(nil, sealed)
	if err != nil {
		return nil, fmt.Errorf("the root key was not sealed to this machine: %w", err)
	}
	return secret.Take(root), nil
}
