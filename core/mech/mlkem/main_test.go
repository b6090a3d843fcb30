package mlkem

import (
	"os"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
)

func TestMain(m *testing.M) { os.Exit(mechtest.Main(m, Family)) }

// keyRow is the key type.
var keyRow = Family.KeyTypes[0]
