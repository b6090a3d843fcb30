package all

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/evidence"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What each row has to have: a self-test, known answers or the reason why there are none, the battery of package
// mechtest, a line in the documentation. That each pair of a row and a flag is executed, TestMechanisms of
// tests/conformance proves.

func TestEveryRowHasASelfTest(t *testing.T) {
	r, err := Full()
	require.NoError(t, err)
	for _, typ := range r.Types() {
		assert.NotEmpty(t, r.Mechanism(typ).SelfTests, "%v", typ)
	}
}

// TestEveryRowHasEvidence, and the evidence is there and is of nothing else.
func TestEveryRowHasEvidence(t *testing.T) {
	r, err := Full()
	require.NoError(t, err)
	published, instead, listed := map[pkcs11.MechanismType]bool{}, map[pkcs11.MechanismType]bool{}, map[string]bool{}
	for _, v := range evidence.Published() {
		_, err := v.Count("..")
		require.NoError(t, err)
		require.NotEmpty(t, v.For, v.File)
		listed[v.File] = true
		for _, typ := range v.For {
			published[typ] = true
		}
	}
	for _, i := range evidence.Others() {
		file, test, named := strings.Cut(i.In, ":")
		require.True(t, named, i.In)
		text, err := os.ReadFile(filepath.Join("..", file))
		require.NoError(t, err)
		require.Contains(t, string(text), "func "+test+"(", "%s has no %s", file, test)
		require.NotEmpty(t, i.Why)
		for _, typ := range i.For {
			assert.False(t, published[typ], "%v has a known answer and an excuse", typ)
			assert.False(t, instead[typ], "%v has two excuses", typ)
			instead[typ] = true
		}
	}
	for _, typ := range r.Types() {
		assert.True(t, published[typ] || instead[typ], "%v has no known answer, and no reason why", typ)
		delete(published, typ)
		delete(instead, typ)
	}
	assert.Empty(t, published, "answers of rows that there are not")
	assert.Empty(t, instead, "excuses for rows that there are not")

	files, err := filepath.Glob("../*/testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		assert.True(t, listed[filepath.ToSlash(strings.TrimPrefix(f, "../"))], "%s is not listed in package evidence", f)
	}
}

// TestEveryFamilyRunsTheBattery: mechtest.Main fails the tests of a family that has a row on which they do not run it.
func TestEveryFamilyRunsTheBattery(t *testing.T) {
	for _, f := range families {
		text, err := os.ReadFile(filepath.Join("..", f.Name, "main_test.go"))
		require.NoError(t, err, "family %s", f.Name)
		require.Contains(t, string(text), "func TestMain(m *testing.M) { os.Exit(mechtest.Main(m, Family)) }", f.Name)
	}
}

func TestEveryRowIsDocumented(t *testing.T) {
	r, err := Full()
	require.NoError(t, err)
	text, err := os.ReadFile("../../../docs/mechanisms.md")
	require.NoError(t, err)
	for _, typ := range r.Types() {
		assert.Equal(t, 1, strings.Count(string(text), "\n| "+typ.String()+" |"), "lines of %v in docs/mechanisms.md: run `make generate`", typ)
	}
}
