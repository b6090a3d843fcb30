package main

import (
	"runtime"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

// TestMoreProcessorsUnlessTheUserSays: four times as many as the process may use, or what GOMAXPROCS says.
func TestMoreProcessorsUnlessTheUserSays(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "2")
	if serveThreads(); runtime.GOMAXPROCS(0) != 2 {
		t.Errorf("%d with GOMAXPROCS=2", runtime.GOMAXPROCS(0))
	}
	t.Setenv("GOMAXPROCS", "")
	if serveThreads(); runtime.GOMAXPROCS(0) != 2*perProcessor {
		t.Errorf("%d where two may be used", runtime.GOMAXPROCS(0))
	}
	if crowd, ok := kernel.Crowd(); !ok || crowd != max(3, 2*min(2, runtime.NumCPU())) { // three are the fewest that it is worth it for
		t.Errorf("signatures are done together from %d on (at all: %v)", crowd, ok)
	}
}
