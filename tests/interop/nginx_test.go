package interop

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// nginxServer is one server block.
type nginxServer struct {
	port int
	keys [][2]string // certificate and key, as nginx is told of them
}

// nginx starts Debian's nginx with two workers. who is the user directive's argument.
func (s *site) nginx(t *testing.T, who string, servers ...nginxServer) *service {
	t.Helper()
	text := "worker_processes 2;\ndaemon off;\npid nginx.pid;\nssl_engine pkcs11;\nenv COFFER_CONF;\nenv OPENSSL_CONF;\n"
	if os.Getuid() == 0 {
		text = "user " + who + ";\n" + text
	}
	text += "events { worker_connections 512; }\nhttp {\naccess_log off; keepalive_requests 1000000;\n" +
		"ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off; ssl_session_cache off;\n"
	for i, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += fmt.Sprintf("%s_temp_path t%d;\n", temp, i)
	}
	for _, server := range servers {
		text += fmt.Sprintf("server {\nlisten 127.0.0.1:%d ssl;\nadd_header X-Pid $pid;\nroot www;\n", server.port)
		for _, pair := range server.keys {
			text += fmt.Sprintf("ssl_certificate %q;\nssl_certificate_key %q;\n", pair[0], pair[1])
		}
		text += "}\n"
	}
	s.write(t, "nginx.conf", text+"}\n")
	s.write(t, "www/index.html", page)
	cmd := s.Command(t, "/usr/sbin/nginx", "-p", s.Dir, "-e", "stderr", "-c", filepath.Join(s.Dir, "nginx.conf"))
	cmd.Env = s.env
	running := serve(t, cmd)
	for _, server := range servers {
		running.listens(t, server.port)
	}
	return running
}

// offloaded is a pair for nginx: the certificate, and the key in Coffer.
func (s *site) offloaded(label string) [2]string {
	return [2]string{label + ".crt", "engine:pkcs11:" + s.uri(label)}
}

// workers waits until the master has two of them that are none of the old ones.
func workers(t *testing.T, s *service, old []int) (list []int) {
	t.Helper()
	s.until(t, "there are two new workers", func() bool {
		list = children(t, s.cmd.Process.Pid)
		return len(list) == 2 && !slices.ContainsFunc(list, func(pid int) bool { return slices.Contains(old, pid) })
	})
	return list
}

// survives puts nginx through its life under load: reloads, of which no visitor notices anything, and a worker that is
// killed, whose successor serves.
func survives(t *testing.T, s *site, server *service, port int, under time.Duration) {
	t.Helper()
	first := workers(t, server, nil)
	load := s.visit(t, port, 8)
	for began := time.Now(); time.Since(began) < under; {
		time.Sleep(under / 6)
		old := workers(t, server, nil)
		require.NoError(t, syscall.Kill(server.cmd.Process.Pid, syscall.SIGHUP))
		workers(t, server, old)
	}
	load.until(t, "more processes than the first two have answered", func() bool { return len(load.by) > 2 })
	load.allServed(t)

	now := workers(t, server, first)
	require.NoError(t, syscall.Kill(now[0], syscall.SIGKILL))
	server.until(t, "a worker replaces the one that was killed", func() bool {
		list := children(t, server.cmd.Process.Pid)
		return len(list) == 2 && !slices.Contains(list, now[0])
	})
	load = s.visit(t, port, 8)
	time.Sleep(under / 3)
	for _, pid := range children(t, server.cmd.Process.Pid) {
		load.until(t, fmt.Sprintf("worker %d has answered", pid), func() bool { return load.by[fmt.Sprint(pid)] > 0 })
	}
	load.allServed(t)
}

// TestNginx: RSA and EC keys in a token's file, two workers, reloads under load, a worker killed; wrk.
func TestNginx(t *testing.T) {
	client(t, "nginx")
	s := newSite(t)
	port := freePort(t)
	server := s.nginx(t, "root", nginxServer{port, [][2]string{s.offloaded("rsa"), s.offloaded("ec")}})
	survives(t, s, server, port, loadTime())
	t.Logf("wrk: %.0f requests/s, each with a full handshake", wrk(t, port, true, loadTime()))
}

// TestNginxOverANode: the same with the keys behind a daemon's socket, and workers that are another user.
func TestNginxOverANode(t *testing.T) {
	client(t, "nginx")
	group, who := "", "root"
	if os.Getuid() == 0 {
		_, err := user.LookupGroup("www-data")
		require.NoError(t, err)
		group, who = "socket_mode = \"0660\"\nsocket_group = \"www-data\"\n", "www-data"
	}
	s := overNode(t, group)
	port := freePort(t)
	server := s.nginx(t, who, nginxServer{port, [][2]string{s.offloaded("rsa"), s.offloaded("ec")}})
	survives(t, s, server, port, loadTime()/3)
}

// TestNginxCost prints what it costs that the key is in Coffer: the same keys in a token's file and on the disk.
func TestNginxCost(t *testing.T) {
	client(t, "nginx")
	long(t)
	s := siteOf(t, harness.NewToken(t, "site"))
	s.imports(t, "rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	s.imports(t, "ec", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	var servers []nginxServer
	for _, label := range []string{"rsa", "ec"} {
		servers = append(servers, nginxServer{freePort(t), [][2]string{s.offloaded(label)}},
			nginxServer{freePort(t), [][2]string{{label + ".crt", label + ".key"}}})
	}
	s.nginx(t, "root", servers...)
	for i, label := range []string{"RSA-2048", "P-256"} {
		in, on := servers[2*i].port, servers[2*i+1].port
		t.Logf("%-8s requests/s with full handshakes: in Coffer %.0f, on disk %.0f; on open connections: in Coffer %.0f, on disk %.0f", label,
			wrk(t, in, true, loadTime()/6), wrk(t, on, true, loadTime()/6), wrk(t, in, false, loadTime()/6), wrk(t, on, false, loadTime()/6))
	}
}

// TestNginxAsWWWData: the recipe of docs/clients/nginx.md for a token in a file: the folder and all in it is www-data's,
// the master runs as root, and the PIN is in a file that root alone may read.
func TestNginxAsWWWData(t *testing.T) {
	client(t, "nginx")
	if os.Getuid() != 0 {
		t.Skip("nginx gives its workers another user as root only")
	}
	s := newSite(t)
	uid, gid := wwwData(t, s)
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "web.pin"), []byte(harness.UserPIN), 0o400))
	fromFile := func(label string) [2]string {
		uri := strings.Replace(s.uri(label), "pin-value="+harness.UserPIN, "pin-source=file:"+filepath.Join(s.Dir, "web.pin"), 1)
		return [2]string{label + ".crt", "engine:pkcs11:" + uri}
	}
	port := freePort(t)
	server := s.nginx(t, "www-data", nginxServer{port, [][2]string{fromFile("rsa"), fromFile("ec")}})
	if whole() {
		survives(t, s, server, port, loadTime()/3)
	} else { // one reload, of which the other tests have more
		load := s.visit(t, port, 4)
		old := workers(t, server, nil)
		require.NoError(t, syscall.Kill(server.cmd.Process.Pid, syscall.SIGHUP))
		workers(t, server, old)
		load.allServed(t)
	}
	// A key that the user makes while nginx serves, and a reload after it.
	cmd := s.Command(t, harness.Coffer(t), "key", "generate", "--type", "ec:p256", "--label", "later")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
}

// TestNginxRecipe pastes docs/clients/nginx.md.
func TestNginxRecipe(t *testing.T) {
	client(t, "nginx")
	require.Equal(t, 2, strings.Count(pasted(t, "nginx"), page+"\n"))
}

// TestNginxBesideOtherKeys: a token in which there are keys of types that libp11 0.4.12 gives up at. A slot that shows RSA
// and EC keys alone lets the engine, and nginx with it, find theirs.
func TestNginxBesideOtherKeys(t *testing.T) {
	client(t, "nginx")
	for name, make := range map[string]func(*testing.T) *site{"file": newSite, "node": func(t *testing.T) *site { return overNode(t, "") }} {
		t.Run(name, func(t *testing.T) {
			if name == "node" {
				long(t)
			}
			s := make(t)
			for _, typ := range []string{"ed25519", "x25519", "ml-dsa:65"} {
				s.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", typ)
			}
			cmd := s.Command(t, "openssl", "pkey", "-engine", "pkcs11", "-inform", "engine", "-in", s.uri("rsa"), "-pubout")
			cmd.Env = s.env
			b, err := cmd.CombinedOutput()
			if err == nil {
				t.Logf("this libp11 passes over keys that it does not know: %s", b)
			} else {
				require.Contains(t, string(b), "Unable to enumerate private keys")
			}

			conf, err := os.ReadFile(s.Conf)
			require.NoError(t, err)
			s.write(t, "coffer.toml", string(conf)+"key_types = [\"rsa\", \"ec\"]\n")
			require.Contains(t, s.openssl(t, "pkey", "-engine", "pkcs11", "-inform", "engine", "-in", s.uri("rsa"), "-pubout"), "BEGIN PUBLIC KEY")
			port := freePort(t)
			s.nginx(t, "root", nginxServer{port, [][2]string{s.offloaded("rsa"), s.offloaded("ec")}})
			s.visit(t, port, 2).allServed(t)
			require.Contains(t, s.Run(t, harness.Coffer(t), "key", "list"), "ed25519", "the command line lists all")
		})
	}
}
