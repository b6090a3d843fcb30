package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestCrypto11TLS serves HTTPS with keys that crypto11 makes in the token, under load, and has it verified by crypto/tls.
func TestCrypto11TLS(t *testing.T) {
	client(t, "go")
	k := harness.NewToken(t, "gotls")
	t.Setenv("COFFER_CONF", k.Conf)
	ctx, err := crypto11.Configure(&crypto11.Config{Path: harness.Module(t), TokenLabel: "gotls", Pin: harness.UserPIN})
	require.NoError(t, err)
	defer ctx.Close()
	ec, err := ctx.GenerateECDSAKeyPairWithLabel([]byte{1}, []byte("ec"), elliptic.P256())
	require.NoError(t, err)
	rsa, err := ctx.GenerateRSAKeyPairWithLabel([]byte{2}, []byte("rsa"), 2048)
	require.NoError(t, err)

	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := func(name string, ca bool) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true}
	}
	authority := template("authority", true)
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	require.NoError(t, err)
	root, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(root)

	var chains []tls.Certificate
	for _, key := range []crypto.Signer{ec, rsa} {
		leaf, err := x509.CreateCertificate(rand.Reader, template("localhost", false), root, key.Public(), caKey)
		require.NoError(t, err)
		chains = append(chains, tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key})
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: chains, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served by Go") })}
	go server.Serve(listener)
	defer server.Close()

	var answered atomic.Int64
	ask := func(conf *tls.Config) (*tls.ConnectionState, error) {
		conf.RootCAs, conf.ServerName = roots, "localhost"
		asks := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		answer, err := asks.Get("https://" + listener.Addr().String())
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err == nil && string(page) != "served by Go" {
			err = fmt.Errorf("the page is %q", page)
		}
		answered.Add(1)
		return answer.TLS, err
	}
	for _, c := range []struct {
		version, suite uint16
		key            x509.PublicKeyAlgorithm
	}{
		{tls.VersionTLS13, 0, x509.ECDSA},
		{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x509.ECDSA},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, x509.RSA},
	} {
		conf := &tls.Config{MinVersion: c.version, MaxVersion: c.version}
		if c.suite != 0 {
			conf.CipherSuites = []uint16{c.suite}
		}
		state, err := ask(conf)
		require.NoError(t, err)
		require.Equal(t, c.version, state.Version)
		require.Equal(t, c.key, state.PeerCertificates[0].PublicKeyAlgorithm)
	}
	var load sync.WaitGroup
	const least = 50 // however slow the machine is
	end := time.Now().Add(loadTime())
	for range 8 {
		load.Go(func() {
			for time.Now().Before(end) || answered.Load() <= least {
				if _, err := ask(&tls.Config{}); !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	load.Wait()
	t.Logf("%d requests, each with a handshake of its own, none failed", answered.Load())
	require.Greater(t, answered.Load(), int64(least))
}
