package interop

import (
	"crypto/tls"
	"debug/elf"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// stunnel starts Debian's stunnel, which finds its keys with libp11's engine. services are sections without their key.
func (s *site) stunnel(t *testing.T, services ...string) *service {
	t.Helper()
	text := fmt.Sprintf("foreground = yes\npid =\ndebug = warning\nengine = pkcs11\nengineCtrl = MODULE_PATH:%s\n", harness.Module(t))
	for _, section := range services {
		text += section + "engineId = pkcs11\n"
	}
	harness.Need(t, "stunnel4")
	return serve(t, s.Command(t, "stunnel4", s.write(t, "stunnel.conf", text)))
}

// section is a service of stunnel with a key in Coffer.
func (s *site) section(label string, port, to int, more string) string {
	return fmt.Sprintf("[%s]\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\ncert = %s/%s.crt\nkey = %s\n%s", label, port, to, s.Dir, label, s.uri(label), more)
}

// imports lists the functions that a program asks its libraries for.
func imports(t *testing.T, program string) []string {
	t.Helper()
	harness.Need(t, program)
	f, err := elf.Open(program)
	require.NoError(t, err)
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	require.NoError(t, err)
	var names []string
	for _, s := range symbols {
		names = append(names, s.Name)
	}
	return names
}

// takesKeysFromFilesAlone wants a program to have no way to a key in a token: neither an engine nor a store is asked.
func takesKeysFromFilesAlone(t *testing.T, program, reads string) {
	t.Helper()
	names := imports(t, program)
	require.Contains(t, names, reads)
	require.False(t, slices.ContainsFunc(names, func(name string) bool {
		return strings.HasPrefix(name, "ENGINE_load") || strings.HasPrefix(name, "OSSL_STORE_open")
	}), "%s can load keys from elsewhere than files by now: use that", program)
}

// TestStunnel: TLS in front of a server that knows none, with an RSA key and with an EC key, and a reload.
func TestStunnel(t *testing.T) {
	client(t, "stunnel")
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	plain := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })}
	go func() { _ = plain.Serve(l) }()
	defer plain.Close()
	behind := l.Addr().(*net.TCPAddr).Port
	rsa, ec := freePort(t), freePort(t)
	server := s.stunnel(t, s.section("rsa", rsa, behind, ""), s.section("ec", ec, behind, ""))
	for _, port := range []int{rsa, ec} {
		server.listens(t, port)
		t.Logf("wrk: %.0f requests/s, each with a full handshake", wrk(t, port, true, loadTime()/3))
	}
	require.NoError(t, syscall.Kill(server.cmd.Process.Pid, syscall.SIGHUP))
	time.Sleep(100 * time.Millisecond)
	for label, port := range map[string]int{"rsa": rsa, "ec": ec} {
		server.until(t, "it serves with the key "+label+" after the reload", func() bool { // meanwhile it may not listen
			_, err := get(fmt.Sprintf("https://127.0.0.1:%d/", port), &tls.Config{RootCAs: s.roots(t, label)})
			return err == nil
		})
	}
}

// TestStunnelRecipe pastes docs/clients/stunnel.md.
func TestStunnelRecipe(t *testing.T) {
	client(t, "stunnel")
	require.Equal(t, 1, strings.Count(pasted(t, "stunnel"), "\n"+page+"\n"))
}

// TestHAProxy: Debian's build takes keys from PEM files alone. stunnel in front of it holds the key in Coffer, and tells it
// by the PROXY protocol who has called.
func TestHAProxy(t *testing.T) {
	client(t, "haproxy")
	s := newSite(t)
	takesKeysFromFilesAlone(t, "/usr/sbin/haproxy", "PEM_read_bio_PrivateKey")
	require.Contains(t, s.Run(t, "/usr/sbin/haproxy", "-vv"), " -ENGINE ")
	behind, rsa, ec := freePort(t), freePort(t), freePort(t)
	conf := s.write(t, "haproxy.cfg", fmt.Sprintf(`defaults
	mode http
	timeout client 20s
	timeout server 20s
	timeout connect 5s
frontend web
	bind 127.0.0.1:%d accept-proxy
	http-request return status 200 content-type text/plain string "%s" hdr X-Client "%%[src]:%%[src_port]"
`, behind, page))
	proxy := serve(t, s.Command(t, "/usr/sbin/haproxy", "-db", "-f", conf))
	proxy.listens(t, behind)
	server := s.stunnel(t, s.section("rsa", rsa, behind, "protocol = proxy\n"), s.section("ec", ec, behind, "protocol = proxy\n"))
	for label, port := range map[string]int{"rsa": rsa, "ec": ec} {
		server.listens(t, port)
		answer, err := get(fmt.Sprintf("https://127.0.0.1:%d/", port), &tls.Config{RootCAs: s.roots(t, label)})
		require.NoError(t, err)
		require.Regexp(t, `^127\.0\.0\.1:\d+$`, answer.Header.Get("X-Client"))
		require.NotContains(t, answer.Header.Get("X-Client"), fmt.Sprint(":", behind))
		t.Logf("wrk: %.0f requests/s, each with a full handshake", wrk(t, port, true, loadTime()/3))
	}
}
