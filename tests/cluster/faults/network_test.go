package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// network is a network namespace for each node and one with the bridge between them, which the test process is connected to
// as well. The bridge has a namespace of its own because the machine's packet filter may concern itself with bridges.
type network struct {
	prefix string // of namespaces and interfaces
	subnet string
}

// prefixOf marks what belongs to one test process. Names of interfaces have at most 15 characters.
const prefixOf = "cffl"

// tools are what the faults are made with.
var tools = []string{"ip", "iptables", "mount", "umount"}

// newNetwork skips the test where a network cannot be made.
func newNetwork(t *testing.T, nodes []string) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: the cluster under faults. Network namespaces need root: run it as root")
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("the cluster under faults: %s is missing: run `make deps-test`", name)
		}
	}
	sweep(t)
	w := &network{prefix: fmt.Sprintf("%s%d", prefixOf, os.Getpid()), subnet: fmt.Sprintf("10.213.%d", os.Getpid()%250)}
	t.Cleanup(w.remove)
	hub := w.namespace("h")
	run(t, "ip", "netns", "add", hub)
	run(t, "ip", "-n", hub, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", hub, "link", "set", "br0", "up")
	run(t, "ip", "link", "add", w.prefix+"r", "type", "veth", "peer", "name", "root", "netns", hub)
	run(t, "ip", "-n", hub, "link", "set", "root", "master", "br0", "up")
	run(t, "ip", "addr", "add", w.subnet+".1/24", "dev", w.prefix+"r")
	run(t, "ip", "link", "set", w.prefix+"r", "up")
	for i, n := range nodes {
		ns := w.namespace(n)
		run(t, "ip", "netns", "add", ns)
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
		run(t, "ip", "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "to-"+n, "netns", hub)
		run(t, "ip", "-n", hub, "link", "set", "to-"+n, "master", "br0", "up")
		run(t, "ip", "-n", ns, "addr", "add", w.address(i)+"/24", "dev", "eth0")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	}
	return w
}

func (w *network) namespace(node string) string { return w.prefix + "-" + node }
func (w *network) address(node int) string      { return fmt.Sprintf("%s.%d", w.subnet, 11+node) }

// remove takes everything away that carries the prefix, whatever has failed before.
func (w *network) remove() { removeNamespaces(w.prefix) }

func removeNamespaces(prefix string) {
	list, _ := os.ReadDir("/run/netns")
	for _, e := range list {
		if strings.HasPrefix(e.Name(), prefix+"-") {
			_ = exec.Command("ip", "netns", "del", e.Name()).Run()
		}
	}
	_ = exec.Command("ip", "link", "del", prefix+"r").Run()
}

// sweep removes what test processes have left behind that did not come to their end.
func sweep(t *testing.T) {
	t.Helper()
	left, _ := filepath.Glob("/run/netns/" + prefixOf + "*-h")
	for _, path := range left {
		prefix, _, _ := strings.Cut(filepath.Base(path), "-")
		pid, err := strconv.Atoi(strings.TrimPrefix(prefix, prefixOf))
		if _, missing := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil && os.IsNotExist(missing) {
			removeNamespaces(prefix)
		}
	}
}

// drop has a node's packet filter lose what a rule matches.
func (w *network) drop(node string, rules ...string) error {
	for _, r := range rules {
		args := append([]string{"netns", "exec", w.namespace(node), "iptables", "-w", "-I"}, strings.Fields(r)...)
		if b, err := exec.Command("ip", append(args, "-j", "DROP")...).CombinedOutput(); err != nil {
			return fmt.Errorf("iptables %s: %w: %s", r, err, b)
		}
	}
	return nil
}

// heal ends all that drop has begun.
func (w *network) heal(node string) error {
	b, err := exec.Command("ip", "netns", "exec", w.namespace(node), "iptables", "-w", "-F").CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables -F: %w: %s", err, b)
	}
	return nil
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), b)
	return string(b)
}
