package interop

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMariaDB: the server takes its TLS key from a file alone. stunnel on both sides carries the connection, as
// docs/clients/mariadb.md has it, with the server's key and the client's in Coffer.
func TestMariaDB(t *testing.T) {
	client(t, "mariadb")
	s := newSite(t)
	takesKeysFromFilesAlone(t, "/usr/sbin/mariadbd", "SSL_CTX_use_PrivateKey_file")
	data := filepath.Join(s.Dir, "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	plain, between, near := freePort(t), freePort(t), freePort(t)
	args := []string{"--no-defaults", "--datadir=" + data, "--skip-grant-tables", "--bind-address=127.0.0.1", fmt.Sprint("--port=", plain),
		"--socket=" + filepath.Join(data, "s"), "--innodb-buffer-pool-size=8M"}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	serve(t, s.Command(t, "/usr/sbin/mariadbd", args...)).listens(t, plain)
	tunnel := s.stunnel(t,
		s.section("ec", between, plain, "verifyChain = yes\nCAfile = "+s.Dir+"/rsa.crt\n"),
		s.section("rsa", near, between, "client = yes\nverifyChain = yes\nCAfile = "+s.Dir+"/ec.crt\ncheckHost = localhost\n"))
	tunnel.listens(t, near)
	out := s.Run(t, "mariadb", "--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-P", fmt.Sprint(near), "-N", "-e", "select concat('from ', 6*7)")
	require.Equal(t, "from 42\n", out)

	// Who has no key is told so by the handshake, which TLS 1.3 reports at the first read.
	stranger, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", between), &tls.Config{RootCAs: s.roots(t, "ec")})
	if err == nil {
		_, err = stranger.Read(make([]byte, 1))
		stranger.Close()
	}
	require.ErrorContains(t, err, "certificate required")
}
