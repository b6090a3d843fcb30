package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// site is what a server that offloads TLS needs: a token with an RSA and an EC key, a certificate for each, and an OpenSSL
// configuration that loads libp11's engine. Other users may enter its folder.
type site struct {
	*harness.Token
	env []string
}

// newSite makes the keys rsa and ec in the token, and rsa.crt and ec.crt beside it.
func newSite(t *testing.T) *site {
	t.Helper()
	s := siteOf(t, harness.NewToken(t, "site"))
	s.key(t, "rsa:2048", "rsa")
	s.key(t, "ec:p256", "ec")
	return s
}

func siteOf(t *testing.T, k *harness.Token) *site {
	t.Helper()
	for _, dir := range []string{filepath.Dir(k.Dir), k.Dir} {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	return &site{Token: k, env: engineConf(t, k)}
}

// uri names a private key of the token, with the PIN in it.
func (s *site) uri(label string) string {
	return "pkcs11:token=site;object=" + label + ";type=private;pin-value=" + harness.UserPIN
}

// key makes a key in the token and a certificate with it, as README's recipes do.
func (s *site) key(t *testing.T, typ, label string) {
	t.Helper()
	s.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", label)
	s.certify(t, label)
}

// imports makes a key on the disk, LABEL.key, and puts a copy of it into the token.
func (s *site) imports(t *testing.T, label string, genpkey ...string) {
	t.Helper()
	s.Run(t, "openssl", append([]string{"genpkey", "-out", label + ".key"}, genpkey...)...)
	s.Run(t, harness.Coffer(t), "key", "import", label+".key", "--label", label)
	s.certify(t, label)
}

// certify writes LABEL.crt, signed by OpenSSL with the key in the token.
func (s *site) certify(t *testing.T, label string) {
	t.Helper()
	s.openssl(t, "req", "-new", "-x509", "-days", "2", "-engine", "pkcs11", "-keyform", "engine", "-key", s.uri(label),
		"-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE", "-out", label+".crt")
}

// openssl runs it with the engine.
func (s *site) openssl(t *testing.T, args ...string) string {
	t.Helper()
	harness.Need(t, "openssl")
	cmd := s.Command(t, "openssl", args...)
	cmd.Env = s.env
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, "openssl %v\n%s", args, b)
	return string(b)
}

func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	require.NoError(t, os.Chmod(path, 0o644)) // of one that was there
	return path
}

// overNode has a daemon of this machine hold the token site, and the slot go to its socket.
func overNode(t *testing.T, more string) *site {
	t.Helper()
	k := harness.NewSlot(t)
	s := siteOf(t, k)
	// A socket's path may have 107 bytes.
	dir, err := os.MkdirTemp("", "coffer")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "cofferd.sock")
	conf := s.write(t, "cofferd.toml", fmt.Sprintf("name = \"a\"\nstore = \"file\"\nlisten = \"\"\nstate_dir = \"state\"\nsocket = %q\n%s", socket, more))
	s.write(t, "coffer.toml", fmt.Sprintf("[[slot]]\nid = 0\nsocket = %q\n", socket))
	var made struct {
		Code string `json:"activation_code"`
	}
	out := k.Run(t, harness.Coffer(t), "cluster", "create", "--label", "site", "--node-config", conf, "--output", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &made), out)

	daemon := k.Command(t, harness.Cofferd(t), "--config", conf)
	running := serve(t, daemon)
	running.until(t, "the node answers", func() bool {
		return k.Command(t, harness.Coffer(t), "cluster", "status").Run() == nil
	})
	for _, step := range []struct {
		env  []string
		args string
	}{
		{[]string{"COFFER_SO_PIN=" + made.Code, "COFFER_NEW_PIN=" + harness.SOPIN}, "cluster activate"},
		{[]string{"COFFER_NEW_PIN=" + harness.UserPIN}, "pin reset"},
	} {
		cmd := k.Command(t, harness.Coffer(t), strings.Fields(step.args)...)
		cmd.Env = k.Env(step.env...)
		b, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", step.args, b)
	}
	s.key(t, "rsa:2048", "rsa")
	s.key(t, "ec:p256", "ec")
	return s
}

// wwwData gives the token's file, in a folder of its own, to the user that Debian's web servers run as when root starts them.
func wwwData(t *testing.T, s *site) (uid, gid int) {
	t.Helper()
	uid, gid = wwwDataIDs(t)
	home := filepath.Join(s.Dir, "token")
	require.NoError(t, os.Mkdir(home, 0o700))
	require.NoError(t, os.Chown(home, uid, gid))
	files, err := filepath.Glob(filepath.Join(s.Dir, "token.db*"))
	require.NoError(t, err)
	for _, f := range files {
		moved := filepath.Join(home, filepath.Base(f))
		require.NoError(t, os.Rename(f, moved))
		require.NoError(t, os.Chown(moved, uid, gid))
	}
	s.write(t, "coffer.toml", "[[slot]]\nid = 0\npath = \"token/token.db\"\n")
	return uid, gid
}

// wwwDataIDs are www-data's where root asks, else the caller's own.
func wwwDataIDs(t *testing.T) (uid, gid int) {
	t.Helper()
	uid, gid = os.Getuid(), os.Getgid()
	if uid == 0 {
		who, err := user.Lookup("www-data")
		require.NoError(t, err)
		_, err = fmt.Sscan(who.Uid+" "+who.Gid, &uid, &gid)
		require.NoError(t, err)
	}
	return uid, gid
}
