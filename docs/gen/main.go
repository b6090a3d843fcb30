// Command gen writes docs/mechanisms.md from the mechanisms' own rows, and docs/clients/README.md from those of the programs
// that are tested with the library; with -check it says whether the files are current.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// columns are the flags in the table's order.
var columns = []struct {
	title string
	flag  pkcs11.Flags
}{
	{"enc", pkcs11.CKF_ENCRYPT}, {"dec", pkcs11.CKF_DECRYPT}, {"sign", pkcs11.CKF_SIGN}, {"verify", pkcs11.CKF_VERIFY},
	{"recover", pkcs11.CKF_SIGN_RECOVER | pkcs11.CKF_VERIFY_RECOVER}, {"digest", pkcs11.CKF_DIGEST},
	{"gen", pkcs11.CKF_GENERATE | pkcs11.CKF_GENERATE_KEY_PAIR}, {"wrap", pkcs11.CKF_WRAP}, {"unwrap", pkcs11.CKF_UNWRAP},
	{"derive", pkcs11.CKF_DERIVE}, {"encap", pkcs11.CKF_ENCAPSULATE | pkcs11.CKF_DECAPSULATE},
	{"messages", pkcs11.CKF_MESSAGE_ENCRYPT | pkcs11.CKF_MESSAGE_DECRYPT | pkcs11.CKF_MESSAGE_SIGN | pkcs11.CKF_MESSAGE_VERIFY},
}

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	root := flag.String("root", ".", "the repository")
	flag.Parse()
	text, err := table()
	if err == nil {
		err = output(filepath.Join(*root, "docs", "mechanisms.md"), text, *check)
	}
	if err == nil {
		err = output(filepath.Join(*root, "docs", "clients", "README.md"), clientTable(), *check)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func output(path string, text []byte, check bool) error {
	if !check {
		return os.WriteFile(path, text, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, text) {
		return fmt.Errorf("%s is not current: run `make generate`", path)
	}
	return nil
}

func table() ([]byte, error) {
	registry, err := all.Full()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Generated from the mechanisms' rows by docs/gen; do not edit. -->\n\n# Mechanisms\n\n")
	legacy := 0
	for _, t := range registry.Types() {
		if registry.Mechanism(t).Legacy {
			legacy++
		}
	}
	fmt.Fprintf(&b, "%d mechanisms, and %d marked old, which are broken or dead and offered only where the token's [policy](policy.md) has\n"+
		"`legacy = true`. Key sizes are in the unit that the standard's table names: bits for RSA, EC and generic secrets, bytes for AES and\n"+
		"HMAC. Those marked 1 work in one part only. FIPS says what is left where the policy has `fips = true`: all of it (x), what is\n"+
		"named, or nothing.\n\n| mechanism | key types | sizes |", len(registry.Types())-legacy, legacy)
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	fmt.Fprintf(&b, " parts | FIPS | |\n|---|---|---|%s---|---|---|\n", strings.Repeat("---|", len(columns)))
	for _, t := range registry.Types() {
		line(&b, registry.Mechanism(t))
	}
	return b.Bytes(), nil
}

func line(b *bytes.Buffer, m *mech.Mechanism) {
	var types []string
	for _, k := range m.KeyTypes {
		types = append(types, strings.TrimPrefix(k.String(), "CKK_"))
	}
	if len(types) > 3 {
		types = append(types[:2], "...")
	}
	sizes := ""
	if m.Max > 0 {
		sizes = fmt.Sprintf("%d-%d", m.Min, m.Max)
	}
	fmt.Fprintf(b, "| %v | %s | %s |", m.Type, strings.Join(types, ", "), sizes)
	flags := m.Info().Flags
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", mark(flags&c.flag != 0, "x"))
	}
	fmt.Fprintf(b, " %s | %s | %s |\n", mark(m.OnePart, "1"), fips(m), mark(m.Legacy, "old"))
}

// fips says which of a mechanism's operations are approved: all, or those that are named.
func fips(m *mech.Mechanism) string {
	operations := m.Info().Flags & policy.Operations
	left := policy.Approved(m.Type) & operations
	if left == operations {
		return "x"
	}
	var words []string
	for _, c := range columns {
		if left&c.flag != 0 {
			words = append(words, c.title)
		}
	}
	return strings.Join(words, ", ")
}

func mark(set bool, s string) string {
	if set {
		return s
	}
	return ""
}
