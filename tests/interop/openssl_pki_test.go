package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// script runs lines of a shell as a person would paste them, in the token's folder and with these variables; the test fails
// with the first that fails.
func script(t *testing.T, k *harness.Token, lines string, env ...string) string {
	t.Helper()
	b, err := scriptCommand(t, k, lines, env...).CombinedOutput()
	require.NoError(t, err, "%s\n%s", lines, b)
	return string(b)
}

func scriptCommand(t *testing.T, k *harness.Token, lines string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := k.Command(t, "sh", "-ec", lines)
	cmd.Env = append(cmd.Env, "MODULE="+harness.Module(t), "PIN="+harness.UserPIN)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// engineURI names a private key for libp11's engine.
func engineURI(token, label string) string {
	return fmt.Sprintf("pkcs11:token=%s;object=%s;type=private;pin-value=%s", token, label, harness.UserPIN)
}

// generate makes a key with a label, and leaves its public half in LABEL.pub of the token's folder.
func generate(t *testing.T, k *harness.Token, typ, label string, more ...string) {
	t.Helper()
	coffer := harness.Coffer(t)
	k.Run(t, coffer, append([]string{"key", "generate", "--type", typ, "--label", label}, more...)...)
	k.Run(t, coffer, "key", "export", label, "--out", label+".pub")
}

// caConf is an authority as `openssl ca` wants it.
const caConf = `[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
rand_serial = yes
certificate = ca.pem
default_md = sha256
default_days = 2
default_crl_days = 2
policy = any
copy_extensions = copy
[any]
commonName = supplied
`

// TestOpenSSLAuthority: an issuing authority whose key is in the token: a certificate is issued, revoked and on the list.
func TestOpenSSLAuthority(t *testing.T) {
	client(t, "openssl-engine")
	k := harness.NewToken(t, "authority")
	env := engineConf(t, k)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "ca.cnf"), []byte(caConf), 0o600))
	for _, typ := range []string{"rsa:3072", "ec:p384"} {
		t.Run(typ, func(t *testing.T) {
			label, _, _ := strings.Cut(typ, ":")
			generate(t, k, typ, label)
			out := script(t, k, `
ca="openssl ca -config ca.cnf -batch -notext -engine pkcs11 -keyform engine -keyfile $KEY"
rm -f index.txt*; : >index.txt
openssl req -new -x509 -days 2 -subj /CN=authority -addext keyUsage=critical,keyCertSign,cRLSign \
	-engine pkcs11 -keyform engine -key "$KEY" -out ca.pem
openssl req -newkey rsa:2048 -nodes -keyout web.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out web.csr
$ca -in web.csr -out web.pem
$ca -gencrl -out before.crl
openssl verify -crl_check -CRLfile before.crl -CAfile ca.pem web.pem
$ca -revoke web.pem -crl_reason keyCompromise
$ca -gencrl -out after.crl
openssl crl -in after.crl -CAfile ca.pem -noout -text
openssl x509 -req -in web.csr -days 2 -CA ca.pem -CAkey "$KEY" -CAkeyform engine -engine pkcs11 -CAcreateserial -out again.pem
openssl verify -CAfile ca.pem again.pem
`, append(env, "KEY="+engineURI("authority", label))...)
			for _, want := range []string{"web.pem: OK", "again.pem: OK", "Key Compromise"} {
				require.Contains(t, out, want)
			}
			b, err := k.Command(t, "openssl", "verify", "-crl_check", "-CRLfile", "after.crl", "-CAfile", "ca.pem", "web.pem").CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(b), "certificate revoked")
		})
	}
}

// TestOpenSSLMessages: signed and encrypted messages (CMS), raw signatures and ECDH with pkeyutl. What OpenSSL without the
// engine wrote is read with the key in the token, and the other way round.
func TestOpenSSLMessages(t *testing.T) {
	client(t, "openssl-engine")
	k := harness.NewToken(t, "messages")
	env := engineConf(t, k)
	run := func(t *testing.T, label, lines string) string {
		return script(t, k, lines, append(env, "KEY="+engineURI("messages", label), "L="+label, "ENGINE=-engine pkcs11 -keyform engine")...)
	}
	const message = `
echo "a letter" >letter
openssl req -new -x509 -days 2 $ENGINE -key "$KEY" -out $L.pem
openssl cms -sign -nodetach -binary -in letter -signer $L.pem $ENGINE -inkey "$KEY" $SIGN -outform PEM -out signed
OPENSSL_CONF=/dev/null openssl cms -verify -purpose any -inform PEM -in signed -CAfile $L.pem -binary -out read
cmp letter read
OPENSSL_CONF=/dev/null openssl cms -encrypt -binary -aes-256-gcm -in letter -outform PEM -out sealed -recip $L.pem $SEAL
openssl cms -decrypt -inform PEM -in sealed -recip $L.pem $ENGINE -inkey "$KEY" -out read
cmp letter read
`
	generate(t, k, "rsa:2048", "rsa")
	generate(t, k, "ec:p256", "ec")
	for name, c := range map[string]struct{ label, options string }{
		"rsa":               {"rsa", ""},
		"rsa, pss and oaep": {"rsa", "SIGN='-keyopt rsa_padding_mode:pss'; SEAL='-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256'"},
		"ec":                {"ec", ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, run(t, c.label, c.options+message), "CMS Verification successful")
		})
	}
	t.Run("pkeyutl", func(t *testing.T) {
		for _, label := range []string{"rsa", "ec"} {
			require.Contains(t, run(t, label, `
openssl dgst -sha256 -binary -out digest letter
openssl pkeyutl -sign $ENGINE -inkey "$KEY" -pkeyopt digest:sha256 -in digest -out sig
OPENSSL_CONF=/dev/null openssl pkeyutl -verify -pubin -inkey $L.pub -pkeyopt digest:sha256 -in digest -sigfile sig
`), "Signature Verified Successfully")
		}
		run(t, "ec", `
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out peer.key
openssl pkey -in peer.key -pubout -out peer.pub
openssl pkeyutl -derive $ENGINE -inkey "$KEY" -peerkey peer.pub -out ours
OPENSSL_CONF=/dev/null openssl pkeyutl -derive -inkey peer.key -peerkey $L.pub -out theirs
cmp ours theirs
test $(wc -c <ours) = 32
`)
	})
}

// TestOpenSSLServer: s_server with the key in the token, and s_client, which trusts its certificate alone.
func TestOpenSSLServer(t *testing.T) {
	client(t, "openssl-engine")
	k := harness.NewToken(t, "server")
	env := engineConf(t, k)
	for _, c := range []struct{ typ, signature string }{{"rsa:2048", "RSA-PSS"}, {"ec:p256", "ECDSA"}, {"ec:p384", "ECDSA"}} {
		t.Run(c.typ, func(t *testing.T) {
			label := strings.ReplaceAll(c.typ, ":", "-")
			generate(t, k, c.typ, label)
			uri := engineURI("server", label)
			cert := label + ".pem"
			script(t, k, `openssl req -new -x509 -days 2 -addext subjectAltName=DNS:localhost -engine pkcs11 -keyform engine -key "$KEY" -out `+cert,
				append(env, "KEY="+uri)...)
			port := freePort(t)
			cmd := k.Command(t, "openssl", "s_server", "-accept", fmt.Sprintf("127.0.0.1:%d", port), "-cert", cert,
				"-engine", "pkcs11", "-keyform", "engine", "-key", uri, "-www")
			cmd.Env = env
			serve(t, cmd).listens(t, port)
			for _, version := range []string{"-tls1_3", "-tls1_2"} {
				handshake(t, k, port, cert, version, c.signature)
			}
		})
	}
}

// handshake has s_client connect, and check the certificate and its name; the server signs with the named kind of signature.
func handshake(t *testing.T, k *harness.Token, port int, ca, version, signature string) {
	t.Helper()
	out := script(t, k, fmt.Sprintf("echo | openssl s_client -connect 127.0.0.1:%d -servername localhost -verify_hostname localhost -CAfile %s -verify_return_error %s 2>&1",
		port, ca, version))
	require.Contains(t, out, "Verify return code: 0 (ok)")
	require.Contains(t, out, "Peer signature type: "+signature)
}

// TestOpenSSLEngineLimits: what Debian 12's libp11 cannot do with any module, so that the recipe stays true: it lists all
// private keys before it uses one, and ends at the first that is neither RSA nor EC. Other tokens do not disturb it, nor does what the slot does not show.
func TestOpenSSLEngineLimits(t *testing.T) {
	client(t, "openssl-engine")
	k := harness.NewSlot(t)
	conf := fmt.Sprintf("[[slot]]\nid = 0\npath = %q\n[[slot]]\nid = 1\npath = %q\n", k.Path, filepath.Join(k.Dir, "other.db"))
	require.NoError(t, os.WriteFile(k.Conf, []byte(conf), 0o600))
	coffer := harness.Coffer(t)
	for slot, label := range map[string]string{"0": "demo", "1": "other"} {
		k.Run(t, coffer, "token", "init", "--slot", slot, "--label", label)
		k.Run(t, coffer, "key", "generate", "--slot", slot, "--type", "ec:p256", "--label", "web")
	}
	k.Run(t, coffer, "key", "generate", "--slot", "1", "--type", "ed25519", "--label", "ed")
	sign := func(token string) (string, error) {
		b, err := scriptCommand(t, k, `echo data >data; openssl dgst -engine pkcs11 -keyform engine -sha256 -sign "$KEY" -out sig data`,
			append(engineConf(t, k), "KEY="+engineURI(token, "web"))...).CombinedOutput()
		return string(b), err
	}
	out, err := sign("demo")
	require.NoError(t, err, out)
	k.Run(t, coffer, "key", "export", "--slot", "0", "web", "--out", "web.pub")
	require.Contains(t, k.Run(t, "openssl", "dgst", "-sha256", "-verify", "web.pub", "-signature", "sig", "data"), "Verified OK")
	out, err = sign("other")
	require.Error(t, err)
	require.Contains(t, out, "Unable to enumerate private keys")
	require.NoError(t, os.WriteFile(k.Conf, []byte(conf+"key_types = [\"rsa\", \"ec\"]\n"), 0o600))
	out, err = sign("other")
	require.NoError(t, err, out)
}
