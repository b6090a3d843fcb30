package config

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
)

// listener takes where to listen: the host may be left out, and the whole be empty.
func listener[T any](field func(*T) *string, port string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		switch {
		case !ok:
			return "the " + name + " is " + describe(v)
		case s == "":
			*field(t) = ""
			return ""
		case strings.HasPrefix(s, ":"):
			if n, err := strconv.ParseUint(s[1:], 10, 16); err != nil || n == 0 {
				return fmt.Sprintf("the %s %q has no port between 1 and 65535", name, s)
			}
			*field(t) = s
			return ""
		}
		a, problem := address(s, port)
		if problem != "" {
			return fmt.Sprintf("the %s %q %s", name, s, problem)
		}
		*field(t) = a
		return ""
	}
}

// UnixPrefix begins what is a unix socket where host:port could be.
const UnixPrefix = "unix:"

// watched takes where to listen for a monitoring system: as listener, or a unix socket.
func watched[T any](field func(*T) *string) setter[T] {
	at, socket := listener(field, defaultMetrics), socketPath(field)
	return func(p *parser, name string, t *T, v any) string {
		s, _ := v.(string)
		path, isSocket := strings.CutPrefix(s, UnixPrefix)
		if !isSocket {
			return at(p, name, t, v)
		}
		problem := socket(p, name, t, path)
		if problem == "" {
			*field(t) = UnixPrefix + *field(t)
		}
		return problem
	}
}

// reachable takes an address that others can connect to.
func reachable[T any](field func(*T) *string, port string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		a, problem := address(s, port)
		if problem != "" {
			return fmt.Sprintf("the %s %q %s", name, s, problem)
		}
		if host, _, err := net.SplitHostPort(a); err == nil && net.ParseIP(host).IsUnspecified() {
			return fmt.Sprintf("the %s %q is every address of a machine, and nobody can connect to that", name, s)
		}
		*field(t) = a
		return ""
	}
}

// orNone takes what set takes, and an empty text.
func orNone[T any](field func(*T) *string, set setter[T]) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		if v == "" {
			*field(t) = ""
			return ""
		}
		return set(p, name, t, v)
	}
}

// hexadecimal takes bytes as digits, and stores them in lower case.
func hexadecimal[T any](field func(*T) *string) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		if b, err := hex.DecodeString(s); err != nil || len(b) == 0 || len(b) > maxWord {
			return fmt.Sprintf("the %s %q is not 1 to %d bytes in hexadecimal", name, s, maxWord)
		}
		*field(t) = strings.ToLower(s)
		return ""
	}
}

func setSocketMode(_ *parser, name string, n *Node, v any) string {
	s, ok := v.(string)
	if !ok {
		return "the " + name + " is " + describe(v)
	}
	m, err := strconv.ParseUint(s, 8, 9)
	if err != nil || m&0o111 != 0 || m&0o600 != 0o600 {
		return fmt.Sprintf("the %s %q is not the mode of a socket that its owner can use", name, s)
	}
	n.SocketMode = fs.FileMode(m)
	return ""
}

// number takes a whole number between two bounds.
func number[T any](field func(*T) *int, least, most int) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		n, ok := v.(int64)
		if !ok || n < int64(least) || n > int64(most) {
			return fmt.Sprintf("the %s is %s, not a number between %d and %d", name, describe(v), least, most)
		}
		*field(t) = int(n)
		return ""
	}
}

// numbers takes a list of identities of the system.
func numbers[T any](field func(*T) *[]uint32) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		*field(t) = nil
		for _, x := range list {
			n, ok := x.(int64)
			if !ok || n < 0 || n > 1<<32-2 {
				return fmt.Sprintf("one of the %s is %s", name, describe(x))
			}
			*field(t) = append(*field(t), uint32(n))
		}
		return ""
	}
}

// files takes a list of paths.
func files[T any](field func(*T) *[]string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return fmt.Sprintf("one of the %s is %s", name, describe(x))
			}
			path, problem := p.path(name, s)
			switch {
			case problem != "":
				return problem
			case slices.Contains(*field(t), path):
				return fmt.Sprintf("%s is twice in the %s", path, name)
			}
			*field(t) = append(*field(t), path)
		}
		return ""
	}
}
