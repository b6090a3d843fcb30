package interop

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// postgres is Debian's server in a folder of its own: without TLS on a port, or with a key on the disk and clients who show
// a certificate.
func (s *site) postgres(t *testing.T, port int, conf, hba string) {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NoError(t, err)
	require.NotEmpty(t, bins, "postgresql is not installed: run `make deps-test`")
	bin := bins[len(bins)-1]
	takesKeysFromFilesAlone(t, filepath.Join(bin, "postgres"), "SSL_CTX_use_PrivateKey_file")

	data := filepath.Join(s.Dir, "pg")
	require.NoError(t, os.Mkdir(data, 0o700))
	as := func(cmd *exec.Cmd) *exec.Cmd { return cmd }
	if os.Getuid() == 0 { // the server refuses to run as root
		var uid, gid int
		who, err := user.Lookup("postgres")
		require.NoError(t, err)
		_, err = fmt.Sscan(who.Uid+" "+who.Gid, &uid, &gid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(data, uid, gid))
		as = func(cmd *exec.Cmd) *exec.Cmd {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
			return cmd
		}
	}
	b, err := as(s.Command(t, filepath.Join(bin, "initdb"), "-D", data, "-U", "alice", "-A", "trust", "--no-sync")).CombinedOutput()
	require.NoError(t, err, string(b))
	b, err = as(s.Command(t, "sh", "-ec", `cd "$1"; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key `+
		`-subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out server.crt; chmod 600 server.key`, "sh", data)).CombinedOutput()
	require.NoError(t, err, string(b))
	b, err = as(s.Command(t, "sh", "-ec", `printf %s "$2" >>"$1"/postgresql.conf; printf %s "$3" >"$1"/pg_hba.conf`, "sh", data,
		fmt.Sprintf("port = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n%s", port, conf), hba)).CombinedOutput()
	require.NoError(t, err, string(b))
	cmd := s.Command(t, filepath.Join(bin, "postgres"), "-D", data)
	// The group is the test's to end, and so must be a child of this process; setpriv changes the user.
	if os.Getuid() == 0 {
		cmd = s.Command(t, "setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", filepath.Join(bin, "postgres"), "-D", data)
	}
	serve(t, cmd).listens(t, port)
}

// psql asks over TLS who is there, and how.
func (s *site) psql(t *testing.T, conninfo string) (string, error) {
	t.Helper()
	harness.Need(t, "psql")
	cmd := s.Command(t, "psql", "-XAt", "-c", "select current_user, coalesce((select client_dn from pg_stat_ssl where pid = pg_backend_pid()), '-')", conninfo)
	cmd.Env = s.env
	b, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(b)), err
}

// TestPostgreSQLClient: psql shows a certificate whose key is in Coffer; the server, with a key of its own, lets nobody in
// without.
func TestPostgreSQLClient(t *testing.T) {
	client(t, "postgresql")
	s := siteOf(t, harness.NewToken(t, "site"))
	for label, typ := range map[string]string{"rsa": "rsa:2048", "ec": "ec:p256"} {
		s.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", label)
		s.openssl(t, "req", "-new", "-x509", "-days", "2", "-engine", "pkcs11", "-keyform", "engine", "-key", s.uri(label),
			"-subj", "/CN=alice", "-addext", "basicConstraints=critical,CA:TRUE", "-out", label+".crt")
	}
	var both string
	for _, label := range []string{"rsa", "ec"} {
		b, err := os.ReadFile(filepath.Join(s.Dir, label+".crt"))
		require.NoError(t, err)
		both += string(b)
	}
	clients := s.write(t, "clients.crt", both)
	port := freePort(t)
	s.postgres(t, port, "ssl = on\nssl_ca_file = '"+clients+"'\n", "hostssl all all 127.0.0.1/32 cert\n")
	info := fmt.Sprintf("host=localhost hostaddr=127.0.0.1 port=%d user=alice dbname=postgres sslmode=require", port)
	for _, label := range []string{"rsa", "ec"} {
		out, err := s.psql(t, fmt.Sprintf("%s sslcert=%s/%s.crt sslkey='pkcs11:%s'", info, s.Dir, label, s.uri(label)))
		require.NoError(t, err, out)
		require.Equal(t, "alice|/CN=alice", out)
	}
	out, err := s.psql(t, info)
	require.Error(t, err, out)
	require.Contains(t, out, "requires a valid client certificate")
	out, err = s.psql(t, fmt.Sprintf("%s sslcert=%s/ec.crt sslkey='pkcs11:%s'", info, s.Dir, s.uri("rsa")))
	require.Error(t, err, out)
	require.Contains(t, out, "does not match")
}

// TestPostgreSQLServer: the server reads its TLS key from a file alone. stunnel speaks its beginning of TLS in front of it,
// with the key in Coffer.
func TestPostgreSQLServer(t *testing.T) {
	client(t, "postgresql")
	s := newSite(t)
	plain := freePort(t)
	s.postgres(t, plain, "", "host all all 127.0.0.1/32 trust\n")
	rsa, ec := freePort(t), freePort(t)
	tls := s.stunnel(t, s.section("rsa", rsa, plain, "protocol = pgsql\n"), s.section("ec", ec, plain, "protocol = pgsql\n"))
	for label, port := range map[string]int{"rsa": rsa, "ec": ec} {
		tls.listens(t, port)
		info := fmt.Sprintf("host=localhost hostaddr=127.0.0.1 port=%d user=alice dbname=postgres sslmode=verify-full", port)
		out, err := s.psql(t, fmt.Sprintf("%s sslrootcert=%s/%s.crt", info, s.Dir, label))
		require.NoError(t, err, out)
		require.Equal(t, "alice|-", out)
		other := map[string]string{"rsa": "ec", "ec": "rsa"}[label]
		out, err = s.psql(t, fmt.Sprintf("%s sslrootcert=%s/%s.crt", info, s.Dir, other))
		require.Error(t, err, out)
		require.Contains(t, out, "certificate verify failed")
	}
}

// TestPostgreSQLRecipe pastes docs/clients/postgresql.md.
func TestPostgreSQLRecipe(t *testing.T) {
	client(t, "postgresql")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		who, err := user.Lookup("postgres")
		require.NoError(t, err)
		_, err = fmt.Sscan(who.Uid+" "+who.Gid, &uid, &gid)
		require.NoError(t, err)
	}
	out := pastedAs(t, "postgresql", uid, gid)
	require.Contains(t, out, "alice|/CN=alice\n")
	require.Contains(t, out, "alice|\n")
}
