package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// customer is an authority that is not Coffer's: it has an RSA key and signs what it likes.
type customer struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func newCustomer(t *testing.T) customer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Customer"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return customer{cert, key}
}

func (c customer) sign(t *testing.T, key crypto.PublicKey, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs: uris(t, "coffer:node:c1/n1"), DNSNames: []string{"hsm1.example.org"}}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key, c.key)
	require.NoError(t, err)
	return der
}

func uris(t testing.TB, list ...string) (out []*url.URL) {
	t.Helper()
	for _, s := range list {
		u, err := url.Parse(s)
		require.NoError(t, err)
		out = append(out, u)
	}
	return out
}

func TestCertificateOfACustomersAuthorityIsChecked(t *testing.T) {
	ca, other := newCustomer(t), newCustomer(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	key, err := NewKey()
	require.NoError(t, err)
	second, err := NewKey()
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		signer customer
		key    *ecdsa.PrivateKey
		change func(*x509.Certificate)
		says   string // empty: it is good
	}{
		{"good", ca, key, func(*x509.Certificate) {}, ""},
		{"no usage at all is any usage", ca, key, func(c *x509.Certificate) { c.ExtKeyUsage, c.KeyUsage = nil, 0 }, ""},
		{"another key", ca, second, func(*x509.Certificate) {}, "another key"},
		{"another authority", other, key, func(*x509.Certificate) {}, "unknown authority"},
		{"no URI", ca, key, func(c *x509.Certificate) { c.URIs = nil }, "copy the request's extensions"},
		{"another member", ca, key, func(c *x509.Certificate) { c.URIs = uris(t, "coffer:node:c1/n2") }, "coffer:node:c1/n1"},
		{"another cluster", ca, key, func(c *x509.Certificate) { c.URIs = uris(t, "coffer:node:c2/n1") }, "coffer:node:c1/n1"},
		{"a client", ca, key, func(c *x509.Certificate) { c.URIs = uris(t, "coffer:client:c1/n1") }, "coffer:node:c1/n1"},
		{"two identities", ca, key, func(c *x509.Certificate) { c.URIs = uris(t, "coffer:node:c1/n1", "coffer:node:c1/n2") }, "coffer:node:c1/n1"},
		{"no server", ca, key, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "as a server"},
		{"no client", ca, key, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, "as a client"},
		{"may not sign", ca, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "digitalSignature"},
		{"expired", ca, key, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "expired"},
		{"not yet", ca, key, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }, "not yet valid"},
		{"another host", ca, key, func(c *x509.Certificate) { c.DNSNames = []string{"hsm2.example.org"} }, "host"},
		{"an authority", ca, key, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "an authority's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check([][]byte{c.signer.sign(t, c.key.Public(), c.change)}, roots, &key.PublicKey, Identity{Node, "c1", "n1"}, []string{"hsm1.example.org"})
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says)
			}
		})
	}
	id := Identity{Node, "c1", "n1"}
	require.ErrorContains(t, Check(nil, roots, &key.PublicKey, id, nil), "no certificate")
	require.ErrorContains(t, Check([][]byte{{1, 2, 3}}, roots, &key.PublicKey, id, nil), "cannot be read")
}

// TestOpenSSLSignsARequest is what docs/node-configuration.md tells a customer to do.
func TestOpenSSLSignsARequest(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is not installed: run `make deps`")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	key, err := NewKey()
	require.NoError(t, err)
	id, at := Identity{Node, "c1", "n1"}, []string{"hsm1.example.org", "192.0.2.1", "2001:db8::1"}
	request, err := NewRequest(key, id, at)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "node.csr"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}), 0o600))
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "10", "-subj", "/CN=Customer")
	run("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
		"-copy_extensions", "copyall", "-days", "5", "-out", "node.pem")
	read := func(name string) [][]byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		chain, err := ParseCertificates(b)
		require.NoError(t, err)
		return chain
	}
	roots, err := Pool(read("ca.pem")...)
	require.NoError(t, err)
	chain := read("node.pem")
	require.NoError(t, Check(chain, roots, &key.PublicKey, id, at))
	leaf, err := x509.ParseCertificate(chain[0])
	require.NoError(t, err)
	require.Equal(t, usages[Node], leaf.ExtKeyUsage)
	require.Equal(t, x509.KeyUsageDigitalSignature, leaf.KeyUsage)
}

func TestRequestsAreChecked(t *testing.T) {
	a, _ := authority(t)
	id := Identity{Node, "c1", "n1"}
	request := func(key crypto.Signer) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		require.NoError(t, err)
		return der
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	forged := mustRequest(t)
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		der  []byte
		says string
	}{
		"nothing":           {nil, "cannot be read"},
		"RSA":               {request(r), "P-256"},
		"P-384":             {request(larger), "P-256"},
		"another's key":     {forged, "own key"},
		"followed by bytes": {append(mustRequest(t), 0), "cannot be read"},
	} {
		_, err := a.Issue(c.der, id, nil, time.Hour)
		require.ErrorContains(t, err, c.says, name)
		_, _, err = SealRoot(nil, c.der, "c1", "n1")
		require.ErrorContains(t, err, c.says, name)
	}
}

// TestOnlyTheKeyIsTakenFromARequest: it asks to be an authority and another node, at another host.
func TestOnlyTheKeyIsTakenFromARequest(t *testing.T) {
	a, _ := authority(t)
	key, err := NewKey()
	require.NoError(t, err)
	constraints := pkix.Extension{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "evil"},
		URIs: uris(t, "coffer:node:c1/n2"), DNSNames: []string{"evil.example.org"}, ExtraExtensions: []pkix.Extension{constraints}}, key)
	require.NoError(t, err)
	der, err := a.Issue(request, Identity{Client, "c1", "web"}, nil, time.Hour)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.False(t, cert.IsCA)
	require.Empty(t, cert.DNSNames)
	require.Equal(t, "web", cert.Subject.CommonName)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	id, err := IdentityOf(cert)
	require.NoError(t, err)
	require.Equal(t, Identity{Client, "c1", "web"}, id)
	require.True(t, key.PublicKey.Equal(cert.PublicKey))
}

func TestCertificatesEndWithTheirAuthorityAndAreRenewedBefore(t *testing.T) {
	a, _ := authority(t)
	der, err := a.Issue(mustRequest(t), Identity{Node, "c1", "n1"}, nil, 2*AuthorityLifetime)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Equal(t, a.Certificate().NotAfter, cert.NotAfter)

	whole := cert.NotAfter.Sub(cert.NotBefore)
	require.False(t, NeedsRenewal(cert, cert.NotAfter.Add(-whole/3-time.Second)))
	require.True(t, NeedsRenewal(cert, cert.NotAfter.Add(-whole/3+time.Second)))
	require.True(t, NeedsRenewal(cert, cert.NotAfter.Add(time.Hour)))
}

func TestPEMComesBack(t *testing.T) {
	a, _ := authority(t)
	key, err := NewKey()
	require.NoError(t, err)
	text, err := KeyPEM(key)
	require.NoError(t, err)
	got, err := ParseKey(text)
	require.NoError(t, err)
	require.True(t, key.Equal(got))
	chain, err := ParseCertificates(CertificatesPEM(a.Certificate().Raw, a.Certificate().Raw))
	require.NoError(t, err)
	require.Len(t, chain, 2)

	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	wrong, err := KeyPEM(larger)
	require.NoError(t, err)
	for name, b := range map[string][]byte{"nothing": nil, "a certificate": CertificatesPEM(a.Certificate().Raw), "P-384": wrong} {
		_, err := ParseKey(b)
		require.Error(t, err, name)
	}
	for name, b := range map[string][]byte{"nothing": nil, "a key": text, "damaged": CertificatesPEM([]byte{1, 2})} {
		_, err := ParseCertificates(b)
		require.Error(t, err, name)
	}
}

func TestIdentityIsTheWholeURI(t *testing.T) {
	for _, c := range []struct {
		uris []string
		ok   bool
	}{
		{[]string{"coffer:node:c1/n1"}, true},
		{[]string{"https://example.org/", "coffer:client:c-1/web.app_2"}, true},
		{nil, false},
		{[]string{"https://example.org/"}, false},
		{[]string{"coffer:node:c1/n1", "coffer:node:c1/n1"}, false},
		{[]string{"coffer:node:c1/n1?x=y"}, false},
		{[]string{"coffer:node:c1/n1#x"}, false},
		{[]string{"coffer:node:c1/n1/n2"}, false},
		{[]string{"coffer:node:c1"}, false},
		{[]string{"coffer:admin:c1/n1"}, false},
		{[]string{"coffer:node:c1/n%31"}, false},
	} {
		cert := &x509.Certificate{URIs: uris(t, c.uris...)}
		id, err := IdentityOf(cert)
		require.Equal(t, c.ok, err == nil, "%v: %v %v", c.uris, id, err)
	}
}

func FuzzIdentityOf(f *testing.F) {
	f.Add("coffer:node:c1/n1")
	f.Add("coffer:peer:c1/n1?q#f")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := IdentityOf(&x509.Certificate{URIs: []*url.URL{u}})
		if err != nil {
			return
		}
		again, err := id.uri()
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q is %v, which is %v (%v)", s, id, again, err)
		}
	})
}

func FuzzParseAuthority(f *testing.F) {
	a, err := NewAuthority("fuzz")
	require.NoError(f, err)
	b, err := a.Marshal()
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAuthority(b); err == nil && !a.Certificate().IsCA {
			t.Fatal("no authority")
		}
	})
}
