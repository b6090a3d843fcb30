package interop

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// vpn is a token with the keys of an OpenVPN server and client.
type vpn struct {
	*harness.Token
	ids map[string]string // what OpenVPN calls a key, by its certificate's name
}

func newVPN(t *testing.T, server, client string) *vpn {
	t.Helper()
	harness.Need(t, sbin(t, "openvpn"))
	v := &vpn{Token: harness.NewToken(t, "vpn"), ids: map[string]string{}}
	ca := newAuthority(t, v.Token)
	ca.certify(t, server, "server", "01", "serverAuth")
	ca.certify(t, client, "client", "02", "clientAuth")
	list := v.Run(t, sbin(t, "openvpn"), "--show-pkcs11-ids", harness.Module(t))
	for _, m := range regexp.MustCompile(`DN:\s+CN=(\S+)\s+Serial:.*\s+Serialized id:\s+(\S+)`).FindAllStringSubmatch(list, -1) {
		v.ids[m[1]] = m[2]
	}
	require.Len(t, v.ids, 2, list)
	return v
}

// args are those of one side. It asks for its PIN through the management interface at the socket.
func (v *vpn) args(t *testing.T, name, socket string, more ...string) []string {
	other := map[string]string{"server": "client", "client": "server"}[name]
	return append([]string{"--ca", "ca.pem", "--pkcs11-providers", harness.Module(t), "--pkcs11-id", v.ids[name], "--remote-cert-tls", other,
		"--verify-x509-name", other, "name", "--tls-" + name, "--management", socket, "unix", "--management-query-passwords", "--verb", "3"}, more...)
}

// answer gives the PIN to whoever asks for it at a management socket.
func (v *vpn) answer(t *testing.T, socket, pin string) {
	t.Helper()
	var c net.Conn
	require.Eventually(t, func() bool {
		var err error
		c, err = net.Dial("unix", socket)
		return err == nil
	}, patience, 50*time.Millisecond)
	t.Cleanup(func() { c.Close() })
	go func() {
		for in := bufio.NewScanner(c); in.Scan(); {
			if strings.HasPrefix(in.Text(), ">PASSWORD:Need 'vpn token'") {
				fmt.Fprintf(c, "password 'vpn token' %s\n", pin)
			}
		}
	}()
}

func (v *vpn) start(t *testing.T, name, pin string, more ...string) *service {
	t.Helper()
	socket := socketPath(t, name)
	cmd := exec.Command(sbin(t, "openvpn"), v.args(t, name, socket, more...)...)
	cmd.Dir, cmd.Env = v.Dir, v.Env()
	s := serve(t, cmd)
	v.answer(t, socket, pin)
	return s
}

// TestOpenVPNHandshake: both sides' keys in the token, with TLS 1.2 and 1.3, and handshakes again as keys are renewed.
func TestOpenVPNHandshake(t *testing.T) {
	client(t, "openvpn")
	for i, c := range []struct{ server, client, tls, signature string }{
		{"rsa:2048", "ec:p256", "1.3", "ECprime256v1"}, {"ec:p384", "rsa:3072", "1.3", "3072 bits RSA"},
		{"rsa:2048", "rsa:2048", "1.2", "2048 bits RSA"}, {"ec:p256", "ec:p521", "1.2", "ECsecp521r1"},
	} {
		t.Run(c.server+" "+c.client+" "+c.tls, func(t *testing.T) {
			if i > 0 {
				long(t)
			}
			v := newVPN(t, c.server, c.client)
			port := strconv.Itoa(freePort(t))
			common := []string{"--dev", "null", "--proto", "udp4", "--tls-version-min", c.tls, "--tls-version-max", c.tls, "--reneg-sec", "3", "--data-ciphers", "AES-256-GCM"}
			s := v.start(t, "server", harness.UserPIN, append(common, "--local", "127.0.0.1", "--port", port, "--dh", "none")...)
			k := v.start(t, "client", harness.UserPIN, append(common, "--nobind", "--remote", "127.0.0.1", port)...)
			k.says(t, "Initialization Sequence Completed")
			s.says(t, "Initialization Sequence Completed")
			s.says(t, "Control Channel: TLSv"+c.tls)
			s.says(t, c.signature)
			k.until(t, "four handshakes", func() bool {
				return strings.Count(k.out.String(), "Control Channel: TLSv") >= 4 && strings.Count(s.out.String(), "Control Channel: TLSv") >= 4
			})
		})
	}
}

// TestOpenVPNWrongPIN: without the PIN there is no tunnel.
func TestOpenVPNWrongPIN(t *testing.T) {
	client(t, "openvpn")
	v := newVPN(t, "ec:p256", "ec:p256")
	port := strconv.Itoa(freePort(t))
	common := []string{"--dev", "null", "--proto", "udp4"}
	s := v.start(t, "server", harness.UserPIN, append(common, "--local", "127.0.0.1", "--port", port, "--dh", "none")...)
	k := v.start(t, "client", "wrong-pin-1", append(common, "--nobind", "--remote", "127.0.0.1", port, "--tls-exit")...)
	k.says(t, "TLS handshake failed")
	require.NotContains(t, k.out.String(), "Initialization Sequence Completed")
	require.NotContains(t, s.out.String(), "Peer Connection Initiated")
}

// TestOpenVPNTunnel: a server that goes into the background, which forks after the library was loaded, and pings through.
func TestOpenVPNTunnel(t *testing.T) {
	client(t, "openvpn")
	noTunnels(t, "an OpenVPN tunnel")
	ends := newEnds(t, "an OpenVPN tunnel")
	v := newVPN(t, "rsa:2048", "ec:p256")
	for i, side := range []struct {
		name string
		args []string
	}{
		{"server", []string{"--server", "10.215.0.0", "255.255.255.0", "--topology", "subnet", "--local", ends[0].address, "--dh", "none", "--keepalive", "5", "30"}},
		{"client", []string{"--pull", "--nobind", "--remote", ends[0].address}},
	} {
		socket, pid, log := socketPath(t, side.name), filepath.Join(v.Dir, side.name+".pid"), filepath.Join(v.Dir, side.name+".log")
		args := v.args(t, side.name, socket, append(side.args, "--dev", "tun", "--daemon", "--writepid", pid, "--log", log)...)
		ctx, cancel := context.WithTimeout(context.Background(), harness.Limit)
		t.Cleanup(cancel)
		cmd := ends[i].command(ctx, v.Dir, sbin(t, "openvpn"), args...)
		cmd.Env = v.Env()
		b, err := cmd.CombinedOutput()
		t.Cleanup(func() {
			text, _ := os.ReadFile(pid)
			if p, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				_ = syscall.Kill(p, syscall.SIGTERM)
			}
			if text, _ := os.ReadFile(log); t.Failed() {
				t.Logf("%s:\n%s", side.name, text)
			}
		})
		require.NoError(t, err, string(b))
		v.answer(t, socket, harness.UserPIN)
		require.Eventually(t, func() bool {
			text, _ := os.ReadFile(log)
			return strings.Contains(string(text), "Initialization Sequence Completed")
		}, patience, 100*time.Millisecond)
	}
	require.Contains(t, ends[1].run(t, "ping", "-c", "3", "-i", "0.2", "10.215.0.1"), " 0% packet loss")
	require.Contains(t, ends[1].run(t, "ip", "route", "get", "10.215.0.1"), "dev tun")
}
