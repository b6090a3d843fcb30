package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"golang.org/x/crypto/cryptobyte"
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

// NewAuthority makes an authority that signs itself.
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
	clear(key)
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
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	k, ok := private.(*ecdsa.PrivateKey)
	if !ok || !k.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the authority's key is not that of its certificate")
	}
	return &Authority{cert, k}, nil
}

// NewRequest makes a certificate request (DER) for an identity at some hosts: names or addresses.
func NewRequest(key *ecdsa.PrivateKey, id Identity, hosts []string) ([]byte, error) {
	uri, err := id.uri()
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: id.Name, OrganizationalUnit: []string{string(id.Kind)}}, URIs: []*url.URL{uri}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}

// ParseRequest checks a request: its own signature, and that its key is on P-256.
func ParseRequest(der []byte) (*x509.CertificateRequest, *ecdsa.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate request cannot be read: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("the certificate request is not signed with its own key: %w", err)
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, nil, errors.New("the certificate request is not for a key on P-256")
	}
	return r, key, nil
}

// usages are what the kinds of certificates may be used for.
var usages = map[Kind][]x509.ExtKeyUsage{
	Node:   {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	Peer:   {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	Client: {x509.ExtKeyUsageClientAuth},
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
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
}

// Check verifies a chain (DER, leaf first) that another authority has signed: for this key and identity, good for all
// hosts and uses, and now.
func Check(chain [][]byte, roots *x509.CertPool, key *ecdsa.PublicKey, id Identity, hosts []string) error {
	if len(chain) == 0 {
		return errors.New("there is no certificate")
	}
	var certs []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("the certificate cannot be read: %w", err)
		}
		certs = append(certs, c)
	}
	leaf := certs[0]
	if !key.Equal(leaf.PublicKey) {
		return errors.New("the certificate is for another key; sign the request that this command has written")
	}
	if got, err := IdentityOf(leaf); err != nil || got != id {
		return fmt.Errorf("the certificate is not for %s; have the authority copy the request's URI into it", id)
	}
	middle := x509.NewCertPool()
	for _, c := range certs[1:] {
		middle.AddCert(c)
	}
	for _, usage := range usages[id.Kind] {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			return fmt.Errorf("the certificate is not good: %w", err)
		}
	}
	for _, h := range hosts {
		if err := leaf.VerifyHostname(h); err != nil {
			return fmt.Errorf("the certificate does not name this node's host: %w", err)
		}
	}
	return nil
}

// NeedsRenewal reports whether less than a third of a certificate's time is left.
func NeedsRenewal(cert *x509.Certificate, now time.Time) bool {
	return now.After(cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3))
}

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// CertificatesPEM and KeyPEM write what is kept in files; the caller wipes a key.
func CertificatesPEM(chain ...[]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// KeyPEM writes a private key as PKCS #8.
func KeyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseCertificates reads a PEM file of certificates, in its order.
func ParseCertificates(b []byte) (chain [][]byte, err error) {
	for len(b) > 0 {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %s among the certificates", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in PEM format")
	}
	return chain, nil
}

// ParseKey reads a PEM file with a private key on P-256.
func ParseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("there is no private key in PEM format")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not on P-256")
	}
	return key, nil
}

// Pool is a set of authorities, from DER.
func Pool(certs ...[]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, der := range certs {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		pool.AddCert(c)
	}
	return pool, nil
}
