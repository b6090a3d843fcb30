package spare

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestEverySpareHasOneOwner(t *testing.T) {
	type owned struct{ owners atomic.Int32 }
	var s Set[owned]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 2000 {
				v := s.Take()
				if v == nil {
					v = new(owned)
				}
				if v.owners.Add(1) != 1 {
					t.Error("two owners")
				}
				v.owners.Add(-1)
				s.Put(v)
			}
		})
	}
	wg.Wait()
}

func TestKeepsAHandful(t *testing.T) {
	var s Set[int]
	if s.Take() != nil {
		t.Error("an empty set has something")
	}
	for range 100 {
		s.Put(new(int))
	}
	n := 0
	for s.Take() != nil {
		n++
	}
	if n != len(s.places) {
		t.Errorf("%d kept", n)
	}
}
