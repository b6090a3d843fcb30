package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/coffer-hsm/coffer/core/secret"
	"golang.org/x/term"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// fdReader reads from an inherited file descriptor without buffering. It does not own the descriptor.
type fdReader int

func (fd fdReader) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// askSecret asks on the terminal without echo. An interrupt gives the terminal back as it was.
func (a *app) askSecret(what string) (*secret.Bytes, error) {
	f := a.in.(*os.File)
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	defer close(done)
	defer signal.Stop(interrupted)
	go func() {
		select {
		case s := <-interrupted:
			term.Restore(fd, before)
			fmt.Fprintln(a.errOut)
			os.Exit(128 + int(s.(syscall.Signal)))
		case <-done:
		}
	}()
	fmt.Fprint(a.errOut, what+": ")
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(a.errOut)
	if err != nil {
		return nil, noPIN("no %s was given", "", what)
	}
	if len(line) == 0 {
		return nil, noPIN("the %s is empty", "", what)
	}
	return secret.Take(line), nil
}

// confirm asks before something that cannot be undone. yes is the --yes flag.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.interactive() {
		return usage("this cannot be undone and nobody is there to be asked", "add --yes to do it without asking")
	}
	fmt.Fprint(a.errOut, question+" [y/N] ")
	answer := make([]byte, 0, 16)
	one := make([]byte, 1)
	for {
		n, err := a.in.Read(one)
		if n == 0 || err != nil || one[0] == '\n' {
			break
		}
		answer = append(answer, one[0])
	}
	switch strings.ToLower(strings.TrimSpace(string(answer))) {
	case "y", "yes":
		return nil
	}
	return failed("nothing was changed", "")
}
