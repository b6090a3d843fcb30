package config

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kinds is a set of kinds of a table, for the keys that only some of them have.
type kinds uint8

// key is a row of what a table of the file may hold, T being what it is read into. Adding a key means adding a row.
type key[T any] struct {
	name     string
	in       kinds  // the kinds of table that have it
	required kinds  // those of them that must
	wants    string // the type, in words
	set      setter[T]
}

// setter checks a value and stores it; a problem is what is wrong with the value, in words.
type setter[T any] func(p *parser, name string, t *T, v any) (problem string)

// text takes any text.
func text[T any](field func(*T) *string) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		*field(t) = s
		return ""
	}
}

// word takes text that is not empty and that can be shown in one line.
func word[T any](field func(*T) *string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		switch {
		case !ok:
			return "the " + name + " is " + describe(v)
		case strings.TrimSpace(s) != s || s == "":
			return fmt.Sprintf("the %s %q is empty or has blanks around it", name, s)
		case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Sprintf("the %s %q has control characters in it", name, s)
		case len(s) > maxWord:
			return fmt.Sprintf("the %s is longer than %d bytes", name, maxWord)
		}
		*field(t) = s
		return ""
	}
}

// oneOf takes one of some words.
func oneOf[T any](field func(*T) *string, words ...string) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok || !slices.Contains(words, s) {
			return "the " + name + " is " + describe(v)
		}
		*field(t) = s
		return ""
	}
}

// file takes a path, which may begin at the home directory or be relative to the file that it stands in.
func file[T any](field func(*T) *string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		switch {
		case !ok:
			return "the " + name + " is " + describe(v)
		case strings.HasSuffix(s, "/"):
			return "the " + name + " names a directory, not a file"
		}
		path, problem := p.path(name, s)
		if problem == "" {
			*field(t) = path
		}
		return problem
	}
}

// dir is file for a directory.
func dir[T any](field func(*T) *string) setter[T] {
	return func(p *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		path, problem := p.path(name, s)
		if problem == "" {
			*field(t) = path
		}
		return problem
	}
}

func (p *parser) path(name, path string) (abs, problem string) {
	switch {
	case path == "":
		return "", "the " + name + " is empty"
	case strings.ContainsRune(path, 0):
		return "", "the " + name + " has a zero byte in it"
	case strings.HasPrefix(path, "~/"):
		if !filepath.IsAbs(p.home) {
			return "", "the " + name + " begins with ~/ but this user has no home directory"
		}
		path = filepath.Join(p.home, path[2:])
	case strings.HasPrefix(path, "~"):
		return "", "the " + name + " begins with ~ but only ~/ (your own home directory) is understood"
	case !filepath.IsAbs(path):
		path = filepath.Join(filepath.Dir(p.file), path)
	}
	return filepath.Clean(path), ""
}

// socketPath is file for a unix socket, whose path the system limits.
func socketPath[T any](field func(*T) *string) setter[T] {
	set := file(field)
	return func(p *parser, name string, t *T, v any) string {
		problem := set(p, name, t, v)
		if problem == "" && len(*field(t)) > maxSocketPath {
			return fmt.Sprintf("the %s has a path of %d bytes, and the system takes %d", name, len(*field(t)), maxSocketPath)
		}
		return problem
	}
}

// flag takes true and false.
func flag[T any](field func(*T) *bool) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		b, ok := v.(bool)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		*field(t) = b
		return ""
	}
}

// span takes a duration in Go's notation between two bounds.
func span[T any](field func(*T) *time.Duration, least, most time.Duration) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		s, ok := v.(string)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return fmt.Sprintf("the %s %q is not a time with its unit", name, s)
		case d < least || d > most:
			return fmt.Sprintf("the %s %s is not between %s and %s", name, s, short(least), short(most))
		}
		*field(t) = d
		return ""
	}
}

// short leaves out what is zero at the end: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// addresses takes a list, not empty, of different places to connect to.
func addresses[T any](field func(*T) *[]string, port string) setter[T] {
	return func(_ *parser, name string, t *T, v any) string {
		list, ok := v.([]any)
		if !ok {
			return "the " + name + " is " + describe(v)
		}
		if len(list) == 0 {
			return "the " + name + " is an empty list"
		}
		if len(list) > maxAddresses {
			return fmt.Sprintf("the %s are %d, and at most %d are read", name, len(list), maxAddresses)
		}
		var out []string
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return "one of the " + name + " is " + describe(x)
			}
			a, problem := address(s, port)
			if problem != "" {
				return fmt.Sprintf("one of the %s, %q, %s", name, s, problem)
			}
			if slices.Contains(out, a) {
				return fmt.Sprintf("%s is twice in the %s", a, name)
			}
			out = append(out, a)
		}
		*field(t) = out
		return ""
	}
}

// address returns host:port in lower case, with the default port where there is none.
func address(s, port string) (out, problem string) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		// Without a port: a name, an IPv4 address, or an IPv6 address with or without its brackets.
		host, p = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), port
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", "is not host:port"
		}
	}
	if problem := hostProblem(host); problem != "" {
		return "", problem
	}
	if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
		return "", "has no port between 1 and 65535"
	}
	return net.JoinHostPort(strings.ToLower(host), p), ""
}

// hostProblem says what keeps a host from being a name or an address.
func hostProblem(host string) string {
	switch {
	case host == "":
		return "has no host"
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@[]?#,;"`, r) }):
		return "has characters that no host has"
	case len(host) > maxHost:
		return fmt.Sprintf("has a host of more than %d bytes", maxHost)
	}
	return ""
}
