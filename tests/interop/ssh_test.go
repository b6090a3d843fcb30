package interop

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// ssh is a token with keys for ssh, and what OpenSSH's programs need to use it without a terminal.
type ssh struct {
	*harness.Token
	module string
	user   string
	env    []string
	host   string // a name in known_hosts that the server's key is looked up under
}

// newSSH makes a key for each label, of the type that the label says, and its public key in OpenSSH's form as LABEL.pub.
func newSSH(t *testing.T, labels ...string) *ssh {
	t.Helper()
	me, err := user.Current()
	require.NoError(t, err)
	s := &ssh{Token: harness.NewToken(t, "ssh"), module: harness.Module(t), user: me.Username, host: "coffer.test"}
	for i, label := range labels {
		typ := strings.Replace(label, "-", ":", 1)
		s.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", label, "--id", fmt.Sprintf("%02x", i+1))
		s.Run(t, harness.Coffer(t), "key", "export", label, "--out", label+".pem")
		if !strings.HasPrefix(typ, "ed") {
			pub := s.Run(t, "ssh-keygen", "-i", "-m", "PKCS8", "-f", label+".pem")
			s.write(t, label+".pub", pub)
		}
	}
	ask := s.write(t, "ask", "#!/bin/sh\necho \"$PIN_FOR_SSH\"\n")
	require.NoError(t, os.Chmod(ask, 0o700))
	s.env = append(s.Env("SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK="), "PIN_FOR_SSH="+harness.UserPIN)
	return s
}

func (s *ssh) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *ssh) write(t *testing.T, name, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(s.path(name), []byte(text), 0o600))
	return s.path(name)
}

// pub is the public key in LABEL.pub, as "type base64".
func (s *ssh) pub(t *testing.T, label string) string {
	t.Helper()
	b, err := os.ReadFile(s.path(label + ".pub"))
	require.NoError(t, err)
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

// print is the fingerprint of LABEL.pub.
func (s *ssh) print(t *testing.T, label string) string {
	t.Helper()
	return strings.Fields(s.Run(t, "ssh-keygen", "-l", "-f", label+".pub"))[1]
}

func (s *ssh) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	harness.Need(t, name)
	cmd := s.Command(t, name, args...)
	cmd.Env = s.env
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (s *ssh) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := s.try(t, name, args...)
	require.NoError(t, err, "%s %v\n%s", name, args, out)
	return out
}

// sshd is a server on the loopback that lets this user in. It has a host key on disk unless lines say another.
func (s *ssh) sshd(t *testing.T, lines ...string) (*service, int) {
	t.Helper()
	const program = "/usr/sbin/sshd"
	harness.Need(t, program)
	port := freePort(t)
	conf := fmt.Sprintf(`Port %d
ListenAddress 127.0.0.1
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 200
`, port) + strings.Join(lines, "\n") + "\n"
	if !strings.Contains(conf, "HostKey ") {
		s.Run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host")
		conf += "HostKey " + s.path("host") + "\n"
		s.write(t, "known", s.host+" "+s.pub(t, "host")+"\n")
	}
	file := s.write(t, "sshd.conf", conf)
	cmd := exec.Command(program, "-D", "-e", "-f", file)
	if os.Getuid() == 0 { // it wants an empty folder of root's in /run, which a machine without a server has not got
		cmd = exec.Command("unshare", "-m", "sh", "-ec", `mount -t tmpfs none /run; mkdir -m 755 /run/sshd; exec "$@"`, "sh", program, "-D", "-e", "-f", file)
	}
	cmd.Dir, cmd.Env = s.Dir, os.Environ()
	d := serve(t, cmd)
	d.listens(t, port)
	return d, port
}

// login runs `echo WORD` on the server; it says so only if it was let in.
func (s *ssh) login(t *testing.T, port int, word string, args ...string) (string, error) {
	t.Helper()
	all := append([]string{"-n", "-F", "none", "-p", fmt.Sprint(port), "-o", "UserKnownHostsFile=" + s.path("known"), "-o", "GlobalKnownHostsFile=none",
		"-o", "HostKeyAlias=" + s.host, "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=60"}, args...)
	return s.try(t, "ssh", append(all, s.user+"@127.0.0.1", "echo", word)...)
}

// enters asks that the login works and that the server has seen this key do it.
func (s *ssh) enters(t *testing.T, d *service, port int, label string, args ...string) {
	t.Helper()
	out, err := s.login(t, port, "inside-by-"+label, args...)
	require.NoError(t, err, out)
	require.Contains(t, out, "inside-by-"+label)
	d.says(t, s.print(t, label)) // else the server has taken another key
}

// agent starts an ssh-agent that may load the library, and puts it into the environment.
func (s *ssh) agent(t *testing.T, socket, allowed string) *service {
	t.Helper()
	harness.Need(t, "ssh-agent")
	_ = os.Remove(socket)
	cmd := exec.Command("ssh-agent", "-D", "-a", socket, "-P", allowed)
	cmd.Dir, cmd.Env = s.Dir, s.env
	a := serve(t, cmd)
	a.until(t, "its socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
	s.env = append(s.env, "SSH_AUTH_SOCK="+socket)
	return a
}

// socketPath is short enough for a Unix socket.
func socketPath(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

// TestSSHKeygenLists: the public keys are those that are in the token. Ed25519 is there for OpenSSH 10.1 and later.
func TestSSHKeygenLists(t *testing.T) {
	client(t, "openssh")
	s := newSSH(t, "rsa-2048", "ec-p256", "ed25519", "ec-p384", "ec-p521")
	list := s.must(t, "ssh-keygen", "-D", s.module)
	for _, label := range []string{"rsa-2048", "ec-p256", "ec-p384", "ec-p521"} {
		require.Contains(t, list, s.pub(t, label)+" "+label)
	}
	if !strings.Contains(list, "ssh-ed25519 ") {
		require.Contains(t, list, "unsupported key type", "the Ed25519 key is neither listed nor left out with words")
	}
}

// TestSSHLogin: `PKCS11Provider`, with each kind of key.
func TestSSHLogin(t *testing.T) {
	client(t, "openssh")
	labels := []string{"rsa-2048", "ec-p256", "ec-p384", "ec-p521"}
	s := newSSH(t, append([]string{"ed25519", "rsa-3072"}, labels...)...)
	var authorized []string
	for _, label := range labels {
		authorized = append(authorized, s.pub(t, label))
	}
	d, port := s.sshd(t, "AuthorizedKeysFile "+s.write(t, "authorized", strings.Join(authorized, "\n")+"\n"))
	with := func(label string) []string {
		return []string{"-o", "PKCS11Provider=" + s.module, "-o", "IdentitiesOnly=yes", "-o", "IdentityFile=" + s.path(label+".pub")}
	}
	for _, label := range labels {
		s.enters(t, d, port, label, with(label)...)
	}
	out, err := s.login(t, port, "inside", with("rsa-3072")...)
	require.Error(t, err, "a key that the server does not know")
	require.Contains(t, out, "Permission denied")

	pin := s.env
	s.env = append(append([]string{}, pin...), "PIN_FOR_SSH=wrong-pin-1")
	out, err = s.login(t, port, "inside", with("ec-p256")...)
	require.Error(t, err, "a wrong PIN")
	require.Contains(t, out, "Permission denied")
	s.env = pin
	out, err = s.login(t, port, "inside", "-o", "PKCS11Provider="+s.module) // all keys, the first of which the server does not know
	require.NoError(t, err, out)
	require.Contains(t, out, "inside")
}

// TestSSHAgent: the keys in an agent: logins at once, the agent ended and started again, the library removed and added.
func TestSSHAgent(t *testing.T) {
	client(t, "openssh")
	s := newSSH(t, "ec-p256", "rsa-2048", "ed25519")
	d, port := s.sshd(t, "AuthorizedKeysFile "+s.write(t, "authorized", s.pub(t, "rsa-2048")+"\n"+s.pub(t, "ec-p256")+"\n"))

	a := s.agent(t, socketPath(t, "a"), "/nowhere/*")
	_, err := s.try(t, "ssh-add", "-s", s.module)
	require.Error(t, err, "a library that the agent's -P does not allow")
	a.stop(syscall.SIGTERM)

	socket := socketPath(t, "b")
	ends, logins := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}, 10
	if whole() {
		ends, logins = append(ends, ends...), 50
	}
	for i, end := range ends {
		a = s.agent(t, socket, s.module)
		s.must(t, "ssh-add", "-s", s.module)
		list := s.must(t, "ssh-add", "-L")
		for _, label := range []string{"rsa-2048", "ec-p256"} {
			require.Contains(t, list, s.pub(t, label))
			s.must(t, "ssh-add", "-T", s.path(label+".pub"))
			s.enters(t, d, port, label, "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+s.path(label+".pub"))
		}
		s.together(t, port, logins)
		s.must(t, "ssh-add", "-e", s.module)
		out, err := s.login(t, port, "inside")
		require.Error(t, err, "the library is removed: %s", out)
		s.must(t, "ssh-add", "-s", s.module)
		s.enters(t, d, port, "ec-p256", "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+s.path("ec-p256.pub"))
		a.stop(end)
		out, err = s.login(t, port, "inside")
		require.Error(t, err, "round %d, the agent has ended: %s", i, out)
	}
}

// together logs in many times at once.
func (s *ssh) together(t *testing.T, port, times int) {
	t.Helper()
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer)
	for i := range times {
		go func() {
			out, err := s.login(t, port, fmt.Sprintf("inside-%d.", i))
			if err == nil && !strings.Contains(out, fmt.Sprintf("inside-%d.", i)) {
				err = fmt.Errorf("it does not say so")
			}
			answers <- answer{out, err}
		}()
	}
	var failed []string
	for range times {
		if a := <-answers; a.err != nil {
			failed = append(failed, fmt.Sprintf("%v: %s", a.err, a.out))
		}
	}
	require.Empty(t, failed, "of %d logins at once", times)
}

// TestSSHCertificates: an authority in the token signs a user's key and the server's, which are in the token too.
func TestSSHCertificates(t *testing.T) {
	client(t, "openssh")
	for _, ca := range []string{"rsa-3072", "ec-p384"} {
		t.Run(ca, func(t *testing.T) {
			if strings.HasPrefix(ca, "rsa") {
				long(t)
			}
			s := newSSH(t, ca, "ec-p256", "ec-p521", "ed25519")
			sign := func(args ...string) {
				s.must(t, "ssh-keygen", append([]string{"-D", s.module, "-s", ca + ".pub", "-V", "-1m:+1h"}, args...)...)
			}
			sign("-I", "somebody", "-n", s.user, "ec-p256.pub")
			sign("-I", "server", "-h", "-n", s.host, "ec-p521.pub")

			s.agent(t, socketPath(t, "a"), s.module)
			s.must(t, "ssh-add", "-s", s.module)
			// The server's own key is in the token as well, and reaches it through an agent.
			d, port := s.sshd(t, "HostKeyAgent "+s.env[len(s.env)-1][len("SSH_AUTH_SOCK="):], "HostKey "+s.path("ec-p521.pub"),
				"HostCertificate "+s.path("ec-p521-cert.pub"), "TrustedUserCAKeys "+s.path(ca+".pub"), "AuthorizedKeysFile none")
			s.write(t, "known", "@cert-authority "+s.host+" "+s.pub(t, ca)+"\n")
			with := []string{"-o", "CertificateFile=" + s.path("ec-p256-cert.pub"), "-o", "IdentitiesOnly=yes", "-o", "IdentityFile=" + s.path("ec-p256.pub")}
			s.enters(t, d, port, "ec-p256", with...)
			d.says(t, "ID somebody")

			out, err := s.login(t, port, "inside", "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+s.path(ca+".pub"))
			require.Error(t, err, "a key without a certificate: %s", out)
			s.host = "another.test"
			out, err = s.login(t, port, "inside", with...)
			require.Error(t, err, "a server whose certificate names another: %s", out)
			s.host = "coffer.test"
			sign("-I", "somebody", "-n", "nobody-here", "ec-p256.pub")
			out, err = s.login(t, port, "inside", with...)
			require.Error(t, err, "a certificate for another user: %s", out)
		})
	}
}

// TestGitSigns: commits and tags signed by a key in the token, checked with the list of who may sign.
func TestGitSigns(t *testing.T) {
	client(t, "git")
	s := newSSH(t, "ec-p256", "rsa-2048")
	s.agent(t, socketPath(t, "a"), s.module)
	s.must(t, "ssh-add", "-s", s.module)
	s.env = append(s.env, "GIT_CONFIG_GLOBAL="+s.path("gitconfig"), "GIT_CONFIG_NOSYSTEM=1")
	s.must(t, "git", "init", "-q", "work")
	git := func(args ...string) string { return s.must(t, "git", append([]string{"-C", "work"}, args...)...) }
	s.write(t, "allowed", "me@coffer.test "+s.pub(t, "ec-p256")+"\nme@coffer.test "+s.pub(t, "rsa-2048")+"\n")
	for key, value := range map[string]string{"user.name": "Me", "user.email": "me@coffer.test", "gpg.format": "ssh", "commit.gpgsign": "true",
		"tag.gpgsign": "true", "gpg.ssh.allowedSignersFile": s.path("allowed")} {
		git("config", key, value)
	}
	for _, label := range []string{"ec-p256", "rsa-2048"} {
		git("config", "user.signingkey", s.path(label+".pub"))
		git("commit", "-q", "--allow-empty", "-m", "signed by "+label)
		require.Contains(t, git("verify-commit", "HEAD"), `Good "git" signature for me@coffer.test with `)
		require.Contains(t, git("log", "-1", "--format=%G? %GF"), "G "+s.print(t, label))
		git("tag", "-m", "a release", "v-"+label)
		require.Contains(t, git("verify-tag", "v-"+label), "Good")
	}
	// The same signature under another message.
	forged := strings.Replace(git("cat-file", "commit", "HEAD"), "signed by rsa", "signed by RSA", 1)
	s.write(t, "forged", forged)
	hash := strings.TrimSpace(git("hash-object", "-t", "commit", "-w", s.path("forged")))
	out, err := s.try(t, "git", "-C", "work", "verify-commit", hash)
	require.Error(t, err, out)
	require.Contains(t, out, "incorrect signature")
}
