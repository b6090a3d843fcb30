// Package clients is the table of programs that use the library: one row each, for the tests that run them and for the
// generated docs/clients/README.md.
package clients

import (
	"bufio"
	_ "embed"
	"slices"
	"strings"
)

// Client is one program, or one way to use it.
type Client struct {
	Name    string   // of the row, and of docs/clients/<Name>.md
	Title   string   // as people call it
	Shown   string   // what its tests do, for the table
	Version []string // the command that prints its version; nil where the module's own version says it
	Pattern string   // finds the version in what that prints: the first group of a regular expression
	Without string   // why there is no test; its recipe says what is known. Empty: there is one
}

// All are the rows, in the table's order.
func All() []Client { return slices.Concat(web, tls, network, languages) }

// Of is a row by its name; ok is false if there is none.
func Of(name string) (c Client, ok bool) {
	i := slices.IndexFunc(All(), func(c Client) bool { return c.Name == name })
	if i < 0 {
		return Client{}, false
	}
	return All()[i], true
}

//go:embed versions.txt
var versions string

// Versions are the versions that the tests were last run with for the table, by the clients' names.
func Versions() map[string]string {
	m := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(versions)); s.Scan(); {
		if name, version, ok := strings.Cut(s.Text(), " "); ok {
			m[name] = version
		}
	}
	return m
}
