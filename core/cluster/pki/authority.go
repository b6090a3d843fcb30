package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/secret"
)

// How long certificates are good for.
const (
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	LeafLifetime      = 365 * 24 * time.Hour
	// backdated is how far the clocks of machines may differ.
	backdated = time.Hour
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewKey makes a key pair on P-256.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// NewAuthority makes an authority that signs itself. It signs certificates of nodes, clients and peers, no other authorities.
func NewAuthority(name string) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(AuthorityLifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Marshal returns certificate and private key: the caller seals and wipes it.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddUint8(1)
	for _, part := range [][]byte{a.cert.Raw, key} {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(part) })
	}
	defer secret.Wipe(key)
	return b.Bytes()
}

// ParseAuthority is the reverse of Marshal.
func ParseAuthority(b []byte) (*Authority, error) {
	s := cryptobyte.String(b)
	var format uint8
	var der, key cryptobyte.String
	if !s.ReadUint8(&format) || format != 1 || !s.ReadUint24LengthPrefixed(&der) || !s.ReadUint24LengthPrefixed(&key) || !s.Empty() {
		return nil, errors.New("this is no authority, or one of a later version")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be read: %w", err)
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("the authority's key cannot be read: %w", err)
	}
	k, ok := private.(*ecdsa.PrivateKey)
	if !ok || !k.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the authority's key is not that of its certificate")
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not that of an authority")
	}
	return &Authority{cert, k}, nil
}

// Issue signs a certificate for who made the request. Of the request only the key counts; all else is the caller's word.
// It returns DER, which chains to Certificate directly.
func (a *Authority) Issue(request []byte, id Identity, hosts []string, lifetime time.Duration) ([]byte, error) {
	_, key, err := ParseRequest(request)
	if err != nil {
		return nil, err
	}
	uri, err := id.uri()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	until := now.Add(lifetime)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: id.Name, OrganizationalUnit: []string{string(id.Kind)}},
		NotBefore: now.Add(-backdated), NotAfter: until, URIs: []*url.URL{uri},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages[id.Kind], BasicConstraintsValid: true,
	}
	template.DNSNames, template.IPAddresses = namesAndAddresses(hosts)
	return x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
}

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
