package mechtest

import (
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
)

// updateLen and finishLen are what the near side of a node computes of a shape (hsm.Shape), with pending bytes taken and
// not yet given out. They are written down here again so that this battery, and not that code, says what rows promise.
func updateLen(s mech.Shape, pending, n int) int {
	taken := pending + n
	if s.Hold {
		taken = max(taken-1, 0)
	}
	if s.Block == 0 {
		return 0
	}
	return taken / s.Block * s.Block
}

func finishLen(s mech.Shape, pending, n int) int {
	size := s.Post
	if s.Align != 0 {
		size += (pending + n + s.Add) / s.Align * s.Align
	}
	return max(size, 0)
}

// sameLengths compares what an operation answers with what the shape of a fresh one gives.
func sameLengths(t *testing.T, op mech.Cipher, s mech.Shape, pending, n int) {
	t.Helper()
	if got, want := op.UpdateLen(n), updateLen(s, pending, n); got != want {
		t.Errorf("UpdateLen(%d) with %d bytes pending: %d, by the shape %+v %d", n, pending, got, s, want)
	}
	got, exact := op.FinishLen(n)
	if want := finishLen(s, pending, n); got != want || exact != s.Exact {
		t.Errorf("FinishLen(%d) with %d bytes pending: %d (exact: %v), by the shape %+v %d", n, pending, got, exact, s, want)
	}
}

// lengths asks operations that have taken anything from nothing to some blocks how long the output for any length is.
func (c *Case) lengths(t *testing.T, create constructor, k mech.Key, param any) {
	for taken := range 70 {
		op, err := create(k, param)
		if err != nil {
			t.Fatal(err)
		}
		s, pending := op.Shape(), 0
		if !c.Row.OnePart {
			out, err := op.Update(nil, data(taken))
			if err != nil {
				t.Fatalf("%d bytes: %v", taken, err)
			}
			pending = taken - len(out)
		}
		for _, n := range c.Lens {
			sameLengths(t, op, s, pending, n)
		}
		op.Close()
		if c.Row.OnePart {
			return
		}
	}
}

// cuts calls f with ways to cut b into parts that look random and are the same each time: they follow from b's length.
func cuts(b []byte, f func(parts [][]byte)) {
	x := uint32(len(b))*747796405 + 1
	for range 8 {
		var parts [][]byte
		for rest := b; ; {
			x = x*1664525 + 1013904223
			n := int(x>>16) % (len(b)/2 + 2)
			if n >= len(rest) {
				parts = append(parts, rest)
				break
			}
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		f(parts)
	}
}
