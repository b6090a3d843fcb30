package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/coffer-hsm/coffer/core/config"
)

// listenUnix makes the socket of clients.
func listenUnix(n *config.Node) (*net.UnixListener, error) {
	return listenUnixAt(n.Socket, "socket", n)
}

// listenUnixAt makes a socket; key is what the configuration calls it. One that a dead process has left is replaced; one that
// answers, or a file that is no socket, is not.
func listenUnixAt(path, key string, n *config.Node) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("the socket's directory cannot be made: %w; make it, or set %s", err, key)
	}
	if err := removeStale(path, key); err != nil {
		return nil, err
	}
	// Made closed to all, then opened to those whom the configuration names.
	before := syscall.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w; check the directory's owner, or set %s", path, err, key)
	}
	if err := open(path, n); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(path, key string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the socket %s cannot be looked at: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket; set %s to another path", path, key)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens at %s; stop it, or set %s to another path", path, key)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the socket that was left at %s cannot be removed: %w", path, err)
	}
	return nil
}

func open(path string, n *config.Node) error {
	if n.SocketGroup != "" {
		gid, err := groupID(n.SocketGroup)
		if err != nil {
			return err
		}
		if err := os.Chown(path, -1, gid); err != nil {
			return fmt.Errorf("the socket cannot be given to group %q: %w; make the daemon's user a member of it", n.SocketGroup, err)
		}
	}
	if err := os.Chmod(path, n.SocketMode.Perm()); err != nil {
		return fmt.Errorf("the socket's mode cannot be set: %w", err)
	}
	return nil
}

func groupID(name string) (int, error) {
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q; correct socket_group", name)
	}
	return strconv.Atoi(g.Gid)
}
