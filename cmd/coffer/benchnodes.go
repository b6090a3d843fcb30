package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchSites are what --nodes knows: the same module with its token behind throw-away nodes on this machine.
var benchSites = []struct {
	word, name string
	nodes      int
	tls        bool
}{
	{"socket", "one node, socket", 1, false},
	{"tls", "one node, TLS", 1, true},
	{"three", "three nodes, TLS", 3, true},
}

// cofferdName is the daemon's program, beside this one.
const cofferdName = "cofferd"

// nodesStart is how long a node may take until it serves.
const nodesStart = 30 * time.Second

// newBenchNodes prepares the module with a token behind nodes, which end with it.
func (a *app) newBenchNodes(ctx context.Context, host, word string, o benchOptions) (*benchModule, error) {
	for _, site := range benchSites {
		if site.word != word {
			continue
		}
		return a.newBenchModuleWith(ctx, host, o.module, o, func(ctx context.Context, m *benchModule) error {
			m.Name = "Coffer, " + site.name
			return m.makeNodes(ctx, site.nodes, site.tls)
		})
	}
	return nil, usage("--nodes %q is not known", "use socket, tls or three", word)
}

// makeNodes makes the nodes, as an operator would, and a slot that has them.
func (m *benchModule) makeNodes(ctx context.Context, n int, tls bool) error {
	daemon, err := besideProgram(cofferdName, "the daemon", "build all with make")
	if err != nil {
		return err
	}
	m.nodeDir, err = os.MkdirTemp("", "cb") // short: a socket's path is no longer than 107 bytes
	if err != nil {
		return err
	}
	var addresses []string
	for i := range n {
		name := string(rune('a' + i))
		at, err := freePorts()
		if err != nil {
			return err
		}
		addresses = append(addresses, at)
		place := []string{"--node-config", m.inNode(name + ".toml"), "--name", name, "--listen", at, "--state-dir", m.inNode(name, "state")}
		if i == 0 {
			err = m.coffer(ctx, append([]string{"cluster", "create", "--label", benchLabel, "--activation", "open"}, place...)...)
		} else if err = m.coffer(ctx, "cluster", "invite", "--socket", m.socket("a"), "--out", m.inNode("token")); err == nil {
			err = m.coffer(ctx, append([]string{"cluster", "join", "--token-file", m.inNode("token")}, place...)...)
		}
		if err == nil {
			err = m.startNode(ctx, daemon, name)
		}
		if err == nil && i == 0 {
			err = m.initialiseNode(ctx)
		}
		if err != nil {
			return err
		}
	}
	if !tls {
		return nil
	}
	if err := m.coffer(ctx, "cluster", "certify", "bench", "--out", m.inNode("client"), "--socket", m.socket("a")); err != nil {
		return err
	}
	return m.slot(fmt.Sprintf("nodes = [\"%s\"]\nca = %q\ncertificate = %q\nkey = %q\n", strings.Join(addresses, `", "`),
		m.inNode("client", "ca.pem"), m.inNode("client", "bench.crt"), m.inNode("client", "bench.key")))
}

func (m *benchModule) inNode(parts ...string) string {
	return filepath.Join(append([]string{m.nodeDir}, parts...)...)
}

func (m *benchModule) socket(name string) string { return m.inNode(name, "cofferd.sock") }

func (m *benchModule) slot(place string) error {
	return os.WriteFile(filepath.Join(m.dir, "coffer.toml"), []byte("[[slot]]\nid = 0\n"+place), 0o600)
}

// initialiseNode makes the token of the first node, through the module itself.
func (m *benchModule) initialiseNode(ctx context.Context) error {
	if err := m.slot(fmt.Sprintf("socket = %q\n", m.socket("a"))); err != nil {
		return err
	}
	return m.initialise(ctx, benchSOPIN)
}

// coffer runs this program.
func (m *benchModule) coffer(ctx context.Context, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(slices.Clone(m.env), "COFFER_SO_PIN="+benchSOPIN)
	if out, err := cmd.CombinedOutput(); err != nil {
		return failed("coffer %s: %s", "the nodes of the measurement could not be made", strings.Join(args[:2], " "), strings.TrimSpace(string(out)))
	}
	return nil
}

// startNode starts a node and waits until it serves.
func (m *benchModule) startNode(ctx context.Context, daemon, name string) error {
	log, err := os.Create(m.inNode(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(daemon, "--config", m.inNode(name+".toml"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	m.nodes = append(m.nodes, cmd)
	for until := time.Now().Add(nodesStart); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if m.coffer(ctx, "cluster", "status", "--socket", m.socket(name)) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	text, _ := os.ReadFile(log.Name())
	return failed("a node of the measurement does not start", "its log says:\n"+string(text))
}

// endNodes ends the nodes and removes what they had.
func (m *benchModule) endNodes() {
	for _, cmd := range m.nodes {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	m.nodes = nil
	if m.nodeDir != "" {
		os.RemoveAll(m.nodeDir)
	}
}

// freePorts returns an address on loopback whose port and the two after it are free at the moment.
func freePorts() (string, error) {
	for range 50 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		port := first.Addr().(*net.TCPAddr).Port
		listeners := []net.Listener{first}
		for i := 1; i <= 2; i++ {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i)); err == nil {
				listeners = append(listeners, l)
			}
		}
		for _, l := range listeners {
			l.Close()
		}
		if len(listeners) == 3 {
			return first.Addr().String(), nil
		}
	}
	return "", failed("there are no three free ports in a row", "try again")
}
