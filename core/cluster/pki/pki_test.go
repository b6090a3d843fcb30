package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
)

func issued(t *testing.T, a *Authority, id Identity, lifetime time.Duration) tls.Certificate {
	t.Helper()
	key, err := NewKey()
	require.NoError(t, err)
	request, err := NewRequest(key, id, []string{"127.0.0.1", "localhost"})
	require.NoError(t, err)
	der, err := a.Issue(request, id, []string{"127.0.0.1", "localhost"}, lifetime)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der, a.Certificate().Raw}, PrivateKey: key}
}

func authority(t *testing.T) (*Authority, *x509.CertPool) {
	t.Helper()
	a, err := NewAuthority("test")
	require.NoError(t, err)
	pool, err := Pool(a.Certificate().Raw)
	require.NoError(t, err)
	return a, pool
}

// meet makes a connection and returns what each side says of it.
func meet(t *testing.T, server, client *tls.Config) (atServer, atClient error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(far, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		far.Close()
		done <- err
	}()
	c := tls.Client(near, client)
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	near.Close()
	return <-done, err
}

func TestEachCertificateServesForItsOwnUse(t *testing.T) {
	a, pool := authority(t)
	other, otherPool := authority(t)
	node := issued(t, a, Identity{Node, "c1", "n1"}, time.Hour)
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		server *tls.Config
		ok     bool
	}{
		{"a client", issued(t, a, Identity{Client, "c1", "web"}, time.Hour), ServerTLS(node, pool, "c1"), true},
		{"another node", issued(t, a, Identity{Node, "c1", "n2"}, time.Hour), ServerTLS(node, pool, "c1"), true},
		{"a client of another cluster", issued(t, a, Identity{Client, "c2", "web"}, time.Hour), ServerTLS(node, pool, "c1"), false},
		{"a client of another authority", issued(t, other, Identity{Client, "c1", "web"}, time.Hour), ServerTLS(node, pool, "c1"), false},
		{"an expired client", issued(t, a, Identity{Client, "c1", "web"}, -time.Minute), ServerTLS(node, pool, "c1"), false},
		{"a peer of the store at a node's port", issued(t, a, Identity{Peer, "c1", "n2"}, time.Hour), ServerTLS(node, pool, "c1"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := meet(t, c.server, withName(ClientTLS(c.cert, pool, "c1")))
			if c.ok {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
	t.Run("a client does not pass for a node", func(t *testing.T) {
		mallory := issued(t, a, Identity{Client, "c1", "mallory"}, time.Hour)
		conf := ServerTLS(mallory, pool, "c1")
		_, err := meet(t, conf, withName(ClientTLS(node, pool, "c1")))
		require.Error(t, err)
	})
	t.Run("a node of another authority is not spoken to", func(t *testing.T) {
		_, err := meet(t, ServerTLS(node, pool, "c1"), withName(ClientTLS(node, otherPool, "c1")))
		require.Error(t, err)
	})
	t.Run("clients do not reach the store", func(t *testing.T) {
		peer := issued(t, a, Identity{Peer, "c1", "n1"}, time.Hour)
		client := issued(t, a, Identity{Client, "c1", "web"}, time.Hour)
		_, err := meet(t, PeerTLS(peer, pool, "c1"), withName(PeerTLS(client, pool, "c1")))
		require.Error(t, err)
		_, err = meet(t, PeerTLS(peer, pool, "c1"), withName(PeerTLS(peer, pool, "c1")))
		require.NoError(t, err)
	})
	t.Run("a joining machine trusts the invitation's authority alone", func(t *testing.T) {
		i := NewInvitation("c1", a.Certificate(), nil, time.Now())
		_, err := meet(t, ServerTLS(node, pool, "c1"), JoinTLS(i.Fingerprint, "c1"))
		require.NoError(t, err)
		i = NewInvitation("c1", other.Certificate(), nil, time.Now())
		_, err = meet(t, ServerTLS(node, pool, "c1"), JoinTLS(i.Fingerprint, "c1"))
		require.Error(t, err)
	})
}

func withName(c *tls.Config) *tls.Config {
	c.ServerName = "localhost"
	return c
}

func TestAuthorityComesBack(t *testing.T) {
	a, pool := authority(t)
	b, err := a.Marshal()
	require.NoError(t, err)
	again, err := ParseAuthority(b)
	require.NoError(t, err)
	c := issued(t, again, Identity{Node, "c1", "n1"}, time.Hour)
	_, key, err := ParseRequest(mustRequest(t))
	require.NoError(t, err)
	require.Error(t, Check(c.Certificate, pool, key, Identity{Node, "c1", "n1"}, nil), "another key")
	for n := range b {
		_, err := ParseAuthority(b[:n])
		require.Error(t, err)
	}
}

func mustRequest(t *testing.T) []byte {
	t.Helper()
	key, err := NewKey()
	require.NoError(t, err)
	r, err := NewRequest(key, Identity{Node, "c1", "n1"}, nil)
	require.NoError(t, err)
	return r
}

func TestIdentities(t *testing.T) {
	for _, id := range []Identity{{"x", "c", "n"}, {Node, "", "n"}, {Node, "c", ""}, {Node, "c/d", "n"}, {Node, "c", "a b"}, {Node, "c", "n\x00"}} {
		_, err := id.uri()
		require.Error(t, err, "%+v", id)
	}
}

func TestInvitationsComeBack(t *testing.T) {
	a, _ := authority(t)
	i := NewInvitation("c1", a.Certificate(), []string{"127.0.0.1:2223", "[::1]:2223"}, time.Now().Add(time.Hour).Truncate(time.Second))
	token, err := i.Token()
	require.NoError(t, err)
	got, err := ParseInvitation(" " + token + "\n")
	require.NoError(t, err)
	require.Equal(t, i.ID, got.ID)
	require.True(t, i.Secret.Equal(got.Secret))
	require.Equal(t, i.Fingerprint, got.Fingerprint)
	require.Equal(t, i.Addresses, got.Addresses)
	require.True(t, i.Expires.Equal(got.Expires))
	for n := range token {
		_, err := ParseInvitation(token[:n])
		require.Error(t, err, "cut to %d", n)
	}
	for _, bad := range []string{"", "hello", "coffer-join-2-aaaa", token + "a", token[:20] + "x" + token[21:]} {
		if bad == token {
			continue
		}
		_, err := ParseInvitation(bad)
		require.Error(t, err, "%q", bad)
	}
	require.True(t, CheckProof(got.Secret, Proof(i.Secret, []byte("a"), []byte("b")), []byte("a"), []byte("b")))
	require.False(t, CheckProof(got.Secret, Proof(i.Secret, []byte("ab"), nil), []byte("a"), []byte("b")))
}

func TestRootTravelsToOneMachineOnly(t *testing.T) {
	root := secret.Copy([]byte("0123456789abcdef0123456789abcdef"))
	key, err := NewKey()
	require.NoError(t, err)
	request, err := NewRequest(key, Identity{Node, "c1", "n1"}, nil)
	require.NoError(t, err)
	sealed, enc, err := SealRoot(root, request, "c1", "n1")
	require.NoError(t, err)
	got, err := OpenRoot(key, sealed, enc, request, "c1", "n1")
	require.NoError(t, err)
	require.True(t, root.Equal(got))

	other, err := NewKey()
	require.NoError(t, err)
	for name, open := range map[string]func() (*secret.Bytes, error){
		"another key":     func() (*secret.Bytes, error) { return OpenRoot(other, sealed, enc, request, "c1", "n1") },
		"another cluster": func() (*secret.Bytes, error) { return OpenRoot(key, sealed, enc, request, "c2", "n1") },
		"another member":  func() (*secret.Bytes, error) { return OpenRoot(key, sealed, enc, request, "c1", "n2") },
		"another request": func() (*secret.Bytes, error) { return OpenRoot(key, sealed, enc, mustRequest(t), "c1", "n1") },
		"damage":          func() (*secret.Bytes, error) { return OpenRoot(key, sealed[1:], enc, request, "c1", "n1") },
	} {
		_, err := open()
		require.Error(t, err, name)
	}
}

func FuzzParseInvitation(f *testing.F) {
	a, err := NewAuthority("fuzz")
	require.NoError(f, err)
	token, err := NewInvitation("c1", a.Certificate(), []string{"h:1"}, time.Now()).Token()
	require.NoError(f, err)
	f.Add(token)
	f.Add(tokenPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		if i, err := ParseInvitation(s); err == nil {
			if _, err := i.Token(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
