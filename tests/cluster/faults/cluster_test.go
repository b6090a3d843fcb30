package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/remote"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// cluster is real nodes, made as an operator makes them.
type cluster struct {
	t     *testing.T
	dir   string
	net   *network
	nodes []*daemon
	slot  config.Slot
}

// daemon is one node and the process that it is at the moment.
type daemon struct {
	name, listen, conf, dir, log string
	program                      string
	clock                        string // the file by which its time of day is wrong
	namespace                    string

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has
	status *client.Client
}

const (
	clientPort = 2223
	// diskSize is of the one node's state that is on a file system of its own: the store keeps two segments of its log of
	// 64 MiB each.
	diskSize = "256m"
	// onOwnDisk is the place of that node among the others.
	onOwnDisk = 2
)

func newCluster(t *testing.T) *cluster {
	t.Helper()
	names := []string{"a", "b", "c"}
	w := newNetwork(t, names)
	// The path of a socket has at most 107 bytes, which t.TempDir may exceed.
	dir, err := os.MkdirTemp("", "coffer-faults-")
	require.NoError(t, err)
	c := &cluster{t: t, dir: dir, net: w}
	t.Cleanup(c.end)
	program := harness.CofferdWithClock(t)
	for i, n := range names {
		c.nodes = append(c.nodes, &daemon{
			program: program, clock: filepath.Join(dir, n+".clock"),
			name: n, listen: fmt.Sprintf("%s:%d", w.address(i), clientPort), namespace: w.namespace(n),
			conf: filepath.Join(dir, n+".toml"), dir: filepath.Join(dir, n), log: filepath.Join(dir, n+".log"),
		})
		require.NoError(t, os.Mkdir(c.nodes[i].dir, 0o700))
	}
	run(t, "mount", "-t", "tmpfs", "-o", "size="+diskSize, "coffer-faults", c.nodes[onOwnDisk].dir)
	c.ceremonies()
	return c
}

// ceremonies makes the cluster with the command line: docs and demo do the same.
func (c *cluster) ceremonies() {
	t, a := c.t, c.nodes[0]
	place := func(n *daemon) []string {
		return []string{"--node-config", n.conf, "--name", n.name, "--listen", n.listen, "--state-dir", filepath.Join(n.dir, "state")}
	}
	var made struct {
		Code string `json:"activation_code"`
	}
	out := c.coffer(append([]string{"cluster", "create", "--label", "faults", "--output", "json"}, place(a)...)...)
	require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &made), out)
	file := func(name, text string) string {
		path := filepath.Join(c.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
		return path
	}
	c.start(a)
	c.coffer("cluster", "activate", "--socket", a.socket(), "--so-pin-file", file("code", made.Code), "--new-pin-file", file("so.pin", harness.SOPIN))
	c.coffer("pin", "reset", "--socket", a.socket(), "--new-pin-file", file("user.pin", harness.UserPIN))
	for _, n := range c.nodes[1:] {
		token := filepath.Join(c.dir, n.name+".token")
		c.coffer("cluster", "invite", "--socket", a.socket(), "--out", token)
		c.coffer(append([]string{"cluster", "join", "--token-file", token}, place(n)...)...)
		c.start(n)
	}
	out = filepath.Join(c.dir, "client")
	c.coffer("cluster", "certify", "faults", "--out", out, "--socket", a.socket())
	c.slot = config.Slot{
		CA: filepath.Join(out, "ca.pem"), Certificate: filepath.Join(out, "faults.crt"), Key: filepath.Join(out, "faults.key"), Timeout: callLimit,
	}
	conf := fmt.Sprintf("[[slot]]\nid = 0\nca = %q\ncertificate = %q\nkey = %q\nnodes = [", c.slot.CA, c.slot.Certificate, c.slot.Key)
	for _, n := range c.nodes {
		c.slot.Nodes = append(c.slot.Nodes, n.listen)
		conf += fmt.Sprintf("%q, ", n.listen)
	}
	file("coffer.toml", conf+"]")
	c.healthy(whole)
}

// coffer runs the command line and returns what it prints.
func (c *cluster) coffer(args ...string) string {
	c.t.Helper()
	out, err := c.tryCoffer(args...)
	require.NoError(c.t, err)
	return out
}

func (c *cluster) tryCoffer(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), whole)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Coffer(c.t), args...)
	cmd.Env = append(os.Environ(), "COFFER_CONF="+filepath.Join(c.dir, "coffer.toml"),
		"COFFER_PIN="+harness.UserPIN, "COFFER_SO_PIN="+harness.SOPIN, "HOME="+c.dir)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("coffer %s: %w\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// start begins a node; c.healthy tells when it serves.
func (c *cluster) start(n *daemon) {
	c.t.Helper()
	require.NoError(c.t, n.start())
	require.Eventually(c.t, func() bool { _, err := n.ask(); return err == nil }, whole, 100*time.Millisecond, "node %s does not come up", n.name)
}

func (n *daemon) socket() string { return filepath.Join(n.dir, "cofferd.sock") }

// start begins a process in the node's namespace. It does not outlive the test's.
func (n *daemon) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command("ip", "netns", "exec", n.namespace, n.program, "--config", n.conf)
	n.cmd.Env = append(os.Environ(), "COFFERD_CLOCK="+n.clock)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := n.cmd, make(chan struct{})
	n.ended = ended
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

func (n *daemon) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Signal(s)
}

func (n *daemon) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// kill ends the process at once and returns when it has ended.
func (n *daemon) kill() error {
	err := n.signal(syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	<-n.ended
	return err
}

// stopLimit is how long a node may take to stop in order.
const stopLimit = time.Minute

// terminate stops the process in order.
func (n *daemon) terminate() error {
	if err := n.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.ended:
		return nil
	case <-time.After(stopLimit):
		return fmt.Errorf("node %s does not stop within %v", n.name, stopLimit)
	}
}

// ask returns how the cluster looks from a node.
func (n *daemon) ask() (*wire.StatusReply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status == nil {
		c, err := client.New(client.Options{Socket: n.socket(), Only: true, Timeout: 2 * time.Second})
		if err != nil {
			return nil, err
		}
		n.status = c
	}
	return n.status.Status(context.Background(), nil)
}

// whole says whether all nodes see a quorum and all others ready, and if not, why.
func (c *cluster) whole() error {
	for _, n := range c.nodes {
		s, err := n.ask()
		if err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
		if !s.GetQuorum() || int(s.GetVoters()) != len(c.nodes) || len(s.GetMembers()) != len(c.nodes) {
			return fmt.Errorf("node %s: %v", n.name, s)
		}
		for _, m := range s.GetMembers() {
			if m.GetState() != "ready" {
				return fmt.Errorf("node %s: %s is %s", n.name, m.GetMember().GetName(), m.GetState())
			}
		}
	}
	return nil
}

// healthy returns when the cluster is whole; the test ends if that takes longer than limit.
func (c *cluster) healthy(limit time.Duration) time.Duration {
	c.t.Helper()
	began := time.Now()
	for {
		err := c.whole()
		if err == nil {
			return time.Since(began)
		}
		require.Less(c.t, time.Since(began), limit, "the cluster does not become whole: %v", err)
		time.Sleep(100 * time.Millisecond)
	}
}

// leader is the node whose store leads. On a busy machine there may be none for a moment, although nothing is wrong.
func (c *cluster) leader() *daemon {
	c.t.Helper()
	var l *daemon
	require.Eventually(c.t, func() bool { l = c.leads(); return l != nil }, whole, 100*time.Millisecond, "no node knows a leader")
	return l
}

func (c *cluster) leads() *daemon {
	for _, n := range c.nodes {
		s, err := n.ask()
		if err != nil {
			continue
		}
		for _, m := range s.GetMembers() {
			for _, l := range c.nodes {
				if m.GetLeader() && m.GetMember().GetName() == l.name {
					return l
				}
			}
		}
	}
	return nil
}

// open returns a client of all nodes as an application has it.
func (c *cluster) open(log func(error)) *client.Client {
	c.t.Helper()
	h, err := remote.Open(c.slot, log)
	require.NoError(c.t, err)
	return h
}

// end stops everything. Logs are shown if the test has failed.
func (c *cluster) end() {
	for _, n := range c.nodes {
		if n.status != nil {
			_ = n.status.Close()
		}
		if n.cmd != nil {
			_ = n.signal(syscall.SIGCONT)
			_ = n.kill()
		}
		if c.t.Failed() {
			b, _ := os.ReadFile(n.log)
			c.t.Logf("the end of the log of node %s:\n%s", n.name, b[max(0, len(b)-logShown):])
		}
	}
	_ = exec.Command("umount", "-l", filepath.Join(c.dir, c.nodes[onOwnDisk].name)).Run()
	if keep := os.Getenv("COFFER_KEEP"); keep != "" {
		c.t.Logf("the files are kept in %s", c.dir)
		return
	}
	_ = os.RemoveAll(c.dir)
}

// logShown is how many bytes of a node's log a failed test shows.
const logShown = 12 << 10
