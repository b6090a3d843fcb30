package spread

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestEverySpareHasOneOwner(t *testing.T) {
	type owned struct{ owners atomic.Int32 }
	var s Spares[owned]
	var places Seats
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			at := places.Seated(Nowhere)
			for range 2000 {
				v := s.Take(at)
				if v == nil {
					v = new(owned)
				}
				if v.owners.Add(1) != 1 {
					t.Error("two owners")
				}
				v.owners.Add(-1)
				s.Put(at, v)
			}
		})
	}
	wg.Wait()
}

// TestOneAtATimeNeedsOneSpare: that of a key without threads that meet at it, whatever their seats are.
func TestOneAtATimeNeedsOneSpare(t *testing.T) {
	var s Spares[int]
	if s.Take(0) != nil {
		t.Fatal("an empty set has something")
	}
	one := new(int)
	for i := range 3 * seats {
		s.Put(Seat(i%seats), one)
		if s.Take(Seat((i+1)%seats)) != one {
			t.Fatal("the spare is gone")
		}
	}
	if s.more.Load() != nil {
		t.Error("there are lines that nobody needs")
	}
}

// TestNowhereIsFirst: who has no seat makes no lines, and finds what he left.
func TestNowhereIsFirst(t *testing.T) {
	var s Spares[int]
	one := new(int)
	for range 2 {
		s.Put(Nowhere, one)
		s.Put(Nowhere, new(int))
		if s.more.Load() != nil {
			t.Fatal("there are lines that nobody needs")
		}
		if s.Take(Nowhere) != one {
			t.Fatal("the spare is gone")
		}
	}
	s.Put(1, one)
	s.Put(1, new(int)) // makes lines
	if s.Take(Nowhere) != one {
		t.Error("the spare is out of reach")
	}
}

// TestASpareForEachSeat: two that were in use at the same time are both kept.
func TestASpareForEachSeat(t *testing.T) {
	var s Spares[int]
	for range 2 {
		for at := range Seat(seats) {
			s.Put(at, new(int))
		}
	}
	for at := range Seat(seats) {
		if at > 0 && s.Take(at) == nil {
			t.Errorf("seat %d has no spare", at)
		}
		if s.Take(at) != nil && at > 0 {
			t.Errorf("seat %d has two", at)
		}
	}
}
