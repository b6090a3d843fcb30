package cryptoki

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// TestHandlesAreFoundByTheirNumbersOnly adds and removes many times as many sessions as the table begins with.
func TestHandlesAreFoundByTheirNumbersOnly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var table numbers[session]
	var last atomic.Uint64
	open := map[SessionHandle]*session{}
	counted := func() (n int) {
		for i := range table.shards {
			n += table.shards[i].used
		}
		return n
	}
	for range 20 * fewestPlaces * numberShards {
		if random.IntN(3) > 0 {
			before, x := last.Load(), &session{}
			table.add(x, &x.numbered, &last)
			if uint64(x.handle) <= before {
				t.Fatalf("handle %d after %d", x.handle, before)
			}
			open[x.handle] = x
		} else {
			for h, x := range open { // any
				table.remove(&x.numbered)
				delete(open, h)
				break
			}
		}
	}
	for h := range SessionHandle(last.Load() + 2*fewestPlaces*numberShards) {
		x, ok := table.load(h)
		if want := open[h]; ok != (want != nil) || ok && x != want {
			t.Fatalf("handle %d: %v, %v", h, x, ok)
		}
	}
	if n := counted(); n != len(open) {
		t.Errorf("%d counted, %d open", n, len(open))
	}
	table.each(func(x *session) {
		if open[x.handle] != x {
			t.Errorf("%d is not open", x.handle)
		}
		delete(open, x.handle)
		table.remove(&x.numbered)
		table.remove(&x.numbered) // the second time there is nothing to do
	})
	if n := counted(); n != 0 || len(open) != 0 {
		t.Errorf("%d are still there, %d were not seen", n, len(open))
	}
}
