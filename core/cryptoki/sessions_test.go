package cryptoki

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// TestSessionsAreFoundByTheirHandlesOnly opens and closes many times as many sessions as the table begins with.
func TestSessionsAreFoundByTheirHandlesOnly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var table sessions
	var last atomic.Uint64
	open := map[SessionHandle]*session{}
	for range 20 * fewestPlaces {
		if random.IntN(3) > 0 {
			before, x := last.Load(), &session{}
			table.add(x, &last)
			if uint64(x.handle) <= before {
				t.Fatalf("handle %d after %d", x.handle, before)
			}
			open[x.handle] = x
		} else {
			for h, x := range open { // any
				table.remove(x)
				delete(open, h)
				break
			}
		}
	}
	for h := range SessionHandle(last.Load() + 2*fewestPlaces) {
		x, ok := table.load(h)
		if want := open[h]; ok != (want != nil) || ok && x != want {
			t.Fatalf("handle %d: %v, %v", h, x, ok)
		}
	}
	if table.open != len(open) {
		t.Errorf("%d counted, %d open", table.open, len(open))
	}
}
