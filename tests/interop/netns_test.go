package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// end is one of two machines with a wire between them: a network namespace of its own, and a /run of its own. They belong to
// processes and go with them, so that nothing can be left behind.
type end struct {
	pid     int
	address string
}

// newEnds makes two of them, 10.214.0.1 and 10.214.0.2. Only root can.
func newEnds(t *testing.T, what string) [2]end {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("NOT TESTED: %s. Network namespaces need root: run it as root", what)
	}
	for _, need := range []string{"unshare", "nsenter", "ip", "ping"} {
		harness.Need(t, need)
	}
	var ends [2]end
	for i := range ends {
		s := serve(t, exec.Command("unshare", "-n", "-m", "sh", "-ec", "mount -t tmpfs none /run; ip link set lo up; echo ready; exec sleep infinity"))
		s.says(t, "ready")
		ends[i] = end{s.cmd.Process.Pid, fmt.Sprintf("10.214.0.%d", i+1)}
	}
	ends[0].run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(ends[1].pid))
	for _, e := range ends {
		e.run(t, "ip", "addr", "add", e.address+"/24", "dev", "eth0")
		e.run(t, "ip", "link", "set", "eth0", "up")
	}
	return ends
}

// command prepares a program at this end, in a folder.
func (e end) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	in := []string{"-t", strconv.Itoa(e.pid), "-n", "-m", "--wd=" + dir, name}
	return exec.CommandContext(ctx, "nsenter", append(in, args...)...)
}

func (e end) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Limit)
	defer cancel()
	b, err := e.command(ctx, "/", name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, b)
	return string(b)
}

// noTunnels skips the test where the machine has no tun devices.
func noTunnels(t *testing.T, what string) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("NOT TESTED: %s: %v", what, err)
	}
	f.Close()
}

// authority is a certificate authority on disk, for keys in a token.
type authority struct{ *harness.Token }

func newAuthority(t *testing.T, k *harness.Token) authority {
	t.Helper()
	k.Run(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign")
	return authority{k}
}

// certify makes a key in the token, and puts its certificate beside it: LABEL.crt.
func (a authority) certify(t *testing.T, typ, label, id, usage string) {
	t.Helper()
	a.Run(t, harness.Coffer(t), "key", "generate", "--type", typ, "--label", label, "--id", id)
	a.Run(t, harness.Coffer(t), "key", "export", label, "--out", label+".pem")
	a.Run(t, "openssl", "req", "-new", "-key", "ca.key", "-subj", "/CN="+label, "-out", label+".csr",
		"-addext", "extendedKeyUsage="+usage, "-addext", "keyUsage=critical,digitalSignature")
	a.Run(t, "openssl", "x509", "-req", "-in", label+".csr", "-force_pubkey", label+".pem", "-copy_extensions", "copy",
		"-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-out", label+".crt")
	a.Run(t, harness.Coffer(t), "key", "import", label+".crt", "--label", label)
}
