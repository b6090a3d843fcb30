package tally

import (
	"sync"
	"testing"
	"time"
)

func TestBucketsHoldWhatIsNotAboveTheirBound(t *testing.T) {
	var h Histogram
	var sum time.Duration
	for _, b := range Bounds {
		h.Observe(b)
		h.Observe(b + 1)
		sum += 2*b + 1
	}
	h.Observe(-1) // a clock that went back
	d := h.Read()
	for i, n := range d.Counts {
		want := uint64(2) // the bound, and one that is a bit above the last bound
		if i == len(Bounds) {
			want = 1
		}
		if n != want {
			t.Errorf("bucket %d holds %d, not %d", i, n, want)
		}
	}
	if d.Count != uint64(2*len(Bounds)+1) || d.Sum != sum-1 {
		t.Errorf("%d in all, %v together, not %d and %v", d.Count, d.Sum, 2*len(Bounds)+1, sum-1)
	}
}

func TestNothingIsLost(t *testing.T) {
	var h Histogram
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(time.Millisecond)
			}
		})
	}
	all.Wait()
	if d := h.Read(); d.Count != 8000 || d.Sum != 8*time.Second {
		t.Errorf("%d, %v", d.Count, d.Sum)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(180 * time.Microsecond)
	}
}
