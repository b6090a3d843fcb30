package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// fault is something that happens to one node.
type fault struct {
	name string
	// leads: it happens to the node whose store leads. ownDisk: to the one that has a file system of its own.
	leads, ownDisk bool
	// lasts is how long, at least; a lease is over after 3 s.
	lasts time.Duration
	begin func(*cluster, *daemon) error
	// during is called again and again until the fault is over; it may be nil.
	during func(*cluster, *daemon) error
	end    func(*cluster, *daemon) error
	// needs is a program without which the fault is left out.
	needs string
}

var faults = []fault{
	{name: "killed", lasts: 1500 * time.Millisecond, begin: kill, end: restart},
	{name: "the leader killed", leads: true, lasts: 4 * time.Second, begin: kill, end: restart},
	{name: "stopped", lasts: 5 * time.Second, begin: signal(syscall.SIGSTOP), end: signal(syscall.SIGCONT)},
	{name: "the leader stopped", leads: true, lasts: 5 * time.Second, begin: signal(syscall.SIGSTOP), end: signal(syscall.SIGCONT)},
	{name: "cut off", lasts: 5 * time.Second, begin: drop("INPUT -i eth0", "OUTPUT -o eth0"), end: heal},
	{name: "cut off from the other nodes", lasts: 5 * time.Second, begin: dropPeers(true, true), end: heal},
	{name: "deaf to the other nodes", lasts: 5 * time.Second, begin: dropPeers(true, false), end: heal},
	{name: "not heard by the other nodes", lasts: 5 * time.Second, begin: dropPeers(false, true), end: heal},
	{name: "slow", lasts: 3 * time.Second, begin: nothing, during: pulse, end: nothing},
	{name: "a slow disk", needs: "strace", lasts: 3 * time.Second, begin: nothing, during: slowDisk, end: nothing},
	{name: "its clock ahead", lasts: 4 * time.Second, begin: clock("2h"), end: clock("")},
	{name: "its clock behind", lasts: 4 * time.Second, begin: clock("-2h"), end: clock("")},
	{name: "a full disk", ownDisk: true, lasts: 3 * time.Second, begin: fill, end: empty},
}

func nothing(*cluster, *daemon) error { return nil }

func kill(_ *cluster, n *daemon) error { return n.kill() }

func restart(_ *cluster, n *daemon) error { return n.start() }

func signal(s syscall.Signal) func(*cluster, *daemon) error {
	return func(_ *cluster, n *daemon) error { return n.signal(s) }
}

// clock has a node's time of day jump.
func clock(by string) func(*cluster, *daemon) error {
	return func(_ *cluster, n *daemon) error { return os.WriteFile(n.clock, []byte(by), 0o600) }
}

func drop(rules ...string) func(*cluster, *daemon) error {
	return func(c *cluster, n *daemon) error { return c.net.drop(n.name, rules...) }
}

// dropPeers loses what comes from the other nodes, or goes to them. Clients still reach the node.
func dropPeers(in, out bool) func(*cluster, *daemon) error {
	return func(c *cluster, n *daemon) error {
		var rules []string
		for i, o := range c.nodes {
			if o == n {
				continue
			}
			if in {
				rules = append(rules, "INPUT -s "+c.net.address(i))
			}
			if out {
				rules = append(rules, "OUTPUT -d "+c.net.address(i))
			}
		}
		return c.net.drop(n.name, rules...)
	}
}

func heal(c *cluster, n *daemon) error { return c.net.heal(n.name) }

// pulse makes a node slow: it stands still for a while, and goes on for a shorter while.
func pulse(_ *cluster, n *daemon) error {
	err := n.signal(syscall.SIGSTOP)
	time.Sleep(60 * time.Millisecond)
	err = errors.Join(err, n.signal(syscall.SIGCONT))
	time.Sleep(20 * time.Millisecond)
	return err
}

// slowDisk has each flush to the disk take a tenth of a second longer.
func slowDisk(_ *cluster, n *daemon) error {
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync",
		"-e", "inject=fdatasync:delay_exit=100000", "-p", strconv.Itoa(n.pid()))
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	// Interrupted, it lets go of the node, and ends with that signal or with an exit code that says nothing.
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("strace has ended by itself: %w", errors.Join(err, cmd.Wait()))
	}
	_ = cmd.Wait()
	return nil
}

// ballast is what fills a disk.
func ballast(n *daemon) string { return filepath.Join(n.dir, "ballast") }

func fill(_ *cluster, n *daemon) error {
	f, err := os.Create(ballast(n))
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); ; {
		_, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// empty gives the space back and restarts the node as an operator does: its copy of the store may have stopped when it could
// not write, though the node goes on.
func empty(c *cluster, n *daemon) error {
	if err := os.Remove(ballast(n)); err != nil {
		return err
	}
	if err := n.terminate(); err != nil {
		return err
	}
	return restart(c, n)
}
