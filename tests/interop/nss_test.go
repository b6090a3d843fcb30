package interop

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/stretchr/testify/require"
)

// nssToken is a token with NSS's database `db` beside it, which has the library as a module, and the files that NSS's tools
// want: the PIN, and noise in place of what a person would type. FRIENDLY says that certificates can be read without a PIN.
func nssToken(t *testing.T) *harness.Token {
	t.Helper()
	k := harness.NewToken(t, "nss")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "pin"), []byte(harness.UserPIN+"\n"), 0o600))
	noise := make([]byte, 64)
	_, _ = rand.Read(noise)
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "noise"), noise, 0o600))
	nssDatabase(t, k, "db", "-mechanisms FRIENDLY")
	return k
}

// nssDatabase makes one more database with the library as a module.
func nssDatabase(t *testing.T, k *harness.Token, name, options string) {
	t.Helper()
	harness.Need(t, "modutil")
	script(t, k, fmt.Sprintf(`mkdir %[1]s
certutil -N -d sql:%[1]s --empty-password
modutil -force -dbdir sql:%[1]s -add coffer -libfile "$MODULE" %[2]s`, name, options))
}

// nssAuthority is a self-signed authority, made by NSS in the token, and trusted in the database.
const nssAuthority = `printf 'y\n\ny\n' | certutil -S -d sql:db -h nss -f pin -z noise -n ca -s CN=authority -x -t CTu,Cu,Cu -k ec -q nistp384 \
	-2 --keyUsage certSigning,crlSigning -v 2
certutil -L -d sql:db -n nss:ca -a >ca.pem
`

// nssServers are certificates for a TLS server, with each kind of key that NSS makes.
const nssServers = `certutil -S -d sql:db -h nss -f pin -z noise -n web-rsa -s CN=localhost -8 localhost -c nss:ca -t ,, -k rsa -g 2048 -m 2 -v 1
certutil -S -d sql:db -h nss -f pin -z noise -n web-ec -s CN=localhost -8 localhost -c nss:ca -t ,, -k ec -q nistp256 -m 3 -v 1
`

// TestNSSCertificates: modutil and certutil: keys made in the token, self-signed and issued certificates, requests.
func TestNSSCertificates(t *testing.T) {
	client(t, "nss")
	k := nssToken(t)
	out := script(t, k, `modutil -dbdir sql:db -list coffer; modutil -dbdir sql:db -chkfips false`)
	require.Regexp(t, `Token Name: +nss`, out)
	require.Contains(t, out, "FIPS mode disabled")

	script(t, k, nssAuthority+nssServers)
	for _, name := range []string{"web-rsa", "web-ec"} {
		require.Contains(t, script(t, k, "certutil -V -d sql:db -n nss:"+name+" -u V -e -f pin"), "certificate is valid")
		require.Contains(t, script(t, k, "certutil -L -d sql:db -n nss:"+name+" -a | openssl verify -CAfile ca.pem"), "OK")
	}
	require.Regexp(t, `nss:ca +CTu,Cu,Cu`, script(t, k, "certutil -L -d sql:db -h nss -f pin"), "the trust in it is in the database")

	t.Run("request", func(t *testing.T) {
		script(t, k, `certutil -R -d sql:db -h nss -f pin -z noise -k ec -q nistp256 -s CN=localhost -8 localhost -a -o web.csr
openssl req -in web.csr -verify -noout
certutil -C -d sql:db -c nss:ca -f pin -i web.csr -a -o web.pem -m 4 -v 1
certutil -A -d sql:db -h nss -f pin -n web -t ,, -i web.pem -a`)
		require.Contains(t, k.Run(t, "openssl", "verify", "-CAfile", "ca.pem", "web.pem"), "OK")
		require.Regexp(t, `(?m)^nss:web +u,u,u`, script(t, k, "certutil -L -d sql:db -h nss -f pin"), "it has a key")
	})
	t.Run("key alone", func(t *testing.T) {
		script(t, k, "certutil -G -d sql:db -h nss -f pin -k rsa -g 2048 -z noise")
		require.Contains(t, script(t, k, "certutil -K -d sql:db -h nss -f pin"), "(orphan)")
	})
	t.Run("key made by coffer", func(t *testing.T) {
		generate(t, k, "rsa:2048", "ours")
		script(t, k, `openssl req -new -x509 -days 2 -subj /CN=ours -engine pkcs11 -keyform engine -key "$KEY" -out ours.pem`,
			append(engineConf(t, k), "KEY="+engineURI("nss", "ours"))...)
		k.Run(t, harness.Coffer(t), "key", "import", "ours.pem", "--label", "ours")
		require.Regexp(t, `(?m)^nss:ours +u,u,u`, script(t, k, "certutil -L -d sql:db -h nss -f pin"))
	})
	require.Equal(t, 6, sealedKeys(t, k), "ca, two servers, the request, the orphan, ours")
}

// sealedKeys counts the private keys of a token, which must all be such that they cannot leave it.
func sealedKeys(t *testing.T, k *harness.Token) (n int) {
	t.Helper()
	var list struct {
		Keys []struct {
			Class, Label           string
			Sensitive, Extractable bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(k.Run(t, harness.Coffer(t), "key", "list", "--output", "json")), &list))
	for _, o := range list.Keys {
		if o.Class == "private" {
			n++
			require.True(t, o.Sensitive && !o.Extractable, "%+v", o)
		}
	}
	return n
}

// TestNSSServer: NSS's own TLS server with keys in the token, for OpenSSL and for many of NSS's clients at once.
func TestNSSServer(t *testing.T) {
	client(t, "nss")
	k := nssToken(t)
	script(t, k, nssAuthority+nssServers+`mkdir trust
certutil -N -d sql:trust --empty-password
certutil -A -d sql:trust -n ca -t C,, -i ca.pem -a`)
	selfserv := func(t *testing.T, db, cert string, env ...string) int {
		port := freePort(t)
		cmd := k.Command(t, "selfserv", "-d", "sql:"+db, "-n", "nss:"+cert, "-p", fmt.Sprint(port), "-w", harness.UserPIN, "-V", "tls1.2:tls1.3", "-H", "1")
		cmd.Env = append(cmd.Env, env...)
		serve(t, cmd).listens(t, port)
		return port
	}
	for cert, signature := range map[string]string{"web-rsa": "RSA-PSS", "web-ec": "ECDSA"} {
		t.Run(cert, func(t *testing.T) {
			port := selfserv(t, "db", cert)
			handshake(t, k, port, "ca.pem", "-tls1_3", signature)
			handshake(t, k, port, "ca.pem", "-tls1_2", signature)
			// 200 connections of 8 threads, each with a whole handshake. Its exit code says how many sessions were new to TLS 1.2.
			out := script(t, k, fmt.Sprintf("strsclnt -d sql:trust -p %d -c 200 -t 8 -N -V tls1.3:tls1.3 localhost 2>&1 || true", port))
			require.Equal(t, 200, strings.Count(out, "Server Certificate Validated"))
			require.Contains(t, out, "200 server certificates tested")
		})
	}
	// All that NSS can hand to a module: it hashes the handshake there, and saves and copies the state of each hash.
	t.Run("everything in the token", func(t *testing.T) {
		nssDatabase(t, k, "all", "-mechanisms RSA:DH:AES:SHA1:SHA256:SHA512:SSL:TLS:RANDOM:FRIENDLY")
		log := filepath.Join(k.Dir, "calls")
		port := selfserv(t, "all", "web-rsa", "NSS_DEBUG_PKCS11_MODULE=coffer", "NSPR_LOG_MODULES=nss_mod_log:4", "NSPR_LOG_FILE="+log)
		handshake(t, k, port, "ca.pem", "-tls1_3", "RSA-PSS")
		handshake(t, k, port, "ca.pem", "-tls1_2", "RSA-PSS")
		calls, err := os.ReadFile(log)
		require.NoError(t, err)
		for _, want := range []string{"C_DigestUpdate", "C_GetOperationState", "C_SetOperationState", "C_GenerateRandom", "CKM_RSA_PKCS_PSS"} {
			require.Contains(t, string(calls), want)
		}
	})
}

// TestNSSMessages: the client side, S/MIME and signed archives.
func TestNSSMessages(t *testing.T) {
	client(t, "nss")
	k := nssToken(t)
	script(t, k, nssAuthority+`certutil -S -d sql:db -h nss -f pin -z noise -n mail -s CN=alice,E=alice@example.org -7 alice@example.org -c nss:ca -t ,, \
	-k rsa -g 2048 --keyUsage digitalSignature,keyEncipherment -m 2 -v 1
certutil -S -d sql:db -h nss -f pin -z noise -n code -s CN=code -c nss:ca -t ,, -k rsa -g 2048 --keyUsage digitalSignature \
	--extKeyUsage codeSigning --nsCertType objectSigning -m 3 -v 1
certutil -L -d sql:db -n nss:mail -a >mail.pem
echo "a letter" >letter`)

	t.Run("signed", func(t *testing.T) {
		require.Contains(t, script(t, k, `cmsutil -S -d sql:db -N nss:mail -f pin -i letter -o signed
openssl cms -verify -inform DER -in signed -CAfile ca.pem -binary`), "CMS Verification successful")
	})
	t.Run("encrypted", func(t *testing.T) {
		script(t, k, `cmsutil -E -d sql:db -r nss:mail -i letter -o sealed -f pin
cmsutil -D -d sql:db -i sealed -f pin -o read && cmp letter read
openssl cms -encrypt -binary -aes256 -in letter -outform DER -out sealed mail.pem
cmsutil -D -d sql:db -i sealed -f pin -o read && cmp letter read`)
	})
	t.Run("signed archive", func(t *testing.T) {
		script(t, k, `mkdir tree; cp letter tree; signtool -d sql:db -k nss:code -p "$PIN" -Z signed.jar tree`)
		out := script(t, k, `signtool -d sql:db -v signed.jar`)
		require.Contains(t, out, "has passed crypto verification")
		require.Contains(t, out, "verified   letter")
	})
	t.Run("TLS client", func(t *testing.T) {
		port := freePort(t)
		script(t, k, `openssl req -x509 -newkey rsa:2048 -nodes -keyout srv.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out srv.pem
certutil -A -d sql:db -n srv -t C,, -i srv.pem; printf 'GET / HTTP/1.0\r\n\r\n' >request`)
		serve(t, k.Command(t, "openssl", "s_server", "-accept", fmt.Sprintf("127.0.0.1:%d", port), "-cert", "srv.pem", "-key", "srv.key",
			"-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error", "-www")).listens(t, port)
		for _, version := range []string{"tls1.2", "tls1.3"} {
			require.Contains(t, script(t, k, fmt.Sprintf(`tstclnt -d sql:db -h localhost -4 -p %d -n nss:mail -w "$PIN" -V %[2]s:%[2]s <request`, port, version)),
				"emailAddress=alice@example.org", version)
		}
	})
}

// TestNSSFiles: pk12util brings keys in, wrapped all the way, and takes out those that may leave and no other.
func TestNSSFiles(t *testing.T) {
	client(t, "nss")
	k := nssToken(t)
	script(t, k, `for alg in rsa:2048 ec; do
	opt=""; test $alg = rsa:2048 || opt="-pkeyopt ec_paramgen_curve:P-256"
	name=in-${alg%:*}
	openssl req -x509 -newkey $alg $opt -nodes -keyout $name.key -subj /CN=$name -days 2 -out $name.pem
	openssl pkcs12 -export -inkey $name.key -in $name.pem -name $name -passout pass:secret -out $name.p12
	pk12util -i $name.p12 -d sql:db -h nss -k pin -W secret
done`)
	keys := script(t, k, "certutil -K -d sql:db -h nss -f pin")
	for _, label := range []string{"in-rsa", "in-ec"} {
		require.Contains(t, keys, label)
	}

	// Without FRIENDLY: pk12util logs in only where it must to find the certificate.
	nssDatabase(t, k, "out", "")
	for _, typ := range []string{"rsa:2048", "ec:p256"} {
		label, _, _ := strings.Cut(typ, ":")
		generate(t, k, typ, label, "--extractable")
		script(t, k, `openssl req -new -x509 -days 2 -engine pkcs11 -keyform engine -key "$KEY" -out cert.pem`,
			append(engineConf(t, k), "KEY="+engineURI("nss", label))...)
		k.Run(t, harness.Coffer(t), "key", "import", "cert.pem", "--label", label)
		script(t, k, fmt.Sprintf(`pk12util -o out.p12 -n nss:%[1]s -d sql:out -k pin -W secret
openssl pkcs12 -in out.p12 -passin pass:secret -nodes -nocerts | openssl pkey -pubout | cmp - %[1]s.pub`, label))
	}
	script(t, k, nssAuthority)
	b, err := scriptCommand(t, k, `pk12util -o refused.p12 -n nss:ca -d sql:out -k pin -W secret`,
		"COFFER_LOG="+filepath.Join(k.Dir, "answers")).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(b), "SEC_ERROR_PKCS12_UNABLE_TO_EXPORT_KEY")
	answers, err := os.ReadFile(filepath.Join(k.Dir, "answers"))
	require.NoError(t, err)
	require.Contains(t, string(answers), "CKR_KEY_UNEXTRACTABLE")
	require.NoFileExists(t, filepath.Join(k.Dir, "refused.p12"))
}
