package ceremonies

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
)

// TestStrangers: a certificate of another authority, an expired one, none at all, and bytes that mean nothing get nowhere,
// and the node goes on.
func TestStrangers(t *testing.T) {
	c := shared(t)
	a := c.nodes[0]
	good := c.tls(t)
	var s status
	c.answer(t, &s, "cluster", "status")

	forged, err := pki.NewAuthority("the same name")
	require.NoError(t, err)
	issued := func(lifetime time.Duration) *tls.Config {
		key, err := pki.NewKey()
		require.NoError(t, err)
		id := pki.Identity{Kind: pki.Client, Cluster: s.Cluster, Name: "tests"}
		request, err := pki.NewRequest(key, id, nil)
		require.NoError(t, err)
		cert, err := forged.Issue(request, id, nil, lifetime)
		require.NoError(t, err)
		conf := good.Clone()
		// A client of good manners sends no certificate of an authority that the server has not named.
		mine := tls.Certificate{Certificate: [][]byte{cert, forged.Certificate().Raw}, PrivateKey: key}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
		return conf
	}
	none := good.Clone()
	none.Certificates, none.GetClientCertificate = nil, nil
	for name, conf := range map[string]*tls.Config{"another authority's": issued(time.Hour), "expired": issued(-time.Hour), "none": none} {
		k, err := client.New(client.Options{Nodes: []string{a.addr}, TLS: conf, Only: true, Timeout: 2 * time.Second})
		require.NoError(t, err)
		_, err = k.Info(t.Context())
		require.Error(t, err, name)
		t.Logf("%s: %v", name, err)
		k.Close()
	}

	noise := make([]byte, 64<<10)
	rand.Read(noise)
	preface := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noise...)
	for _, bytes := range [][]byte{noise, preface, []byte("GET / HTTP/1.1\r\n\r\n"), {0x16, 3, 1, 0xff, 0xff}, {}} {
		for _, at := range [][2]string{{"tcp", a.addr}, {"unix", a.sock}} {
			conn, err := net.Dial(at[0], at[1])
			require.NoError(t, err)
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			conn.Write(bytes)
			conn.Close()
		}
	}
	require.True(t, a.runs(), a.tail())
	_, err = c.through(t, a).Info(t.Context())
	require.NoError(t, err)
	a.serves(t)
	require.NotContains(t, a.tail(), "panic")
}
