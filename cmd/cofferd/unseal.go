package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
)

// method is how the root key is unsealed: by the configuration, by --unseal-fd, or by asking on a terminal.
func method(u config.Unseal, fd int) (custody.Method, error) {
	switch {
	case fd >= 0 && u.Method == config.UnsealPassphrase:
		u.PassphraseFD = fd
	case fd >= 0 && u.Method == config.UnsealShares:
		file := os.NewFile(uintptr(fd), "shares")
		if file == nil {
			return nil, fmt.Errorf("--unseal-fd %d: there is no such file descriptor", fd)
		}
		lines := bufio.NewScanner(file)
		return member.MethodOf(u, member.Prompts{TakeShare: func(_ context.Context, have, need int) (string, error) {
			if !lines.Scan() {
				return "", errors.Join(fmt.Errorf("file descriptor %d held %d of %d shares", fd, have, need), lines.Err())
			}
			return lines.Text(), nil
		}})
	case fd >= 0:
		return nil, fmt.Errorf("--unseal-fd does not go with unseal.method = %q; it is for a passphrase and for shares", u.Method)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return member.MethodOf(u, member.Prompts{})
	}
	return member.MethodOf(u, member.Prompts{
		Passphrase: func(context.Context, bool) (*secret.Bytes, error) { return ask("passphrase of this node") },
		TakeShare: func(_ context.Context, have, need int) (string, error) {
			s, err := ask(fmt.Sprintf("share %d of %d", have+1, need))
			if err != nil {
				return "", err
			}
			defer s.Zero()
			return string(s.Expose()), nil
		},
	})
}

// ask reads a line from the terminal without showing it.
func ask(what string) (*secret.Bytes, error) {
	fmt.Fprintf(os.Stderr, "%s: ", what)
	line, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("the %s was not read: %w", what, err)
	}
	return secret.Take(line), nil
}
