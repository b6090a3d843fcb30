package mechtest

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// withstood are the rows that Run has been called for.
var withstood sync.Map

// Main is the TestMain of a family: it fails if there is a row that no test has held to the battery. It says nothing
// where the command line picks tests.
func Main(m *testing.M, f mech.Family) int {
	code := m.Run()
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench", "test.fuzz"} {
		if x := flag.Lookup(name); x != nil && x.Value.String() != "" {
			return code
		}
	}
	for i := range f.Mechanisms {
		if t := f.Mechanisms[i].Type; !hasWithstood(t) {
			fmt.Fprintf(os.Stderr, "FAIL: no test of family %s runs the battery on %v\n", f.Name, t)
			code = max(code, 1)
		}
	}
	return code
}

func hasWithstood(t pkcs11.MechanismType) bool {
	_, ran := withstood.Load(t)
	return ran
}
