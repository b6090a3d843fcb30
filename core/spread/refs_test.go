package spread

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// spread gives r its lines, as threads do that have met often enough.
func (r *Refs) spread() { r.lines.Store(new([seats]line[atomic.Int32])) }

func started() *Refs {
	r := new(Refs)
	r.Start()
	return r
}

// TestTheLastOneEnds: by the order in which the owner and the users let go, before and after there are lines.
func TestTheLastOneEnds(t *testing.T) {
	type step struct {
		acquire Seat
		spread  bool
		release int // of the holds so far; 0 is the owner's
		ends    bool
	}
	const no = -1
	for name, steps := range map[string][]step{
		"the owner alone":                 {{release: 0, ends: true}},
		"a user before the owner":         {{acquire: 3, release: no}, {release: 1}, {release: 0, ends: true}},
		"a user after the owner":          {{acquire: 3, release: no}, {release: 0}, {release: 1, ends: true}},
		"on a line before the owner":      {{spread: true, acquire: 3, release: no}, {release: 1}, {release: 0, ends: true}},
		"on a line after the owner":       {{spread: true, acquire: 3, release: no}, {release: 0}, {release: 1, ends: true}},
		"without a seat after the owner":  {{spread: true, acquire: Nowhere, release: no}, {release: 0}, {release: 1, ends: true}},
		"two lines":                       {{spread: true, acquire: 3, release: no}, {acquire: 4, release: no}, {release: 0}, {release: 2}, {release: 1, ends: true}},
		"two on one line":                 {{spread: true, acquire: 3, release: no}, {acquire: 3, release: no}, {release: 1}, {release: 0}, {release: 2, ends: true}},
		"from before there were lines":    {{acquire: 3, release: no}, {spread: true, acquire: 3, release: no}, {release: 0}, {release: 2}, {release: 1, ends: true}},
		"from before, and before a line":  {{acquire: 3, release: no}, {spread: true, acquire: 3, release: no}, {release: 0}, {release: 1}, {release: 2, ends: true}},
		"after the owner, while one uses": {{acquire: Nowhere, release: no}, {spread: true, release: 0}, {acquire: 5, release: no}, {release: 1}, {release: 2, ends: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r, holds := started(), []Hold{Owner}
			for i, s := range steps {
				if s.spread {
					r.spread()
				}
				if s.release == no {
					h, ok := r.Acquire(s.acquire)
					if !ok {
						t.Fatalf("step %d: refused", i)
					}
					holds = append(holds, h)
					continue
				}
				if ended := r.Release(holds[s.release]); ended != s.ends {
					t.Fatalf("step %d: ended is %v", i, ended)
				}
			}
			for _, at := range []Seat{3, Nowhere} {
				h, ok := r.Acquire(at)
				if ok {
					t.Error("somebody got in after the end")
				}
				if r.Release(h) {
					t.Error("it ended twice")
				}
			}
		})
	}
}

// TestWhoeverMeetsOftenGetsLines: and who does not, does not.
func TestWhoeverMeetsOftenGetsLines(t *testing.T) {
	r := started()
	for range 10 * patience {
		h, _ := r.Acquire(1)
		r.Release(h)
	}
	if r.lines.Load() != nil {
		t.Error("lines for one who comes alone")
	}
	for range patience {
		if r.lines.Load() != nil {
			t.Error("lines for some who met a few times")
		}
		r.meet()
	}
	if r.lines.Load() == nil {
		t.Error("no lines")
	}
}

// TestSeatsAreGivenInTurn: who has one keeps it.
func TestSeatsAreGivenInTurn(t *testing.T) {
	var s Seats
	given := map[Seat]int{}
	for range 3 * seats {
		at := s.Seated(Nowhere)
		given[at]++
		if s.Seated(at) != at {
			t.Error("a seat was taken away")
		}
	}
	for at, n := range given {
		if n != 3 || at >= seats {
			t.Errorf("seat %d was given %d times", at, n)
		}
	}
}

// TestItEndsOnceAndUnderNobody: users on all seats and on none come and go while the owner lets go at some moment.
func TestItEndsOnceAndUnderNobody(t *testing.T) {
	for round := range 1000 {
		r := started()
		if round%2 == 0 {
			r.spread()
		}
		var ends, inside atomic.Int32
		var ended atomic.Bool
		release := func(h Hold) {
			if r.Release(h) {
				ends.Add(1)
				ended.Store(true)
				if inside.Load() != 0 {
					t.Error("it ended while somebody used it")
				}
			}
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				at := Seat(i)
				if i == 0 {
					at = Nowhere
				}
				for n := 0; ; n++ {
					if i == 1 && n == round%50 {
						release(Owner)
					}
					h, ok := r.Acquire(at)
					if ok {
						inside.Add(1)
						if ended.Load() {
							t.Error("somebody got in after the end")
						}
						inside.Add(-1)
					}
					release(h)
					if !ok {
						return
					}
					runtime.Gosched() // who lets go for the owner may wait for a processor
				}
			})
		}
		wg.Wait()
		if n := ends.Load(); n != 1 {
			t.Fatalf("it ended %d times", n)
		}
	}
}
