// Package selftest holds the power-on self-tests: for each row of a registry at least one known answer, or a pair of keys
// that fits together. Rows that share a primitive share its test; CKM_SHA256_RSA_PKCS has that of SHA-256 and that of RSA.
//
// A test goes through the registry's own rows, so that it finds what is broken in a row too. It runs when one of its rows
// is first used (mech.Mechanism, Ready); loading the library costs nothing.
package selftest

import (
	"cmp"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// test is a self-test and the mechanisms that it is for. A test with a known answer has a line of its name in answers.txt.
type test struct {
	name   string
	covers []pkcs11.MechanismType
	run    func(b *bench) error
}

// tests puts the tables together.
func tests() []test {
	return slices.Concat(hashTests(), aesTests, oldTests, publicTests(), postquantumTests(), deriveTests, randomTests())
}

// Attach gives the rows of a registry their tests. It belongs to making the registry: nobody may use it yet.
func Attach(r *mech.Registry) error {
	known, err := parseAnswers(answersText)
	if err != nil {
		return err
	}
	return attach(r, known)
}

func attach(r *mech.Registry, known map[string]answer) error {
	for _, t := range tests() {
		b := &bench{registry: r, answers: known, name: t.name}
		s := mech.NewSelfTest(t.name, known[t.name].source, func() error { return t.run(b) })
		for _, typ := range t.covers {
			if m := r.Mechanism(typ); m != nil {
				m.SelfTests = append(m.SelfTests, s)
			}
		}
	}
	for _, typ := range r.Types() {
		if len(r.Mechanism(typ).SelfTests) == 0 {
			return fmt.Errorf("selftest: %v has no self-test", typ)
		}
	}
	return nil
}

// Of lists the tests of a registry's rows, each once, by name.
func Of(r *mech.Registry) []*mech.SelfTest {
	var list []*mech.SelfTest
	for _, typ := range r.Types() {
		for _, s := range r.Mechanism(typ).SelfTests {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	slices.SortFunc(list, func(a, b *mech.SelfTest) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

//go:embed answers.txt
var answersText string

// answer is a line of answers.txt.
type answer struct {
	source string
	fields [][]byte
}

func parseAnswers(text string) (map[string]answer, error) {
	known := map[string]answer{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		a := answer{source: f[1]}
		for _, s := range f[2:] {
			b, err := hex.DecodeString(strings.TrimPrefix(s, "-"))
			if err != nil {
				return nil, fmt.Errorf("selftest: the answer of %s: %w", f[0], err)
			}
			a.fields = append(a.fields, b)
		}
		known[f[0]] = a
	}
	return known, nil
}
