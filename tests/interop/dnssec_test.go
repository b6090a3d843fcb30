package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

const unsigned = `$TTL 300
@ IN SOA ns.example.test. admin.example.test. 1 3600 600 1209600 300
@ IN NS ns
ns IN A 127.0.0.1
www IN A 192.0.2.1
mail IN TXT "a text"
*.wild IN A 192.0.2.2
`

// sbin finds a server, which is not in a user's PATH.
func sbin(t *testing.T, name string) string {
	t.Helper()
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		path = name
	}
	harness.Need(t, path)
	return path
}

// zone writes the zone into the token's folder.
func zone(t *testing.T, k *harness.Token) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "zone"), []byte(unsigned), 0o600))
}

// verifyZone has both BIND and ldns say whether a zone in a file is signed as it should be.
func verifyZone(t *testing.T, k *harness.Token, file string) error {
	t.Helper()
	for _, verify := range [][]string{{"dnssec-verify", "-o", "example.test", file}, {"ldns-verify-zone", file}} {
		harness.Need(t, verify[0])
		if b, err := k.Command(t, verify[0], verify[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", verify, err, b)
		}
	}
	return nil
}

// tampered is a copy of the zone in which one address is another.
func tampered(t *testing.T, k *harness.Token, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(k.Dir, file))
	require.NoError(t, err)
	text := strings.Replace(string(b), "192.0.2.1", "192.0.2.66", 1)
	require.NotEqual(t, string(b), text)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "tampered"), []byte(text), 0o600))
	return "tampered"
}

// engineWithPIN is engineConf for programs that have no way to say the PIN.
func engineWithPIN(t *testing.T, k *harness.Token) []string {
	t.Helper()
	env := engineConf(t, k)
	conf := filepath.Join(k.Dir, "openssl.cnf")
	b, err := os.ReadFile(conf)
	require.NoError(t, err)
	require.Contains(t, string(b), "init = 0")
	require.NoError(t, os.WriteFile(conf, []byte(strings.Replace(string(b), "init = 0", "PIN = "+harness.UserPIN+"\ninit = 0", 1)), 0o600))
	return env
}

// TestLdnsSignsZone: ldns through OpenSSL's engine, with NSEC and NSEC3; two other programs verify.
func TestLdnsSignsZone(t *testing.T) {
	client(t, "ldns")
	k := harness.NewToken(t, "ldns")
	zone(t, k)
	harness.Need(t, "ldns-signzone")
	env := engineWithPIN(t, k)
	for i, c := range []struct{ algorithm, ksk, zsk string }{
		{"RSASHA256", "rsa:3072", "rsa:2048"}, {"RSASHA512", "rsa:2048", "rsa:2048"},
		{"ECDSAP256SHA256", "ec:p256", "ec:p256"}, {"ECDSAP384SHA384", "ec:p384", "ec:p384"},
	} {
		t.Run(c.algorithm, func(t *testing.T) {
			ksk, zsk := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
			k.Run(t, harness.Coffer(t), "key", "generate", "--type", c.ksk, "--label", "ksk"+c.algorithm, "--id", ksk)
			k.Run(t, harness.Coffer(t), "key", "generate", "--type", c.zsk, "--label", "zsk"+c.algorithm, "--id", zsk)
			for _, denial := range [][]string{nil, {"-n", "-t", "0"}} {
				args := append([]string{"-E", "pkcs11", "-K", c.algorithm + "," + ksk, "-k", c.algorithm + "," + zsk, "-o", "example.test", "-f", "signed"}, denial...)
				cmd := k.Command(t, "ldns-signzone", append(args, "zone")...)
				cmd.Env = env
				b, err := cmd.CombinedOutput()
				require.NoError(t, err, string(b))
				require.NoError(t, verifyZone(t, k, "signed"))
				require.Error(t, verifyZone(t, k, tampered(t, k, "signed")))
			}
		})
	}
}

// knot is a Knot DNS server that signs with keys that it makes in the token.
type knot struct {
	*harness.Token
	*service
	conf string
	port int
}

func newKnot(t *testing.T, k *harness.Token, algorithm string) *knot {
	t.Helper()
	w := &knot{Token: k, conf: filepath.Join(k.Dir, "knot.conf"), port: freePort(t)}
	run := filepath.Dir(socketPath(t, "knot.sock"))
	require.NoError(t, os.Mkdir(filepath.Join(k.Dir, "db"), 0o700))
	zone(t, k)
	text := fmt.Sprintf(`server:
    rundir: %q
    listen: 127.0.0.1@%d
database:
    storage: %q
log:
  - target: stderr
    any: info
keystore:
  - id: coffer
    backend: pkcs11
    config: "pkcs11:token=knot;pin-value=%s %s"
policy:
  - id: signed
    keystore: coffer
    algorithm: %s
    signing-threads: 4
    dnskey-ttl: 1s
    zone-max-ttl: 1s
    propagation-delay: 0s
acl:
  - id: transfer
    address: 127.0.0.1
    action: transfer
zone:
  - domain: example.test
    storage: %q
    file: zone
    acl: transfer
    dnssec-signing: on
    dnssec-policy: signed
`, run, w.port, filepath.Join(k.Dir, "db"), harness.UserPIN, harness.Module(t), algorithm, k.Dir)
	require.NoError(t, os.WriteFile(w.conf, []byte(text), 0o600))
	w.start(t)
	return w
}

func (w *knot) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(sbin(t, "knotd"), "-c", w.conf)
	cmd.Dir, cmd.Env = w.Dir, w.Env()
	w.service = serve(t, cmd)
	w.says(t, "server started")
}

func (w *knot) control(t *testing.T, args ...string) {
	t.Helper()
	w.Run(t, sbin(t, "knotc"), append([]string{"-b", "-c", w.conf}, args...)...)
}

// transferred writes the zone, as the server hands it out, into a file.
func transferred(t *testing.T, k *harness.Token, port int) string {
	t.Helper()
	out := k.Run(t, "dig", "@127.0.0.1", "-p", strconv.Itoa(port), "+onesoa", "example.test", "AXFR")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "axfr"), []byte(out), 0o600))
	return "axfr"
}

// privateKeys are the ids of the token's private keys, none of which may leave it.
func privateKeys(t *testing.T, k *harness.Token) (ids []string) {
	t.Helper()
	var list struct {
		Keys []struct {
			Class, ID              string
			Sensitive, Extractable bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(k.Run(t, harness.Coffer(t), "key", "list", "--output", "json")), &list))
	for _, key := range list.Keys {
		if key.Class == "private" {
			require.True(t, key.Sensitive && !key.Extractable, "the key %s may leave the token", key.ID)
			ids = append(ids, key.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// validated has delv, with the zone's key as the only thing that it trusts, validate an answer.
func validated(t *testing.T, k *harness.Token, port int, name, typ string) error {
	t.Helper()
	server := []string{"@127.0.0.1", "-p", strconv.Itoa(port)}
	anchors := "trust-anchors {\n"
	for line := range strings.Lines(k.Run(t, "dig", append(server, "+short", "example.test", "DNSKEY")...)) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "257" {
			anchors += fmt.Sprintf("example.test. static-key %s %s %s %q;\n", f[0], f[1], f[2], strings.Join(f[3:], ""))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "anchors"), []byte(anchors+"};\n"), 0o600))
	harness.Need(t, "delv")
	out := k.Run(t, "delv", append(server, "-a", "anchors", "+root=example.test", name, typ)...)
	if !strings.Contains(out, "; fully validated") {
		return fmt.Errorf("delv: %s", out)
	}
	return nil
}

// TestKnotSigns: Knot DNS makes its keys in the token, signs, signs what changes, goes on after a restart, and rolls a key over.
func TestKnotSigns(t *testing.T) {
	client(t, "knot")
	for _, algorithm := range []string{"ecdsap256sha256", "ecdsap384sha384", "rsasha256"} {
		t.Run(algorithm, func(t *testing.T) {
			if algorithm != "ecdsap256sha256" {
				long(t)
			}
			k := harness.NewToken(t, "knot")
			w := newKnot(t, k, algorithm)
			before := privateKeys(t, k)
			require.Len(t, before, 2, "a key signing key and a zone signing key")
			require.NoError(t, verifyZone(t, k, transferred(t, k, w.port)))
			require.Error(t, verifyZone(t, k, tampered(t, k, "axfr")))
			require.NoError(t, validated(t, k, w.port, "www.example.test", "A"))

			w.control(t, "zone-begin", "example.test")
			for i := range 20 {
				w.control(t, "zone-set", "example.test", fmt.Sprintf("host%d", i), "1", "A", fmt.Sprintf("192.0.2.%d", 100+i))
			}
			w.control(t, "zone-commit", "example.test")
			require.NoError(t, validated(t, k, w.port, "host19.example.test", "A"))

			w.stop(syscall.SIGTERM)
			w.start(t)
			w.control(t, "zone-sign", "example.test")
			require.NoError(t, validated(t, k, w.port, "host7.example.test", "A"))

			w.control(t, "zone-key-rollover", "example.test", "zsk")
			w.until(t, "the old key is gone from the token", func() bool {
				now := privateKeys(t, k)
				return len(now) == 2 && !slices.Equal(now, before)
			})
			require.NoError(t, validated(t, k, w.port, "www.example.test", "A"))
			require.NoError(t, verifyZone(t, k, transferred(t, k, w.port)))
		})
	}
}
