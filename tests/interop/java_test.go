package interop

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// jdk is the folder of Java 17's programs: Debian's, or what is in PATH.
func jdk(t *testing.T, program string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/jvm/java-17-openjdk-*/bin/" + program); len(found) > 0 {
		return found[0]
	}
	harness.Need(t, program)
	return program
}

var javaClasses struct {
	sync.Once
	dir string
	err error
}

// javaHost is a token, the configuration of SunPKCS11 for it, which is the two lines that nobody can do without, and the
// compiled program of testdata/java.
type javaHost struct {
	*harness.Token
	config  string
	classes string
}

func newJava(t *testing.T, k *harness.Token) *javaHost {
	t.Helper()
	javac := jdk(t, "javac")
	javaClasses.Do(func() {
		sources, _ := filepath.Glob("testdata/java/*.java")
		javaClasses.dir, javaClasses.err = os.MkdirTemp("", "coffer-java-")
		if javaClasses.err != nil {
			return
		}
		out, err := exec.Command(javac, append([]string{"-Xlint:all", "-Werror", "-d", javaClasses.dir}, sources...)...).CombinedOutput()
		if err != nil {
			javaClasses.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	require.NoError(t, javaClasses.err)
	j := &javaHost{Token: k, classes: javaClasses.dir}
	j.config = filepath.Join(j.Dir, "pkcs11.cfg")
	require.NoError(t, os.WriteFile(j.config, []byte("name = Coffer\nlibrary = "+harness.Module(t)+"\n"), 0o600))
	return j
}

func (j *javaHost) command(t *testing.T, command string) *exec.Cmd {
	t.Helper()
	return j.Command(t, jdk(t, "java"), "-XX:+UseSerialGC", "-cp", j.classes, "Main", command, j.config)
}

// run runs a command of the program, which must have shown all of these.
func (j *javaHost) run(t *testing.T, command string, shown ...string) string {
	t.Helper()
	cmd := j.command(t, command)
	cmd.Env = append(cmd.Env, fmt.Sprintf("COFFER_LOAD_SECONDS=%d", int(loadTime().Seconds())))
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	for _, s := range shown {
		require.Contains(t, string(b), "ok "+s+"\n")
	}
	return string(b)
}

// tool runs keytool or jarsigner on the token. Without the provider's name keytool makes RSA keys in Java and imports them.
func (j *javaHost) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	args = append([]string{"-keystore", "NONE", "-storetype", "PKCS11", "-storepass:env", "COFFER_PIN",
		"-addprovider", "SunPKCS11", "-providerArg", j.config, "-providerName", "SunPKCS11-Coffer"}, args...)
	return j.Run(t, jdk(t, name), args...)
}

// TestJavaProvider: what SunPKCS11 offers over the library, each result checked by Java's own providers.
func TestJavaProvider(t *testing.T) {
	client(t, "java")
	j := newJava(t, harness.NewToken(t, "java"))
	t.Run("digests", func(t *testing.T) {
		j.run(t, "digests", "SHA-1", "SHA-512/256", "SHA3-512", "HmacSHA256", "HmacSHA3-512", "SecureRandom")
	})
	t.Run("signatures", func(t *testing.T) {
		j.run(t, "signatures", "RSA 2048", "EC secp256r1", "EC secp384r1", "EC secp521r1")
	})
	t.Run("ciphers", func(t *testing.T) {
		j.run(t, "ciphers", "AES 128", "AES 192", "AES 256", "ChaCha20-Poly1305", "RSA ciphers")
	})
	t.Run("agreement", func(t *testing.T) {
		j.run(t, "agreement", "ECDH secp256r1", "ECDH secp384r1", "ECDH secp521r1", "DH")
	})
	t.Run("pool", func(t *testing.T) {
		require.Regexp(t, `ok pool of 16: \d{2,} rounds`, j.run(t, "pool"))
	})
	require.Empty(t, tokenKeys(t, j.Token), "all of it was a session's")
}

// TestJavaBehindANode: the same provider where the keys are in a daemon.
func TestJavaBehindANode(t *testing.T) {
	client(t, "java")
	long(t)
	j := newJava(t, nodeToken(t, "java"))
	j.run(t, "digests", "SHA-256", "HmacSHA256", "SecureRandom")
	j.run(t, "ciphers", "AES 256", "RSA ciphers")
	j.run(t, "agreement", "ECDH secp256r1", "DH")
	j.run(t, "store-fill", "filled")
	require.Equal(t, 3, staysInside(t, j.Token), "rsa, ec and aes")
	j.run(t, "store-use", "rsa", "ec", "rsa-imported", "ec-imported", "aes", "hmac-imported")
	require.Regexp(t, `ok pool of 16: \d{2,} rounds`, j.run(t, "pool"))
}

// TestJavaKeyStore: keys that were made in the token, and imported ones, live on under their aliases in other processes.
func TestJavaKeyStore(t *testing.T) {
	client(t, "java")
	j := newJava(t, harness.NewToken(t, "store"))
	j.run(t, "store-fill", "filled")
	require.Equal(t, 3, staysInside(t, j.Token), "rsa, ec and aes")
	j.run(t, "store-use", "rsa", "ec", "rsa-imported", "ec-imported", "aes", "hmac-imported")
	j.run(t, "store-empty", "emptied")
	require.Empty(t, tokenKeys(t, j.Token))
}

// authority makes the keys of a small authority and of two servers with keytool: ca, and under it rsa, signed as it is made, and
// web (EC), by a request and its answer.
func (j *javaHost) authority(t *testing.T) (root *x509.CertPool) {
	t.Helper()
	names := "san=dns:localhost,ip:127.0.0.1"
	j.tool(t, "keytool", "-genkeypair", "-alias", "ca", "-keyalg", "EC", "-groupname", "secp384r1", "-dname", "CN=Authority",
		"-ext", "bc:c", "-ext", "ku:c=keyCertSign,cRLSign", "-validity", "365")
	j.tool(t, "keytool", "-genkeypair", "-alias", "web", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=localhost")
	j.tool(t, "keytool", "-genkeypair", "-alias", "rsa", "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=localhost", "-signer", "ca", "-ext", names)
	j.tool(t, "keytool", "-exportcert", "-rfc", "-alias", "ca", "-file", "ca.pem")
	j.tool(t, "keytool", "-certreq", "-alias", "web", "-file", "web.csr")
	j.sign(t, "web", names)
	require.Contains(t, j.tool(t, "keytool", "-importcert", "-noprompt", "-alias", "web", "-file", "web.pem"), "installed")
	ca, err := os.ReadFile(filepath.Join(j.Dir, "ca.pem"))
	require.NoError(t, err)
	root = x509.NewCertPool()
	require.True(t, root.AppendCertsFromPEM(ca))
	return root
}

// sign has the authority answer the request NAME.csr with NAME.pem, its own certificate after it.
func (j *javaHost) sign(t *testing.T, name, names string) {
	t.Helper()
	j.tool(t, "keytool", "-gencert", "-rfc", "-alias", "ca", "-infile", name+".csr", "-outfile", name+".pem", "-ext", names, "-validity", "30")
	leaf, err := os.ReadFile(filepath.Join(j.Dir, name+".pem"))
	require.NoError(t, err)
	ca, err := os.ReadFile(filepath.Join(j.Dir, "ca.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(j.Dir, name+".pem"), append(leaf, ca...), 0o600))
}

// TestJavaTools: an authority with keytool, HTTPS both ways, and signed archives, all with the same three keys.
func TestJavaTools(t *testing.T) {
	client(t, "java")
	j := newJava(t, harness.NewToken(t, "tools"))
	root := j.authority(t)
	require.Equal(t, 3, staysInside(t, j.Token))
	list := j.tool(t, "keytool", "-list", "-v")
	require.Len(t, regexp.MustCompile(`Certificate chain length: 2`).FindAllString(list, -1), 2, list)
	t.Run("tls", func(t *testing.T) { j.tls(t, "tls", root) })
	if whole() {
		t.Run("tls, token first", func(t *testing.T) { j.tls(t, "tls-token-first", root) })
	}
	t.Run("jarsigner", func(t *testing.T) {
		j.Run(t, jdk(t, "keytool"), "-importcert", "-noprompt", "-keystore", "trust.p12", "-storepass", "changeit", "-alias", "ca", "-file", "ca.pem")
		j.jar(t, "rsa")
		if whole() {
			j.jar(t, "web")
		}
	})
	for _, alias := range []string{"ca", "web", "rsa"} { // the authority first: with the last chain Java removes its certificate
		j.tool(t, "keytool", "-delete", "-alias", alias)
	}
	require.Contains(t, j.tool(t, "keytool", "-list"), "contains 0 entries")
	require.Empty(t, tokenKeys(t, j.Token))
}

// tls serves from Java and asks with Go, by each protocol and kind of key; then Java asks a server of Go's, which wants a
// certificate.
func (j *javaHost) tls(t *testing.T, command string, root *x509.CertPool) {
	cmd := j.command(t, command)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	java := serve(t, cmd)
	java.says(t, ".\n")
	port := regexp.MustCompile(`port (\d+)\.`).FindStringSubmatch(java.out.String())[1]
	for _, c := range []struct {
		version uint16
		suite   uint16
		key     x509.PublicKeyAlgorithm
	}{
		{tls.VersionTLS13, 0, 0}, // whichever key Java takes
		{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, x509.ECDSA},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, x509.RSA},
	} {
		conf := &tls.Config{RootCAs: root, MinVersion: c.version, MaxVersion: c.version}
		if c.suite != 0 {
			conf.CipherSuites = []uint16{c.suite}
		}
		for range 5 { // each by a handshake of its own
			asks := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
			answer, err := asks.Get("https://localhost:" + port + "/")
			require.NoError(t, err, "%#x", c.suite)
			page, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, "served by Java\n", string(page))
			if c.key != 0 {
				require.Equal(t, c.key, answer.TLS.PeerCertificates[0].PublicKeyAlgorithm)
			}
		}
	}

	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "seen %s", r.TLS.PeerCertificates[0].Subject)
	})}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{j.certificate(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root})
	require.NoError(t, err)
	go server.Serve(listener)
	defer server.Close()
	fmt.Fprintf(stdin, "https://%s/\n", listener.Addr())
	java.says(t, "answer seen CN=localhost")
}

// certificate is one of the authority's for a key that is not in the token.
func (j *javaHost) certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "localhost"}}, key)
	require.NoError(t, err)
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(j.Dir, "go.csr"), csr, 0o600))
	j.sign(t, "go", "san=ip:127.0.0.1")
	chain, err := os.ReadFile(filepath.Join(j.Dir, "go.pem"))
	require.NoError(t, err)
	c := tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		c.Certificate = append(c.Certificate, block.Bytes)
	}
	return c
}

// jar signs an archive with a key of the token and has it verified by a jarsigner that knows the authority alone.
func (j *javaHost) jar(t *testing.T, alias string) {
	t.Helper()
	write := func(name, text string) {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create("page.txt")
		require.NoError(t, err)
		fmt.Fprint(f, text)
		require.NoError(t, w.Close())
		require.NoError(t, os.WriteFile(filepath.Join(j.Dir, name), b.Bytes(), 0o600))
	}
	write("plain.jar", "a page\n")
	j.tool(t, "jarsigner", "-signedjar", alias+".jar", "plain.jar", alias)
	verify := []string{"-verify", "-verbose", "-keystore", "trust.p12", "-storepass", "changeit", alias + ".jar"}
	require.Contains(t, j.Run(t, jdk(t, "jarsigner"), verify...), "jar verified.")

	// another page under the same signature
	signed, err := zip.OpenReader(filepath.Join(j.Dir, alias+".jar"))
	require.NoError(t, err)
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range signed.File {
		to, err := w.Create(f.Name)
		require.NoError(t, err)
		from, err := f.Open()
		require.NoError(t, err)
		if f.Name == "page.txt" {
			fmt.Fprint(to, "another\n")
		} else {
			_, err = io.Copy(to, bufio.NewReader(from))
			require.NoError(t, err)
		}
	}
	signed.Close()
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(filepath.Join(j.Dir, alias+".jar"), b.Bytes(), 0o600))
	out, err := j.Command(t, jdk(t, "jarsigner"), verify...).CombinedOutput()
	require.Error(t, err, string(out))
	require.NotContains(t, string(out), "jar verified.")
}
