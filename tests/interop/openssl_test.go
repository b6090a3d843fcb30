package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// engineConf writes an OpenSSL configuration that loads libp11's engine with the library, and returns the environment.
func engineConf(t *testing.T, k *harness.Token) []string {
	t.Helper()
	conf := filepath.Join(k.Dir, "openssl.cnf")
	text := fmt.Sprintf(`openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = %s
init = 0
[req]
distinguished_name = dn
prompt = no
[dn]
CN = localhost
`, harness.Module(t))
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	return k.Env("OPENSSL_CONF=" + conf)
}

// TestOpenSSLEngine: certificates, signatures and decryption through libp11's engine, with each kind of key.
func TestOpenSSLEngine(t *testing.T) {
	client(t, "openssl-engine")
	k := harness.NewToken(t, "openssl")
	env := engineConf(t, k)
	coffer := harness.Coffer(t)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "data"), []byte("to be signed\n"), 0o600))
	openssl := func(t *testing.T, args ...string) string {
		t.Helper()
		harness.Need(t, "openssl")
		cmd := k.Command(t, "openssl", args...)
		cmd.Env = env
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "openssl %v\n%s", args, b)
		return string(b)
	}
	for id, typ := range map[string]string{"01": "rsa:2048", "02": "ec:p256", "03": "ec:p384"} {
		t.Run(typ, func(t *testing.T) {
			k.Run(t, coffer, "key", "generate", "--type", typ, "--label", "k"+id, "--id", id)
			key := "pkcs11:token=openssl;object=k" + id + ";type=private;pin-value=" + harness.UserPIN
			openssl(t, "req", "-new", "-x509", "-days", "2", "-engine", "pkcs11", "-keyform", "engine", "-key", key, "-out", "cert.pem")
			require.Contains(t, openssl(t, "verify", "-CAfile", "cert.pem", "cert.pem"), "OK")
			openssl(t, "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256", "-sign", key, "-out", "sig", "data")
			openssl(t, "x509", "-in", "cert.pem", "-noout", "-pubkey", "-out", "pub.pem")
			require.Contains(t, openssl(t, "dgst", "-sha256", "-verify", "pub.pem", "-signature", "sig", "data"), "Verified OK")
			if typ != "rsa:2048" {
				return
			}
			for _, padding := range []string{"pkcs1", "oaep"} {
				opt := "rsa_padding_mode:" + padding
				openssl(t, "pkeyutl", "-encrypt", "-pubin", "-inkey", "pub.pem", "-pkeyopt", opt, "-in", "data", "-out", "enc")
				out := openssl(t, "pkeyutl", "-decrypt", "-engine", "pkcs11", "-keyform", "engine", "-inkey", key, "-pkeyopt", opt, "-in", "enc")
				require.Contains(t, out, "to be signed")
			}
			openssl(t, "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256", "-sigopt", "rsa_padding_mode:pss",
				"-sigopt", "rsa_pss_saltlen:32", "-sign", key, "-out", "sig", "data")
			require.Contains(t, openssl(t, "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-verify", "pub.pem", "-signature", "sig", "data"), "Verified OK")
		})
	}
}
