// Package ceremonies tests a cluster as its operators and its users have it: daemons, the command line and the library, each
// a process as it is built, on loopback.
package ceremonies

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/hsm"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// cluster is some nodes in one directory, and a slot that knows them.
type cluster struct {
	dir    string
	nodes  []*node
	client string // directory of the client's certificate
	env    []string
}

// node is a place for a daemon, and the daemon while it runs.
type node struct {
	name string
	dir  string
	conf string
	sock string
	addr string
	bin  string // the daemon; empty: the built one
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// patience bounds what a test waits for that happens sooner or later, on a machine that may have other things to do.
const patience = 2 * time.Minute

// newCluster returns a cluster that has no node yet. Whoever made it calls end.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer-cluster-")
	require.NoError(t, err)
	c := &cluster{dir: dir, client: filepath.Join(dir, "client")}
	c.env = append(os.Environ(), "COFFER_CONF="+c.slotFile(), "COFFER_PIN="+harness.UserPIN, "COFFER_SO_PIN="+harness.SOPIN, "HOME="+dir)
	all = append(all, c)
	return c
}

// all are the clusters of this process: TestMain ends those that are left.
var all []*cluster

// end kills what runs and removes what it wrote.
func (c *cluster) end() {
	for _, n := range c.nodes {
		n.kill()
	}
	os.RemoveAll(c.dir)
}

func (c *cluster) slotFile() string { return filepath.Join(c.dir, "coffer.toml") }

// threePorts finds a port that is free, and the two after it. They are below those that the kernel gives out.
func threePorts(t testing.TB) int {
	t.Helper()
	for range 100 {
		port, free := 12000+3*rand.IntN(6000), true
		for p := port; p < port+3; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return port
		}
	}
	t.Fatal("no three ports are free")
	return 0
}

// place prepares a node's place.
func (c *cluster) place(t testing.TB, name string) *node {
	t.Helper()
	dir := filepath.Join(c.dir, name)
	n := &node{name: name, dir: dir, conf: dir + ".toml", sock: filepath.Join(dir, "cofferd.sock"), addr: fmt.Sprintf("127.0.0.1:%d", threePorts(t))}
	require.NoError(t, os.Mkdir(dir, 0o700))
	c.nodes = append(c.nodes, n)
	return n
}

// flags tell the ceremonies about the place.
func (n *node) flags() []string {
	return []string{"--node-config", n.conf, "--name", n.name, "--listen", n.addr, "--state-dir", filepath.Join(n.dir, "state")}
}

// outcome is what a program did.
type outcome struct {
	out, err string
	code     int
}

// try runs the command line.
func (c *cluster) try(t testing.TB, args ...string) outcome { return c.tryWith(t, nil, args...) }

func (c *cluster) tryWith(t testing.TB, env []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Coffer(t), args...)
	cmd.Env, cmd.Dir = append(append([]string{}, c.env...), env...), c.dir
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "coffer %s takes too long: %s", strings.Join(args, " "), errOut.String())
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return outcome{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// coffer runs the command line, which must succeed.
func (c *cluster) coffer(t testing.TB, args ...string) string {
	t.Helper()
	o := c.try(t, args...)
	require.Zero(t, o.code, "coffer %s:\n%s%s", strings.Join(args, " "), o.out, o.err)
	return o.out
}

// refused runs the command line, which must fail with one sentence that contains want.
func (c *cluster) refused(t testing.TB, want string, args ...string) {
	t.Helper()
	o := c.try(t, args...)
	require.NotZero(t, o.code, "coffer %s is not refused:\n%s", strings.Join(args, " "), o.out)
	require.Contains(t, o.err, want)
	require.NotContains(t, o.err, "panic")
	require.NotContains(t, o.err, "goroutine ")
}

// answer runs the command line and decodes its JSON.
func (c *cluster) answer(t testing.TB, into any, args ...string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(c.coffer(t, append(args, "--output", "json")...)), into))
}

// start runs a node's daemon.
func (n *node) start(t testing.TB) {
	t.Helper()
	bin := n.bin
	if bin == "" {
		bin = harness.Cofferd(t)
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer log.Close()
	n.cmd = exec.Command(bin, "--config", n.conf)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, n.cmd.Start())
	n.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(n.cmd, n.done)
}

func (n *node) logFile() string { return n.dir + ".log" }

// kill ends a node's daemon as a loss of power does.
func (n *node) kill() {
	if n.cmd != nil {
		n.cmd.Process.Kill()
		<-n.done
		n.cmd = nil
	}
}

// runs reports whether the daemon has not ended by itself.
func (n *node) runs() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// ends waits for a daemon to end by itself.
func (n *node) ends(t testing.TB) {
	t.Helper()
	select {
	case <-n.done:
		n.cmd = nil
	case <-time.After(patience):
		t.Fatalf("node %s goes on running:\n%s", n.name, n.tail())
	}
}

// tail is the end of what the daemon has written.
func (n *node) tail() string {
	b, _ := os.ReadFile(n.logFile())
	return string(b[max(0, len(b)-3000):])
}

// serves waits for a node to answer.
func (n *node) serves(t testing.TB) {
	t.Helper()
	c, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: 5 * time.Second})
	require.NoError(t, err)
	defer c.Close()
	within(t, patience, func() error {
		if !n.runs() {
			t.Fatalf("node %s has ended:\n%s", n.name, n.tail())
		}
		_, err := c.Info(t.Context())
		return err
	})
}

// within tries f until it succeeds.
func within(t testing.TB, limit time.Duration, f func() error) {
	t.Helper()
	end := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// create makes the first node and returns the activation code.
func (c *cluster) create(t testing.TB, n *node, more ...string) string {
	t.Helper()
	var made struct {
		Code string `json:"activation_code"`
	}
	c.answer(t, &made, append(append([]string{"cluster", "create", "--label", "ceremony"}, n.flags()...), more...)...)
	return made.Code
}

// activate sets the administrator's and the crypto user's PIN.
func (c *cluster) activate(t testing.TB, n *node, code string) {
	t.Helper()
	o := c.tryWith(t, []string{"COFFER_SO_PIN=" + code, "COFFER_NEW_PIN=" + harness.SOPIN}, "cluster", "activate", "--socket", n.sock)
	require.Zero(t, o.code, o.err)
	o = c.tryWith(t, []string{"COFFER_NEW_PIN=" + harness.UserPIN}, "pin", "reset", "--socket", n.sock)
	require.Zero(t, o.code, o.err)
}

// invite returns the file with a fresh token.
func (c *cluster) invite(t testing.TB, n *node, name string) string {
	t.Helper()
	file := filepath.Join(c.dir, fmt.Sprintf("%s.%d.token", name, rand.Uint64()))
	c.coffer(t, "cluster", "invite", "--socket", n.sock, "--out", file)
	return file
}

// joined makes a node that is a member and has not been started.
func (c *cluster) joined(t testing.TB, from *node, name string) *node {
	t.Helper()
	n := c.place(t, name)
	c.coffer(t, append([]string{"cluster", "join", "--token-file", c.invite(t, from, name)}, n.flags()...)...)
	return n
}

// join makes a node and starts it.
func (c *cluster) join(t testing.TB, from *node, name string) *node {
	t.Helper()
	n := c.joined(t, from, name)
	n.start(t)
	n.serves(t)
	return n
}

// certify makes the client's certificate and the slot's configuration; more is added to it.
func (c *cluster) certify(t testing.TB, nodes []*node, more ...string) {
	t.Helper()
	if _, err := os.Stat(c.client); err != nil {
		c.coffer(t, "cluster", "certify", "tests", "--out", c.client, "--socket", nodes[0].sock)
	}
	c.writeSlot(t, c.slotFile(), nodes, more...)
}

func (c *cluster) writeSlot(t testing.TB, file string, nodes []*node, more ...string) {
	t.Helper()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, fmt.Sprintf("%q", n.addr))
	}
	text := fmt.Sprintf("[[slot]]\nid = 0\nnodes = [%s]\nca = %q\ncertificate = %q\nkey = %q\n%s\n", strings.Join(addresses, ", "),
		filepath.Join(c.client, "ca.pem"), filepath.Join(c.client, "tests.crt"), filepath.Join(c.client, "tests.key"), strings.Join(more, "\n"))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// status is what coffer cluster status says.
type status struct {
	Cluster, Label    string
	Quorum, Activated bool
	Voters            int
	Revision          int64
	Members           []told
}

// told is what it says of a node.
type told struct {
	ID, Name, Address, State, Version string
	Votes, Leader                     bool
	Revision, Lag                     int64
}

// settled waits until all nodes that run are ready and as many vote.
func (c *cluster) settled(t testing.TB, through *node, ready, voters int) (s status) {
	t.Helper()
	return c.settledIn(t, patience, through, ready, voters)
}

func (c *cluster) settledIn(t testing.TB, limit time.Duration, through *node, ready, voters int) (s status) {
	t.Helper()
	within(t, limit, func() error {
		o := c.try(t, "cluster", "status", "--socket", through.sock, "--output", "json")
		s = status{}
		if err := json.Unmarshal([]byte(o.out), &s); err != nil {
			return fmt.Errorf("%s %s", o.out, o.err)
		}
		n := 0
		for _, m := range s.Members {
			if m.State == "ready" {
				n++
			}
		}
		if n != ready || s.Voters != voters {
			return fmt.Errorf("wanted %d ready and %d voters: %s", ready, voters, o.out)
		}
		return nil
	})
	return s
}

// tls is the client's.
func (c *cluster) tls(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(c.client, "tests.crt"), filepath.Join(c.client, "tests.key"))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(c.client, "ca.pem"))
	require.NoError(t, err)
	chain, err := pki.ParseCertificates(text)
	require.NoError(t, err)
	pool, err := pki.Pool(chain...)
	require.NoError(t, err)
	id, err := pki.IdentityOf(cert.Leaf)
	require.NoError(t, err)
	return pki.ClientTLS(cert, pool, id.Cluster)
}

// through is a client of one node alone.
func (c *cluster) through(t testing.TB, n *node) *client.Client {
	t.Helper()
	k, err := client.New(client.Options{Nodes: []string{n.addr}, TLS: c.tls(t), Only: true, Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	return k
}

// user logs the token's own crypto user in.
func user(t testing.TB, h hsm.HSM) hsm.Credential {
	t.Helper()
	cred, err := h.Login(t.Context(), ck.CKU_USER, "", []byte(harness.UserPIN))
	require.NoError(t, err)
	return cred
}

// officer logs the token's own administrator in.
func officer(t testing.TB, h hsm.HSM) hsm.Credential {
	t.Helper()
	cred, err := h.Login(t.Context(), ck.CKU_SO, "", []byte(harness.SOPIN))
	require.NoError(t, err)
	return cred
}

// answers requires the standard's return value.
func answers(t testing.TB, want ck.RV, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, ck.RVOf(err), "%v", err)
}
