package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// apache starts Debian's Apache with mod_ssl in the foreground. serving are lines that say with which keys.
func (s *site) apache(t *testing.T, mpm string, port int, serving string) *service {
	t.Helper()
	text := "ServerRoot /usr/lib/apache2\nServerName localhost\nPidFile " + s.Dir + "/apache.pid\nErrorLog /dev/stderr\nDefaultRuntimeDir " + s.Dir + "\n"
	for _, module := range []string{"mpm_" + mpm, "authz_core", "dir", "ssl"} {
		text += fmt.Sprintf("LoadModule %s_module modules/mod_%s.so\n", module, module)
	}
	if os.Getuid() == 0 {
		text += "User www-data\nGroup www-data\n"
	}
	text += fmt.Sprintf("StartServers 2\nListen 127.0.0.1:%d\nDocumentRoot %s/www\n<Directory %s/www>\nRequire all granted\n</Directory>\n"+
		"SSLEngine on\nSSLSessionCache none\nSSLSessionTickets off\nMaxKeepAliveRequests 0\n%s", port, s.Dir, s.Dir, serving)
	conf := s.write(t, "apache.conf", text)
	s.write(t, "www/index.html", page)
	harness.Need(t, "/usr/sbin/apache2")
	cmd := s.Command(t, "/usr/sbin/apache2", "-D", "FOREGROUND", "-f", conf)
	cmd.Env = append(s.env, "APACHE_RUN_DIR="+s.Dir)
	running := serve(t, cmd)
	running.listens(t, port)
	return running
}

// pair is a certificate and its key in Coffer, as mod_ssl is told of them.
func (s *site) pair(label string) string {
	return fmt.Sprintf("SSLCertificateFile %s/%s.crt\nSSLCertificateKeyFile %q\n", s.Dir, label, s.uri(label))
}

// TestApache: RSA and EC keys behind a node, with threads and without; graceful restarts under load, children killed.
func TestApache(t *testing.T) {
	client(t, "apache")
	for _, mpm := range []string{"event", "prefork"} {
		t.Run(mpm, func(t *testing.T) {
			group := ""
			if os.Getuid() == 0 {
				group = "socket_group = \"www-data\"\n"
			}
			s := overNode(t, group)
			port := freePort(t)
			server := s.apache(t, mpm, port, s.pair("rsa")+s.pair("ec"))
			load := s.visit(t, port, 8)
			for began := time.Now(); time.Since(began) < loadTime(); {
				time.Sleep(loadTime() / 4)
				old := server.children(t)
				require.NoError(t, syscall.Kill(server.cmd.Process.Pid, syscall.SIGUSR1))
				server.until(t, "there are new children", func() bool {
					list := children(t, server.cmd.Process.Pid)
					return len(list) > 0 && slices.ContainsFunc(list, func(pid int) bool { return !slices.Contains(old, pid) })
				})
			}
			load.allServed(t)

			killed := server.children(t)
			for _, pid := range killed {
				_ = syscall.Kill(pid, syscall.SIGKILL) // one may have ended by itself, after the restart
			}
			server.until(t, "others have taken their places", func() bool {
				list := children(t, server.cmd.Process.Pid)
				return len(list) > 1 && !slices.ContainsFunc(list, func(pid int) bool { return slices.Contains(killed, pid) })
			})
			s.visit(t, port, 4).allServed(t)
			t.Logf("wrk: %.0f requests/s, each with a full handshake", wrk(t, port, true, loadTime()/3))
		})
	}
}

// TestApacheCost prints what it costs that the key is in Coffer: the same keys in a token's file and on the disk.
func TestApacheCost(t *testing.T) {
	client(t, "apache")
	long(t)
	s := siteOf(t, harness.NewToken(t, "site"))
	require.NoError(t, os.Chmod(s.Conf, 0o644))
	s.imports(t, "rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	s.imports(t, "ec", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	wwwData(t, s)
	for _, label := range []string{"rsa", "ec"} {
		var rates []any
		for _, key := range []string{s.uri(label), filepath.Join(s.Dir, label+".key")} {
			port := freePort(t)
			server := s.apache(t, "event", port, fmt.Sprintf("SSLCertificateFile %s/%s.crt\nSSLCertificateKeyFile %q\n", s.Dir, label, key))
			rates = append(rates, wrk(t, port, true, loadTime()/6), wrk(t, port, false, loadTime()/6))
			server.stop(syscall.SIGTERM)
		}
		t.Logf("%-4s requests/s: in Coffer %.0f with full handshakes, %.0f on open connections; on disk %.0f and %.0f", append([]any{label}, rates...)...)
	}
}

// TestApacheRecipe pastes docs/clients/apache.md.
func TestApacheRecipe(t *testing.T) {
	client(t, "apache")
	uid, gid := wwwDataIDs(t)
	require.Equal(t, 2, strings.Count(pastedAs(t, "apache", uid, gid), page+"\n"))
}
