package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// named starts a BIND name server with these lines in its options and after them.
func named(t *testing.T, k *harness.Token, program string, port int, env []string, zone string, args ...string) *service {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "named.conf"), []byte(fmt.Sprintf(`options {
	directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile none;
	recursion no;
	notify no;
	dnssec-validation no;
	allow-transfer { 127.0.0.1; };
};
controls { };
%s
`, k.Dir, port, zone)), 0o600))
	cmd := exec.Command(program, append([]string{"-g", "-c", "named.conf"}, args...)...)
	cmd.Dir, cmd.Env = k.Dir, env
	s := serve(t, cmd)
	s.says(t, "running")
	return s
}

// TestBindServesWhatKnotSigns: Debian's BIND knows no engine, so that another server signs for it: BIND is a secondary.
func TestBindServesWhatKnotSigns(t *testing.T) {
	client(t, "bind")
	k := harness.NewToken(t, "knot")
	w := newKnot(t, k, "ecdsap256sha256")
	port := freePort(t)
	n := named(t, k, sbin(t, "named"), port, k.Env(), fmt.Sprintf(`zone "example.test" { type secondary; primaries { 127.0.0.1 port %d; }; file "secondary"; masterfile-format text; };`, w.port))
	n.says(t, "Transfer status: success")
	require.NoError(t, validated(t, k, port, "www.example.test", "A"))
	require.NoError(t, validated(t, k, port, "any.wild.example.test", "A"))
	require.NoError(t, verifyZone(t, k, transferred(t, k, port)))
}

// TestBindEngine: dnssec-keyfromlabel, dnssec-signzone and named with inline signing, through OpenSSL's engine.
func TestBindEngine(t *testing.T) {
	client(t, "bind")
	prefix := os.Getenv("COFFER_BIND")
	if prefix == "" {
		t.Skip("NOT TESTED: BIND with keys in a token. Debian's build has no engine; COFFER_BIND is the prefix of one that has, see docs/clients/bind.md")
	}
	k := harness.NewToken(t, "bind")
	zone(t, k)
	env := engineWithPIN(t, k)
	bind := func(name string, args ...string) string {
		t.Helper()
		cmd := k.Command(t, filepath.Join(prefix, "bin", name), append([]string{"-E", "pkcs11", "-K", "keys"}, args...)...)
		cmd.Env = env
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v\n%s", name, args, b)
		return string(b)
	}
	for _, c := range []struct{ algorithm, typ string }{{"ECDSAP256SHA256", "ec:p256"}, {"ECDSAP384SHA384", "ec:p384"}, {"RSASHA256", "rsa:2048"}} {
		t.Run(c.algorithm, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(filepath.Join(k.Dir, "keys")))
			require.NoError(t, os.Mkdir(filepath.Join(k.Dir, "keys"), 0o700))
			for role, flags := range map[string][]string{"ksk": {"-f", "KSK"}, "zsk": nil} {
				label := role + c.algorithm
				k.Run(t, harness.Coffer(t), "key", "generate", "--type", c.typ, "--label", label)
				bind("dnssec-keyfromlabel", append(flags, "-a", c.algorithm, "-l", "pkcs11:token=bind;object="+label, "example.test")...)
			}
			bind("dnssec-signzone", "-S", "-o", "example.test", "-f", "signed", "zone")
			require.NoError(t, verifyZone(t, k, "signed"))
			require.Error(t, verifyZone(t, k, tampered(t, k, "signed")))

			port := freePort(t)
			require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "inline"), []byte(unsigned), 0o600))
			n := named(t, k, filepath.Join(prefix, "sbin", "named"), port, env, fmt.Sprintf(`dnssec-policy token {
	keys { ksk lifetime unlimited algorithm %[1]s; zsk lifetime unlimited algorithm %[1]s; };
};
zone "example.test" { type primary; file "inline"; key-directory "keys"; inline-signing yes; dnssec-policy token; };`, strings.ToLower(c.algorithm)), "-E", "pkcs11")
			n.until(t, "the zone is signed", func() bool {
				return strings.Contains(k.Run(t, "dig", "@127.0.0.1", "-p", fmt.Sprint(port), "+dnssec", "www.example.test", "A"), "RRSIG")
			})
			require.NoError(t, validated(t, k, port, "www.example.test", "A"))
			changed := strings.Replace(unsigned, " 1 3600", " 2 3600", 1) + "later A 192.0.2.9\n"
			require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "inline"), []byte(changed), 0o600))
			require.NoError(t, syscall.Kill(-n.cmd.Process.Pid, syscall.SIGHUP))
			n.until(t, "what is new is there", func() bool {
				return strings.Contains(k.Run(t, "dig", "@127.0.0.1", "-p", fmt.Sprint(port), "+dnssec", "later.example.test", "A"), "192.0.2.9")
			})
			require.NoError(t, validated(t, k, port, "later.example.test", "A"))
			require.NoError(t, verifyZone(t, k, transferred(t, k, port)))
			n.stop(syscall.SIGTERM)
			require.NoError(t, os.Remove(filepath.Join(k.Dir, "inline.signed")))
			_ = os.Remove(filepath.Join(k.Dir, "inline.signed.jnl"))
			_ = os.Remove(filepath.Join(k.Dir, "inline.jbk"))
		})
	}
}
