package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/spf13/pflag"
)

// pinKind says which PIN is wanted.
type pinKind int

// The PINs that commands ask for.
const (
	pinUser pinKind = iota
	pinSO
	pinNew
	pinFrom
)

// pinSources is where each PIN may come from: --FLAG-fd, --FLAG-file, the environment, and a prompt, in this order.
var pinSources = [...]struct {
	flag string
	env  string
	name string // as prompts and errors say it
}{
	pinUser: {"pin", "COFFER_PIN", "user PIN"},
	pinSO:   {"so-pin", "COFFER_SO_PIN", "security officer's PIN"},
	pinNew:  {"new-pin", "COFFER_NEW_PIN", "new PIN"},
	pinFrom: {"from-pin", "COFFER_FROM_PIN", "source token's user PIN"},
}

// maxPINInput is far above any PIN; it stops a wrong file from being read whole.
const maxPINInput = 4096

// pinFlags are the two flags of one PIN.
type pinFlags struct {
	file string
	fd   int
}

// addPINFlags gives a command the flags of these PINs.
func (a *app) addPINFlags(flags *pflag.FlagSet, kinds ...pinKind) {
	for _, k := range kinds {
		s := pinSources[k]
		f := &pinFlags{fd: -1}
		if a.pinFlags[k] == nil {
			a.pinFlags[k] = f
		}
		f = a.pinFlags[k]
		flags.StringVar(&f.file, s.flag+"-file", "", fmt.Sprintf("`FILE` with the %s in its first line", s.name))
		flags.IntVar(&f.fd, s.flag+"-fd", -1, fmt.Sprintf("file descriptor `N` to read the %s from, up to the end of a line", s.name))
	}
}

// pinGiven reports whether a PIN can be had without asking.
func (a *app) pinGiven(k pinKind) bool {
	f := a.pinFlags[k]
	return f != nil && (f.fd >= 0 || f.file != "") || a.env(pinSources[k].env) != ""
}

// pin returns a PIN; it is read once and belongs to the app. A PIN that is to be set is asked for twice.
func (a *app) pin(k pinKind, toBeSet bool) (*secret.Bytes, error) {
	if p := a.pins[k]; p != nil {
		return p, nil
	}
	p, err := a.readPIN(k, toBeSet)
	if err != nil {
		return nil, err
	}
	a.pins[k] = p
	return p, nil
}

func (a *app) readPIN(k pinKind, toBeSet bool) (*secret.Bytes, error) {
	s, f := pinSources[k], a.pinFlags[k]
	switch {
	case f != nil && f.fd >= 0:
		return a.pinFromFD(k, f.fd)
	case f != nil && f.file != "":
		file, err := os.Open(f.file)
		if err != nil {
			return nil, noPIN("the file with the %s cannot be opened: %v", "check --"+s.flag+"-file", s.name, err)
		}
		defer file.Close()
		return pinLine(file, k, f.file)
	case a.env(s.env) != "":
		return secret.Take([]byte(a.env(s.env))), nil
	case !a.interactive():
		return nil, noPIN("the %s is needed", fmt.Sprintf("give it with --%s-file FILE or --%s-fd N or in %s, or run the command in a terminal",
			s.flag, s.flag, s.env), s.name)
	}
	p, err := a.askSecret(s.name)
	if err != nil || !toBeSet {
		return p, err
	}
	again, err := a.askSecret("the same again")
	if err != nil {
		p.Zero()
		return nil, err
	}
	defer again.Zero()
	if !p.Equal(again) {
		p.Zero()
		return nil, noPIN("the two are not the same", "try again")
	}
	return p, nil
}

// pinFromFD reads one line and not a byte more: several PINs, and the data after them, may come through one descriptor.
func (a *app) pinFromFD(k pinKind, fd int) (*secret.Bytes, error) {
	if fd == 0 {
		return pinLine(a.in, k, "standard input")
	}
	return pinLine(fdReader(fd), k, fmt.Sprintf("file descriptor %d", fd))
}

// pinLine reads the first line, without its end.
func pinLine(r io.Reader, k pinKind, from string) (*secret.Bytes, error) {
	line := make([]byte, 0, maxPINInput)
	defer func() { secret.Wipe(line[:cap(line)]) }()
	one := make([]byte, 1)
	for {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		if n == 1 && len(line) == cap(line) {
			return nil, noPIN("the first line of %s is too long for a PIN", "put the %s alone into the first line", from, pinSources[k].name)
		}
		line = append(line, one[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, noPIN("the %s cannot be read from %s: %v", "check --%s-file and --%s-fd", pinSources[k].name, from, err)
		}
	}
	pin := bytes.TrimSuffix(line, []byte("\r"))
	if len(pin) == 0 {
		return nil, noPIN("the %s in %s is empty", "put it into the first line", pinSources[k].name, from)
	}
	return secret.Copy(pin), nil
}
