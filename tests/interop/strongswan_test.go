package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// ike is one end of a tunnel: charon with its own configuration, whose key is in the token.
type ike struct {
	*service
	end
	k   *harness.Token
	dir string
	net string // what is behind it
}

// newIKE starts charon at an end. The tunnel's packets go through its own process (kernel-libipsec), for not every kernel has ESP.
func newIKE(t *testing.T, k *harness.Token, e, peer end, id, other, handle, pin, proposal string) *ike {
	t.Helper()
	s := &ike{end: e, k: k, dir: filepath.Join(k.Dir, id), net: strings.Replace(e.address, "10.214.0.", "10.216.0.", 1)}
	require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "swanctl"), 0o700))
	files := map[string]string{"strongswan.conf": fmt.Sprintf(`charon-systemd {
	load = random nonce pkcs11 aes sha1 sha2 hmac kdf mgf1 pem pkcs1 x509 constraints pubkey gmp openssl curve25519 kernel-libipsec kernel-netlink socket-default vici updown
	filelog {
		stderr {
			default = 1
		}
	}
	plugins {
		pkcs11 {
			modules {
				coffer {
					path = %s
				}
			}
		}
		vici {
			socket = unix://%s
		}
	}
}
`, harness.Module(t), s.socket()), "swanctl/swanctl.conf": fmt.Sprintf(`connections {
	net {
		version = 2
		proposals = %[7]s
		local_addrs = %[1]s
		remote_addrs = %[2]s
		local {
			auth = pubkey
			id = "CN=%[3]s"
			cert {
				module = coffer
				slot = 0
				handle = %[4]s
			}
		}
		remote {
			auth = pubkey
			id = "CN=%[5]s"
			cacerts = %[6]s
		}
		children {
			net {
				local_ts = %[8]s/32
				remote_ts = %[9]s/32
				esp_proposals = aes256-sha256
			}
		}
	}
}
authorities {
	ca {
		cacert = %[6]s
	}
}
secrets {
	token {
		module = coffer
		slot = 0
		handle = %[4]s
		pin = %[10]s
	}
}
`, e.address, peer.address, id, handle, other, filepath.Join(k.Dir, "ca.pem"), proposal, s.net, strings.Replace(peer.address, "10.214.0.", "10.216.0.", 1), pin)}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
	}
	e.run(t, "ip", "addr", "replace", s.net+"/32", "dev", "lo")
	cmd := e.command(context.Background(), k.Dir, sbin(t, "charon-systemd"))
	cmd.Env = k.Env("STRONGSWAN_CONF=" + filepath.Join(s.dir, "strongswan.conf"))
	s.service = serve(t, cmd)
	s.until(t, "its socket is there", func() bool { _, err := os.Stat(s.socket()); return err == nil })
	return s
}

func (s *ike) socket() string { return filepath.Join(s.dir, "vici") }

func (s *ike) swanctl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := s.k.Command(t, sbin(t, "swanctl"), append(args, "--uri", "unix://"+s.socket())...)
	cmd.Env = s.k.Env("STRONGSWAN_CONF="+filepath.Join(s.dir, "strongswan.conf"), "SWANCTL_DIR="+filepath.Join(s.dir, "swanctl"))
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (s *ike) control(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.swanctl(t, args...)
	require.NoError(t, err, "swanctl %v\n%s", args, out)
	return out
}

// TestStrongSwanTunnel: a tunnel between two machines, each of which proves with its key in the token who it is.
func TestStrongSwanTunnel(t *testing.T) {
	client(t, "strongswan")
	noTunnels(t, "an IPsec tunnel")
	for i, c := range []struct{ name, left, right, proposal, says string }{
		{"RSA and P-256", "rsa:2048", "ec:p256", "aes256-sha256-curve25519", "authentication of 'CN=right' with ECDSA_WITH_SHA256_DER successful"},
		{"P-384 and RSA", "ec:p384", "rsa:3072", "aes256-sha256-ecp384", "authentication of 'CN=right' with RSA_EMSA_PKCS1_SHA2_"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if i > 0 {
				long(t)
			}
			ends := newEnds(t, "an IPsec tunnel")
			k := harness.NewToken(t, "ike")
			ca := newAuthority(t, k)
			ca.certify(t, c.left, "left", "01", "serverAuth")
			ca.certify(t, c.right, "right", "02", "serverAuth")
			left := newIKE(t, k, ends[0], ends[1], "left", "right", "01", harness.UserPIN, c.proposal)
			right := newIKE(t, k, ends[1], ends[0], "right", "left", "02", harness.UserPIN, c.proposal)
			for _, s := range []*ike{left, right} {
				require.Contains(t, s.control(t, "--load-all"), "loaded key token from token")
			}
			out := left.control(t, "--initiate", "--child", "net", "--timeout", "120")
			require.Contains(t, out, c.says)
			require.Contains(t, left.end.run(t, "ping", "-c", "3", "-i", "0.2", "-I", left.net, right.net), " 0% packet loss")
			require.Regexp(t, `in  [0-9a-f]+, +[1-9][0-9]* bytes, +3 packets`, right.control(t, "--list-sas"))

			for range 3 { // again, from either side: each time both prove it anew
				left.control(t, "--terminate", "--ike", "net", "--timeout", "60")
				right.control(t, "--initiate", "--child", "net", "--timeout", "120")
				right.control(t, "--terminate", "--ike", "net", "--timeout", "60")
				left.control(t, "--initiate", "--child", "net", "--timeout", "120")
			}
			require.Contains(t, left.end.run(t, "ping", "-c", "1", "-I", left.net, right.net), " 0% packet loss")

			left.stop(syscall.SIGTERM)
			_ = os.Remove(left.socket())
			left = newIKE(t, k, ends[0], ends[1], "left", "right", "01", "wrong-pin-1", c.proposal)
			out, _ = left.swanctl(t, "--load-all")
			require.NotContains(t, out, "loaded key token")
			out, err := left.swanctl(t, "--initiate", "--child", "net", "--timeout", "10")
			require.Error(t, err, "without the PIN: %s", out)
		})
	}
}
