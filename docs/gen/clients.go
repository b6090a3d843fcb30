package main

import (
	"bytes"
	"fmt"

	"github.com/coffer-hsm/coffer/tests/interop/clients"
)

// clientTable is the page of all programs that the library is tested with.
func clientTable() []byte {
	var b bytes.Buffer
	versions := clients.Versions()
	fmt.Fprint(&b, "<!-- Generated from tests/interop/clients by docs/gen; do not edit. -->\n\n# Clients\n\n"+
		"How to use Coffer from the programs that people have. Each recipe is short and meant to be pasted, after README's \"Use it\": a token\n"+
		"with the label `demo`, `COFFER_PIN` set and `build` in `PATH`. Each row says what `make interop` runs,\n"+
		"on Debian 12.\n\n| client | version | what is tested |\n|---|---|---|\n")
	for _, c := range clients.All() {
		shown, version := c.Shown, versions[c.Name]
		if c.Without != "" {
			shown, version = "not tested: "+c.Without, ""
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", c.Title, c.Name, version, shown)
	}
	return b.Bytes()
}
