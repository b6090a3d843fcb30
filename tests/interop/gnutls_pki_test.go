package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// What certtool is to write.
var certtoolTemplates = map[string]string{
	"ca.tmpl":  "cn = authority\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 2\n",
	"web.tmpl": "cn = localhost\ndns_name = localhost\ntls_www_server\nsigning_key\nexpiration_days = 1\n",
	"crl.tmpl": "crl_next_update = 2\ncrl_number = 1\n",
}

// TestGnuTLSAuthorityAndServer: certtool's authority, with its key in the token, issues a certificate for a request and a
// list of the revoked ones; gnutls-serv has the other key there.
func TestGnuTLSAuthorityAndServer(t *testing.T) {
	client(t, "gnutls")
	k := harness.NewToken(t, "gnutls")
	for name, text := range certtoolTemplates {
		require.NoError(t, os.WriteFile(filepath.Join(k.Dir, name), []byte(text), 0o600))
	}
	pin := "GNUTLS_PIN=" + harness.UserPIN
	for label, c := range map[string]struct{ typ, signature string }{"r": {"rsa:3072", "RSA-PSS"}, "e": {"ec:p384", "ECDSA"}, "d": {"ed25519", "ed25519"}} {
		t.Run(c.typ, func(t *testing.T) {
			generate(t, k, c.typ, "ca-"+label)
			generate(t, k, c.typ, "web-"+label)
			out := script(t, k, `
ca="pkcs11:token=gnutls;object=ca-$L;type=private"
web="pkcs11:token=gnutls;object=web-$L;type=private"
tool="certtool --provider $MODULE"
$tool --generate-self-signed --template ca.tmpl --load-privkey "$ca" --load-pubkey ca-$L.pub --outfile ca.pem
$tool --generate-request --template web.tmpl --load-privkey "$web" --load-pubkey web-$L.pub --outfile web.csr
openssl req -in web.csr -verify -noout
$tool --generate-certificate --template web.tmpl --load-ca-privkey "$ca" --load-ca-certificate ca.pem --load-request web.csr --outfile web.pem
openssl verify -CAfile ca.pem web.pem
$tool --generate-crl --template crl.tmpl --load-ca-privkey "$ca" --load-ca-certificate ca.pem --load-certificate web.pem --outfile ca.crl
openssl crl -in ca.crl -CAfile ca.pem -noout -text
`, pin, "L="+label)
			require.Contains(t, out, "web.pem: OK")
			b, err := k.Command(t, "openssl", "verify", "-crl_check", "-CRLfile", "ca.crl", "-CAfile", "ca.pem", "web.pem").CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(b), "certificate revoked")

			port := freePort(t)
			cmd := k.Command(t, "gnutls-serv", "--provider", harness.Module(t), "--x509keyfile", "pkcs11:token=gnutls;object=web-"+label+";type=private",
				"--x509certfile", "web.pem", "--port", fmt.Sprint(port), "--http", "--disable-client-cert")
			cmd.Env = append(cmd.Env, pin)
			serve(t, cmd).listens(t, port)
			require.Contains(t, script(t, k, fmt.Sprintf("gnutls-cli --x509cafile ca.pem -p %d localhost </dev/null 2>&1", port)), "The certificate is trusted")
			handshake(t, k, port, "ca.pem", "-tls1_3", c.signature)
			handshake(t, k, port, "ca.pem", "-tls1_2", c.signature)
		})
	}
}

// TestGnuTLSClient: gnutls-cli shows a server a certificate whose key is in the token, and which is itself there.
func TestGnuTLSClient(t *testing.T) {
	client(t, "gnutls")
	k := harness.NewToken(t, "gnutls")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "t"), []byte("cn = alice\ntls_www_client\nsigning_key\nexpiration_days = 1\n"), 0o600))
	pin := "GNUTLS_PIN=" + harness.UserPIN
	for label, typ := range map[string]string{"r": "rsa:2048", "e": "ec:p256", "d": "ed25519"} {
		t.Run(typ, func(t *testing.T) {
			generate(t, k, typ, label)
			script(t, k, `
certtool --provider "$MODULE" --generate-self-signed --template t --load-privkey "pkcs11:token=gnutls;object=$L;type=private" \
	--load-pubkey $L.pub --outfile alice.pem
openssl req -x509 -newkey rsa:2048 -nodes -keyout srv.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out srv.pem
`, pin, "L="+label)
			k.Run(t, harness.Coffer(t), "key", "import", "alice.pem", "--label", label)
			port := freePort(t)
			server := serve(t, k.Command(t, "openssl", "s_server", "-accept", fmt.Sprintf("127.0.0.1:%d", port), "-cert", "srv.pem", "-key", "srv.key",
				"-CAfile", "alice.pem", "-Verify", "1", "-verify_return_error", "-WWW"))
			server.listens(t, port)
			out := script(t, k, fmt.Sprintf(`printf 'GET /t HTTP/1.0\r\n\r\n' >request
gnutls-cli --provider "$MODULE" --x509cafile srv.pem --x509keyfile "pkcs11:token=gnutls;object=$L;type=private" \
	--x509certfile "pkcs11:token=gnutls;object=$L;type=cert" -p %d localhost <request 2>&1`, port), pin, "L="+label)
			require.Contains(t, out, "Handshake was completed")
			server.says(t, "depth=0 CN = alice")
			server.says(t, "FILE:t") // it serves only whom it has verified
		})
	}
}
