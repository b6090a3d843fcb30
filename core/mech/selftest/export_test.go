package selftest

import (
	"maps"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
)

// AnswerNames lists the lines of answers.txt.
func AnswerNames(t *testing.T) []string {
	t.Helper()
	known, err := parseAnswers(answersText)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(known))
}

// WithWrongAnswer returns the tests that use an answer, which has a bit changed at its end. r is not touched.
func WithWrongAnswer(t *testing.T, r *mech.Registry, name string) (list []*mech.SelfTest) {
	t.Helper()
	known, err := parseAnswers(answersText)
	if err != nil {
		t.Fatal(err)
	}
	last := known[name].fields[len(known[name].fields)-1]
	last[len(last)-1] ^= 1
	for _, x := range tests() {
		if x.name == name || x.name+"_HMAC" == name {
			b := &bench{registry: r, answers: known, name: x.name}
			list = append(list, mech.NewSelfTest(x.name, known[x.name].source, func() error { return x.run(b) }))
		}
	}
	return list
}
