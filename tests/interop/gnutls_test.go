package interop

import (
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// p11tool runs GnuTLS's p11tool on the library alone.
func p11tool(t *testing.T, k *harness.Token, args ...string) string {
	t.Helper()
	harness.Need(t, "p11tool")
	cmd := k.Command(t, "p11tool", append([]string{"--batch", "--provider", harness.Module(t)}, args...)...)
	cmd.Env = append(cmd.Env, "GNUTLS_PIN="+harness.UserPIN, "GNUTLS_SO_PIN="+harness.SOPIN)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("p11tool %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return string(b)
}

// TestP11tool: lists tokens and mechanisms, generates keys, writes, lists, exports and deletes objects.
func TestP11tool(t *testing.T) {
	client(t, "gnutls")
	k := harness.NewToken(t, "gnutls")
	require.Contains(t, p11tool(t, k, "--list-tokens"), "token=gnutls")
	require.Contains(t, p11tool(t, k, "--list-mechanisms", "pkcs11:token=gnutls"), "CKM_AES_GCM")

	p11tool(t, k, "--login", "--generate-privkey=rsa", "--bits=2048", "--label=rsa", "--outfile=rsa.pub", "pkcs11:token=gnutls")
	p11tool(t, k, "--login", "--generate-privkey=ecdsa", "--curve=secp256r1", "--label=ec", "--outfile=ec.pub", "pkcs11:token=gnutls")
	// GnuTLS 3.7 asks for Ed25519 keys with CKM_EDDSA, which is not a generator, in any module.
	k.Run(t, harness.Coffer(t), "key", "generate", "--type", "ed25519", "--label", "ed")

	list := p11tool(t, k, "--login", "--list-all-privkeys", "pkcs11:token=gnutls")
	for _, label := range []string{"rsa", "ec", "ed"} {
		require.Contains(t, list, "Label: "+label)
	}
	for _, label := range []string{"rsa", "ec"} {
		p11tool(t, k, "--login", "--test-sign", "pkcs11:token=gnutls;object="+label+";type=private")
	}

	k.Run(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-subj", "/CN=x", "-out", "c.pem", "-days", "2")
	p11tool(t, k, "--login", "--write", "--load-certificate=c.pem", "--label=cert", "pkcs11:token=gnutls")
	p11tool(t, k, "--login", "--write", "--load-privkey=k.pem", "--label=imported", "pkcs11:token=gnutls")
	require.Contains(t, p11tool(t, k, "--export", "pkcs11:token=gnutls;object=cert;type=cert"), "BEGIN CERTIFICATE")
	p11tool(t, k, "--login", "--delete", "pkcs11:token=gnutls;object=cert;type=cert")
	require.NotContains(t, p11tool(t, k, "--login", "--list-all", "pkcs11:token=gnutls"), "Label: cert")
}

// TestCerttoolSelfSigned: GnuTLS signs a certificate with a key in the token.
func TestCerttoolSelfSigned(t *testing.T) {
	client(t, "gnutls")
	k := harness.NewToken(t, "certtool")
	p11tool(t, k, "--login", "--generate-privkey=ecdsa", "--curve=secp256r1", "--label=ca", "--outfile=ca.pub", "pkcs11:token=certtool")
	harness.Need(t, "certtool")
	sh := k.Command(t, "sh", "-c", `printf 'cn = test\nca\nexpiration_days = 2\n' > t && certtool --generate-self-signed --template t `+
		`--provider "$1" --load-privkey 'pkcs11:token=certtool;object=ca;type=private' --load-pubkey ca.pub --outfile ca.pem && openssl verify -CAfile ca.pem ca.pem`,
		"sh", harness.Module(t))
	sh.Env = append(sh.Env, "GNUTLS_PIN="+harness.UserPIN)
	b, err := sh.CombinedOutput()
	require.NoError(t, err, string(b))
	require.Contains(t, string(b), "ca.pem: OK")
}
